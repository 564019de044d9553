"""An index in SQL, one schema for SQLite and PostgreSQL. Needs SQLAlchemy (extras `cli` and `archive`)."""

from __future__ import annotations

from .index import SQLIndex

__all__ = ["SQLIndex"]
