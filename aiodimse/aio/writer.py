"""One pen per association: who holds it writes one whole message (docs/topics/flow.md).

C-CANCEL and responses wait for it, A-ABORT does not. A message half sent can only end in A-ABORT.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from aiodimse.aio.end import End
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.payload import Payload
from aiodimse.aio.transport import TransportConnection
from aiodimse.dimse.messages import Message, Response
from aiodimse.engine import Buffer, Engine

_log = logging.getLogger("aiodimse.association")

WRITE_WHOLE = 65536
"""Data sets up to this many bytes are written in one go, without asking for room in between."""
_ANSWER_SIZE = 256
"""About what a refusal takes on the wire."""


class MessageWriter:
    """Writes messages of one association, one after the other."""

    def __init__(
        self,
        engine: Engine,
        connection: TransportConnection,
        *,
        end: End,
        logger: Callable[[logging.Logger], AssociationLogger],
    ) -> None:
        """logger: makes a logger speak of the association."""
        self._engine, self._connection, self._end, self._logger = engine, connection, end, logger
        self._lock = asyncio.Lock()
        self._answers: deque[tuple[int, Response]] = deque()
        self._answers_size = 0

    @property
    def is_free(self) -> bool:
        """Nobody writes a message, and the transport wants bytes: a small one can be written without waiting."""
        return not self._lock.locked() and self._connection.can_write

    @property
    def is_held(self) -> bool:
        """Somebody writes a message."""
        return self._lock.locked()

    @property
    def backlog(self) -> int:
        """Bytes that wait to be written or to be taken by the peer."""
        return self._connection.backlog + self._answers_size

    def flush(self) -> None:
        """Give the transport what the engine has to send."""
        if buffers := self._engine.data_to_send():
            self._connection.write(buffers)

    # --- refusals: written when the pen is free, by whoever puts it down ----------------------------------------------

    def answer(self, context_id: int, response: Response, size: int) -> None:
        """Queue a refusal; size: bytes of the request that it refuses, whose names it repeats."""
        self._answers.append((context_id, response))
        self._answers_size += _ANSWER_SIZE + size

    def write_answers(self) -> None:
        """Write the queued refusals, if the pen is free."""
        if self._answers and not self._lock.locked():
            self._write_answers()

    def _write_answers(self) -> None:
        while self._answers and self._engine.can_send:
            self._engine.send(*self._answers.popleft())
        if not self._answers:
            self._answers_size = 0

    def forget(self) -> None:
        """The association has ended."""
        self._answers.clear()
        self._answers_size = 0

    # --- holding ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> MessageWriter:
        """Take the pen and wait for room; raises what ended the association."""
        await self._lock.acquire()
        try:
            if not self._connection.can_write:
                await self._connection.room()
            if (error := self._end.error) is not None:
                raise error
        except BaseException:
            self._lock.release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._answers and self._end.error is None:
            self._write_answers()
            self.flush()
        self._lock.release()

    async def write(self, context_id: int, message: Message, data: Payload, abort: Callable[[], None]) -> None:
        """Write one message, holding the pen. Leaving with it half sent aborts the association."""
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
        """One P-DATA-TF at a time: what the socket does not take at once, the transport of 3.11 copies, and again at
        every bit that is taken later. 256 MiB ours to ours in 0.17 s instead of 0.19, of which bare sockets take 0.10.
        """
        view, step = memoryview(piece), self._engine.fragment_length
        for start in range(0, len(view), step):
            self._engine.send_piece(view[start : start + step])
            self.flush()
            if not self._connection.can_write:
                await self._connection.room()
            if (error := self._end.error) is not None:
                raise error
