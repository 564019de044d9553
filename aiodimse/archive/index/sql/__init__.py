"""An index in SQL with one schema for SQLite and PostgreSQL. It needs SQLAlchemy (extras `cli` and `archive`)."""

from __future__ import annotations

from .index import SQLIndex

__all__ = ["SQLIndex"]
