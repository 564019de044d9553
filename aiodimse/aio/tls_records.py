"""Counts TLS records in received bytes by their headers (RFC 8446 5.1), before OpenSSL has them."""

from __future__ import annotations

from collections.abc import Iterator

RECORD = 1 << 14
"""The largest number of bytes of plaintext in a record (RFC 8446 5.1), and in the buffers of OpenSSL at a time."""
AT_ONCE = 16
"""Records that go through OpenSSL at a time."""
_EMPTY_ALLOWED = 32
"""Records without data that may come in a row. Session tickets and alerts are some. A KeyUpdate (RFC 8446 4.6.3) costs
some 20 us, and 10,000 of them fit into what is read at a time."""
_FORGIVEN = 8
"""So many records with data make up for one without."""
_HEADER = 5


class Records:
    """Where in the stream of received bytes records end, and how many of them carried data."""

    __slots__ = ("_empty", "_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        """The first bytes of a header that is not whole."""
        self._left = 0
        """Bytes that the current record lacks."""
        self._empty = 0
        """Records without data, times `_FORGIVEN`, less those with data."""

    def cut(self, data: bytes) -> Iterator[tuple[memoryview, int]]:
        """Cut received bytes into pieces of at most RECORD bytes, in which at most AT_ONCE records end.

        Yields:
            A piece, and how many records end in it.
        """
        view, start, pos, ends = memoryview(data), 0, 0, 0
        while pos < len(view):
            if not self._left:
                head = view[pos : pos + _HEADER - len(self._head)]
                self._head += head
                pos += len(head)
                if len(self._head) < _HEADER:
                    break
                self._left, self._head = int.from_bytes(self._head[3:], "big"), b""
            step = min(self._left, len(view) - pos, max(0, RECORD - (pos - start)))
            pos, self._left = pos + step, self._left - step
            if not self._left:
                ends += 1
            if ends == AT_ONCE or pos - start >= RECORD:
                yield view[start:pos], ends
                start, ends = pos, 0
        if start < len(view):
            yield view[start:], ends

    def are_too_empty(self, ended: int, with_data: int) -> bool:
        """Count records. Return whether more of them were without data than an honest peer sends.

        Args:
            ended: How many records have ended.
            with_data: How many of them carried data.
        """
        self._empty = max(0, self._empty + (ended - with_data) * _FORGIVEN - with_data)
        return self._empty > _EMPTY_ALLOWED * _FORGIVEN
