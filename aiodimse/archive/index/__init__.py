"""What an archive knows of its objects: the interface, and an index in memory."""

from __future__ import annotations

from .interface import CharacterSet, Counts, Entry, File, Finding, Header, Index, Match, Transaction
from .memory import MemoryIndex

__all__ = [
    "CharacterSet",
    "Counts",
    "Entry",
    "File",
    "Finding",
    "Header",
    "Index",
    "Match",
    "MemoryIndex",
    "Transaction",
]
