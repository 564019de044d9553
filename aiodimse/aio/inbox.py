"""What has arrived and nobody has read yet, counted: the place where a slow consumer slows the peer down."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

from aiodimse.aio.signals import Signal
from aiodimse.dimse.fragments import hold


class Inbox:
    """The data set of one C-STORE request, arriving piece by piece, read by one consumer.

    The bound is not here: `unread` is told of every byte put (+) and taken or dropped (-), and its owner stops reading
    from the transport above a high mark. What was read in one go may pass the mark; it is no hard limit.
    """

    def __init__(self, unread: Callable[[int], None]) -> None:
        self._unread = unread
        self._pieces: deque[bytes | memoryview] = deque()
        self._changed = Signal()
        self._held = 0  # bytes in the pieces
        self._enough = 0  # who gathers is woken for no less, but for the end
        self._discarding = False
        self._error: BaseException | None = None
        self._lost = False
        """Pieces were dropped unread: whoever reads on must not take what is left for the whole."""
        self.is_complete: bool = False
        """The last piece has arrived (it may still be unread)."""
        self.touched: bool = False
        """Somebody has begun to read."""
        self.consumed: bool = False
        """Everything has been read to the end, or discarded on purpose."""

    def put(self, piece: bytes | memoryview, *, is_last: bool) -> None:
        """A piece has arrived."""
        if self._discarding:
            self._lost = self._lost or len(piece) > 0
        elif len(piece):
            hold(self._pieces, piece)
            self._held += len(piece)
            self._unread(len(piece))
        if is_last:
            self.is_complete = True
        if is_last or self._held >= self._enough:
            self._changed.wake()

    def fail(self, error: BaseException) -> None:
        """The rest will not come, and what is here but unread is dropped."""
        if self._error is None and (self._pieces or not self.is_complete):
            self._error = error
        self.drop()
        self._changed.wake()

    def let_go(self) -> None:
        """Reading is paused: who gathers must take what there is, or no more will come."""
        self._enough = 0
        self._changed.wake()

    async def get(self) -> bytes | memoryview | None:
        """The next piece, None at the end; raises what ended the association. A cancelled get loses nothing.

        Raises RuntimeError where the request was answered, and its data set dropped, before it was read to its end.
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
        """All pieces that are here once they are `size` bytes or the last has come; none at the end. As get else.

        One turn of the event loop for a small data set, whatever the number of its pieces.
        """
        await self._wait_for(size)
        pieces = list(self._pieces)
        if not pieces:
            self.consumed = True
        self._forget()
        return pieces

    def _forget(self) -> None:
        held, self._held = self._held, 0
        self._pieces.clear()
        self._unread(-held)

    async def _wait_for(self, size: int) -> None:
        self.touched = True
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
        """Forget what is here and what will come; the peer's message is still read to its end."""
        self._discarding = True
        if self._pieces:
            self._lost = True
            self._forget()

    async def wait_complete(self) -> None:
        """Wait for the last piece; raises what ended the association."""
        self._enough = sys.maxsize
        while not self.is_complete:
            if self._error is not None:
                raise self._error
            await self._changed.wait()
