"""The other stage: our user, and a scripted provider that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from contract.stage import CT_UID, HOST
from pydicom.dataset import Dataset
from scripted import wire
from scripted.peer import Message, ScriptedListener, ScriptedPeer

import aiodimse

MODELS = {"C-FIND": wire.STUDY_ROOT_FIND, "C-GET": wire.STUDY_ROOT_GET, "C-MOVE": wire.STUDY_ROOT_MOVE}
CONTEXTS = (wire.VERIFICATION, *MODELS.values())
MATCH = wire.dataset({(0x0010, 0x0020): ("LO", "1")})


@dataclass
class Talk:
    association: aiodimse.Association
    peer: ScriptedPeer
    rq: wire.Associate

    def context(self, uid: str) -> int:
        return next(key for key, (abstract, _) in self.rq.proposed.items() if abstract == uid)

    def begin(self, service: str) -> Any:
        """The operation of our user, not begun yet."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        if service == "C-FIND":
            return self.association.c_find(identifier, MODELS[service])
        if service == "C-GET":
            return self.association.c_get(identifier, MODELS[service])
        return self.association.c_move(identifier, MODELS[service], destination="DEST")

    async def pending(self, to: Message, remaining: int = 1, completed: int = 1, status: int = 0xFF00) -> None:
        """A Pending response: with a match, or with counters."""
        if to.field == wire.C_FIND:
            await self.peer.respond(to, status, data=MATCH)
        else:
            await self.peer.respond(to, status, counters(remaining, completed, 0, 0))

    async def store(self, number: int = 1, data: bytes = MATCH) -> int:
        """A C-STORE sub-operation; the message ID."""
        rq = wire.store_rq(CT_UID, f"1.2.3.{number}", 1000 + number)
        return await self.peer.request(self.context(CT_UID), rq, data)

    async def item(self, to: Message, number: int = 1) -> None:
        """One thing that the loop of our user is given."""
        await (self.store(number) if to.field == wire.C_GET else self.pending(to))

    async def expect_cancel(self, of: Message) -> None:
        message = await self.peer.read_message()
        while message.field == 0x8001:  # the answer to a sub-operation may come before
            message = await self.peer.read_message()
        assert (message.field, message.responded_to, message.data) == (wire.C_CANCEL, of.message_id, None)
        assert message.context_id == of.context_id

    async def usable(self) -> None:
        """An echo goes through, and nothing comes before it."""
        echo = asyncio.create_task(self.association.c_echo())
        request = await self.peer.read_message()
        assert request.field == wire.C_ECHO
        await self.peer.respond(request, 0x0000)
        assert (await echo).status == 0x0000


def counters(remaining: int | None, completed: int, failed: int, warning: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {wire.COMPLETED: completed, wire.FAILED: failed, wire.WARNING: warning}
    return found if remaining is None else {**found, wire.REMAINING: remaining}


@asynccontextmanager
async def open_talk(
    contexts: Sequence[Any] = CONTEXTS, *, answer: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Talk]:
    """Connect our user to a scripted provider that accepts everything; whatever is left at the end is closed.

    answer: what else the A-ASSOCIATE-AC says.
    """
    async with await ScriptedListener.open() as listener:
        arguments = {"contexts": contexts, "storage": [CT_UID], **more}
        opening = asyncio.ensure_future(_connect(listener.port, arguments))
        peer = await listener.accept()
        rq = await peer.accept(**(answer or {}))
        association = await opening
        try:
            yield Talk(association, peer, rq)
        finally:
            await peer.close()
            association.abort()
            await association.wait_closed()


async def _connect(port: int, arguments: dict[str, Any]) -> aiodimse.Association:
    return await aiodimse.connect(HOST, port, **arguments)
