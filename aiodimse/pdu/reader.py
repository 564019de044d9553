"""The bounded buffer that turns a byte stream into PDUs (PS3.8 9.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class DataHeader:
    """The six bytes of a P-DATA-TF are in; its PDVs follow as DataPieces."""

    length: int
    """PDU-length: the bytes that follow the header."""

    def __str__(self) -> str:
        return f"P-DATA-TF of {self.length} bytes"


@dataclass(slots=True)
class DataPiece:
    """A PDV, or the part of one that has arrived. Not frozen: it is made once per PDV, and frozen costs four times as
    much."""

    context_id: int
    is_command: bool
    is_last: bool
    """This piece ends the last fragment of its command or data set (PS3.8 E.2)."""
    data: bytes | memoryview = field(repr=False)

    def __str__(self) -> str:
        kind = "command" if self.is_command else "data"
        return f"{kind}{' last' if self.is_last else ''} in {self.context_id}, {len(self.data)} bytes"
