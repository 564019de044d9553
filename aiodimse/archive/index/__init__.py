"""The index of an archive, which knows its objects: the interface, and an implementation in memory."""

from __future__ import annotations

from .interface import ANSWER, FREELY, BlockingIndex, Index, ObjectRefused, Turn
from .memory import MemoryIndex
from .records import (
    LONGEST_LOCATION,
    CharacterSet,
    Counts,
    Entry,
    File,
    Finding,
    Header,
    Match,
    OutdatedStudy,
    StudyAge,
    Transaction,
    TransactionName,
)

__all__ = [
    "ANSWER",
    "FREELY",
    "LONGEST_LOCATION",
    "BlockingIndex",
    "CharacterSet",
    "Counts",
    "Entry",
    "File",
    "Finding",
    "Header",
    "Index",
    "Match",
    "MemoryIndex",
    "ObjectRefused",
    "OutdatedStudy",
    "StudyAge",
    "Transaction",
    "TransactionName",
    "Turn",
]
