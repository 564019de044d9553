"""What an archive knows of its objects: the interface, and an index in memory."""

from __future__ import annotations

from .interface import (
    FREELY,
    CharacterSet,
    Counts,
    Entry,
    File,
    Finding,
    Header,
    Index,
    Match,
    StudyAge,
    Transaction,
    Turn,
)
from .memory import MemoryIndex

__all__ = [
    "FREELY",
    "CharacterSet",
    "Counts",
    "Entry",
    "File",
    "Finding",
    "Header",
    "Index",
    "Match",
    "MemoryIndex",
    "StudyAge",
    "Transaction",
    "Turn",
]
