"""The rows, by subject. Importing this package registers them, in the order of the table."""

# ruff: noqa: I001  # the table's order

from __future__ import annotations

from benchmarks.works import echo, store, pool, archive, workers, compressed, large, retrieve, find, many, small

__all__ = ["archive", "compressed", "echo", "find", "large", "many", "pool", "retrieve", "small", "store", "workers"]
