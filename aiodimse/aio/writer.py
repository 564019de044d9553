"""Messages are written one after the other: whoever has entered the MessageWriter writes one whole message
(docs/topics/flow.md).

C-CANCEL, responses and A-RELEASE wait until it has been left; A-ABORT does not. If a message is half sent and cannot be
finished, the association must be aborted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from aiodimse.aio.back_pressure import ReadThrottle
from aiodimse.aio.end import End
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.payload import Payload
from aiodimse.aio.transport import TransportConnection
from aiodimse.aio.turns import PAGE, SLICE_WRITTEN, Turns
from aiodimse.dimse.fragments import Buffer
from aiodimse.dimse.messages import Message
from aiodimse.engine import Engine

_log = logging.getLogger("aiodimse.association")

WRITE_WHOLE = 65536
"""Data sets of up to this many bytes are written at once, without waiting for room in between."""
_AT_ONCE = 32768
"""How many bytes of a longer data set go out in one write, unless one fragment is longer."""


class MessageWriter:
    """Writes the messages of one association."""

    def __init__(
        self,
        engine: Engine,
        connection: TransportConnection,
        throttle: ReadThrottle,
        end: End,
        turns: Turns,
        logger: Callable[[logging.Logger], AssociationLogger],
    ) -> None:
        """logger: makes a logger whose lines are about the association."""
        self._engine, self._connection, self._throttle, self._end = engine, connection, throttle, end
        self._turns, self._logger = turns, logger
        self._written = 0  # since the last share of the event loop began: fragments, and pages of their bytes
        self._lock = asyncio.Lock()
        self._later: deque[tuple[Callable[[], None], int]] = deque()
        self.is_gathering = False
        """Whether events are being handed on. What they cause is then written at once, after the last of them."""

    @property
    def is_held(self) -> bool:
        """Whether a task has entered the writer."""
        return self._lock.locked()

    # --- bytes --------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Give the transport what the engine has to send, unless more is being gathered."""
        if self.is_gathering:
            return
        connection = self._connection
        if buffers := self._engine.data_to_send():
            connection.write(buffers)
        if not (connection.can_write and connection.is_reading):
            self._throttle.check()

    def write_out(self) -> None:
        """Give the transport now what the engine has to send, since it is about to be closed."""
        if buffers := self._engine.data_to_send():
            self._connection.write(buffers)

    # --- small messages, which do not wait for room -------------------------------------------------------------------

    def soon(self, send: Callable[[], None], size: int = 0) -> None:
        """Send something small: now, or when the message that is being written has ended.

        Args:
            send: Gives the engine what is to be sent, if it may still be sent by then. It does not raise.
            size: About how many bytes it keeps in memory while it waits.
        """
        if self._lock.locked():
            self._later.append((send, size))
            if size:
                self._throttle.queue(size)
        else:
            send()
            if not self.is_gathering:
                self.flush()

    def _send_waiting(self) -> None:
        while self._later and self._end.error is None:
            send, size = self._later.popleft()
            send()
            if size:
                self._throttle.queue(-size)
        self.flush()

    def forget(self) -> None:
        """Forget what waits to be sent, since the association has ended."""
        self._engine.forget_message()
        while self._later:
            _, size = self._later.popleft()
            self._throttle.queue(-size)

    # --- messages that wait for their turn and for room ---------------------------------------------------------------

    async def when_free(self, send: Callable[[], None]) -> None:
        """Send something when no message is being written and the transport wants bytes.

        Args:
            send: As in `soon`, but it may raise.

        Raises:
            AssociationError: What ended the association while this waited.

        Cancellation: Nothing is sent.
        """
        if not self._lock.locked() and self._connection.can_write:
            send()
            self.flush()
        else:
            async with self:
                send()

    async def __aenter__(self) -> MessageWriter:
        """Wait for the turn to write, and for room. It raises what ended the association."""
        await self._lock.acquire()
        try:
            if not self._connection.can_write:
                await self._connection.room()
            if (error := self._end.error) is not None:
                raise error
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        """Send what has waited, and let the next task write."""
        try:
            self._send_waiting()
        finally:
            self._lock.release()

    async def write(self, context_id: int, message: Message, data: Payload, abort: Callable[[], None]) -> None:
        """Write one message. The caller has entered the writer. If it is left with the message half sent, the
        association is aborted."""
        engine = self._engine
        if data is None or (isinstance(data, (bytes, memoryview)) and len(data) <= WRITE_WHOLE):
            engine.send(context_id, message, data)
            self.flush()
            return
        engine.start_message(context_id, message, has_data_set=True)
        try:
            if isinstance(data, (bytes, memoryview)):
                await self._write_piece(data)
            else:
                async for piece in data:
                    await self._write_piece(piece)
            engine.finish_message()
            self.flush()
        except BaseException as error:
            if engine.is_mid_message and self._end.error is None:
                log = self._logger(_log)
                log.warning("a message could not be sent to its end (%s): aborting", type(error).__name__)
                abort()
            raise

    async def _write_piece(self, piece: Buffer) -> None:
        """Write some fragments at a time, as long as there is room and the share of the event loop lasts.

        The transport of Python 3.11 copies what the socket does not take at once, and copies the rest again each time
        that the socket takes some: 256 MiB take 0.17 s this way, 0.19 s without it, and 0.10 s with bare sockets.
        """
        view, size = memoryview(piece), self._engine.fragment_length
        fragments = max(1, _AT_ONCE // size)
        step = fragments * size
        cost = fragments + step // PAGE
        for start in range(0, len(view), step):
            self._engine.send_piece(view[start : start + step])
            self.flush()
            self._written += cost
            if not self._connection.can_write:
                self._written = 0
                await self._connection.room()
            elif self._written >= SLICE_WRITTEN:
                self._written = 0
                await self._turns.next_share()
            if (error := self._end.error) is not None:
                raise error
