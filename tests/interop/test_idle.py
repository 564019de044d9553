"""Five hundred associations that say nothing: no thread for each, no CPU, and a good echo between them."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack

import pytest
from interop.ours import HOST, TITLE
from scripted import wire
from scripted.peer import ScriptedPeer, Silence

import aiodimse

IDLE = 500


async def test_idle_associations_cost_nothing() -> None:
    server = aiodimse.Server(ae_title=TITLE, limits=aiodimse.Limits(max_associations=IDLE + 1))
    async with server.listen(HOST, 0) as listening, AsyncExitStack() as stack:
        threads = threading.active_count()

        async def associated() -> ScriptedPeer:
            peer = await stack.enter_async_context(await ScriptedPeer.connect(HOST, listening.port))
            await peer.associate([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])], called=TITLE)
            return peer

        peers: list[ScriptedPeer] = []
        while len(peers) < IDLE:
            peers += await asyncio.gather(*(associated() for _ in range(50)))
        used = time.process_time()
        with pytest.raises(Silence):
            await peers[0].read_pdu(timeout=1)
        assert time.process_time() - used < 0.05
        assert threading.active_count() <= threads
        (response,) = await peers[-1].responses(await peers[-1].request(1, wire.echo_rq()))
        assert response.status == 0x0000
