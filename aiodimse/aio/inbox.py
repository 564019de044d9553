"""Data that have arrived and have not been read: the place where a slow consumer slows the peer down."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

from aiodimse.aio.signals import Signal
from aiodimse.dimse.fragments import append_piece


class Inbox:
    """The data set of one C-STORE request. It arrives piece by piece and is read by one consumer.

    The bound is elsewhere: `unread` is told of each byte that is put (positive) and taken or dropped (negative), and
    its owner stops reading from the transport above a mark. One read of the transport may pass the mark, so it is not a
    hard limit.
    """

    def __init__(self, unread: Callable[[int], None]) -> None:
        self._unread = unread
        self._pieces: deque[bytes | memoryview] = deque()
        self._changed = Signal()
        self.is_complete: bool = False
        """Whether the last piece has arrived. It may still be unread."""
        self.touched: bool = False
        """Whether somebody has begun to read."""
        self.consumed: bool = False
        """Whether everything has been read to the end, or discarded on purpose."""
        self._held = 0
        """The number of bytes in the pieces."""
        self._enough = 0
        """The task in gather() is woken when so many bytes are here, or the last."""
        self._discarding = False
        """Whether pieces that still come are dropped."""
        self._error: BaseException | None = None
        """Why no more pieces come, though the last one has not."""
        self._lost = False
        """Whether pieces were dropped unread. What is left must then not be taken for the whole data set."""

    @property
    def has_unread(self) -> bool:
        """Whether pieces are here that nobody has read."""
        return bool(self._pieces)

    def put(self, piece: bytes | memoryview, *, is_last: bool) -> None:
        """Take a piece that has arrived."""
        size = len(piece)
        if self._discarding:
            self._lost = self._lost or size > 0
        elif size:
            append_piece(self._pieces, piece)
            self._held += size
            self._unread(size)
        if is_last:
            self.is_complete = True
        if is_last or self._held >= self._enough:
            self._changed.wake()

    def fail(self, error: BaseException) -> None:
        """End the data set with an error: no more pieces will come, and those that are unread are dropped."""
        if self._error is None and (self._pieces or not self.is_complete):
            self._error = error
        self.drop()
        self._changed.wake()

    def let_go(self) -> None:
        """Wake the task in gather(), which must take what is here: reading is paused, so no more would come."""
        self._enough = 0
        self._changed.wake()

    async def get(self) -> bytes | memoryview | None:
        """Return the next piece; None at the end.

        Raises:
            AssociationError: What ended the association.
            RuntimeError: The request was answered before its data set was read to the end, and the rest was dropped.

        Cancellation: No piece is lost.
        """
        await self._wait_for(1)
        if not self._pieces:
            self.consumed = True
            return None
        piece = self._pieces.popleft()
        self._held -= len(piece)
        self._unread(-len(piece))
        return piece

    async def gather(self, size: int) -> list[bytes | memoryview]:
        """Return all pieces that are here, once they have `size` bytes or the last has come; none at the end. It raises
        as `get` does.

        So a small data set takes one turn of the event loop, however many pieces it has.
        """
        await self._wait_for(size)
        pieces = list(self._pieces)
        if pieces:
            self._forget()
        else:
            self.consumed = True
        return pieces

    def _forget(self) -> None:
        held, self._held = self._held, 0
        self._pieces.clear()
        self._unread(-held)

    async def _wait_for(self, size: int) -> None:
        self.touched = True
        if not self.is_complete:
            self._enough = size
            try:
                while not self.is_complete and (self._held < self._enough or not self._pieces):
                    self._check()
                    await self._changed.wait()
            finally:
                self._enough = 0
        if not self._pieces:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._lost:
            raise RuntimeError("the data set is gone: its request was answered before it was read to its end")

    def drop(self) -> None:
        """Forget all pieces, those that are here and those still to come. The message of the peer is still read to its
        end."""
        self._discarding = True
        if self._pieces:
            self._lost = True
            self._forget()

    async def wait_complete(self) -> None:
        """Wait until the last piece has come. It raises what ended the association."""
        self._enough = sys.maxsize
        while not self.is_complete:
            if self._error is not None:
                raise self._error
            await self._changed.wait()
