"""The data set of a message that is to be sent, and reading its first piece ahead."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from aiodimse.dimse.fragments import Buffer

Payload: TypeAlias = Buffer | AsyncIterable[Buffer] | None
"""A data set, whole or in pieces; None if the message has none."""


class ReadAhead:
    """Pieces whose first can be read ahead, so that a file that cannot be read is noticed before anything is sent."""

    def __init__(self, pieces: AsyncIterable[Buffer], while_open: Callable[[], AbstractContextManager[None]]) -> None:
        """Read nothing yet.

        Args:
            pieces: The data set.
            while_open: What is entered to wait for each piece; it ends the wait where the association ends.
        """
        self._pieces, self._while_open = aiter(pieces), while_open
        self._first: Buffer | None = None

    async def begin(self) -> None:
        """Read the first piece."""
        with self._while_open():
            self._first = await anext(self._pieces, b"")

    def __aiter__(self) -> ReadAhead:
        return self

    async def __anext__(self) -> Buffer:
        first, self._first = self._first, None
        if first is not None:
            return first
        with self._while_open():
            return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the source of the pieces, whether it was read to its end or not."""
        if (close := getattr(self._pieces, "aclose", None)) is not None:
            await close()
