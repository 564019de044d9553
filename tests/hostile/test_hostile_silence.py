"""Silence behind every byte, to the tick of a clock that tests move: nothing before the deadline, the answer at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

import aiodimse
from aiodimse import testing
from aiodimse.config import Limits, Timeouts
from aiodimse.testing.hostile import wire as w
from aiodimse.testing.hostile.case import ANSWERED, Case, setup
from aiodimse.testing.hostile.every_byte import every_byte

TIMES = Timeouts(artim=10, pdu=20, idle=40, close_after_abort=5)
DEADLINE = {"closed": TIMES.artim, "abort 2/0": TIMES.pdu, "abort 0/0": TIMES.idle}
TICK = 1 / 1024


@dataclass
class Silent:
    """A case and its peer, who has said all that it will say."""

    case: Case
    peer: testing.ScriptedPeer
    heard: int = 0
    """Bytes, before the silence."""

    @property
    def end(self) -> str:
        return self.case.expect.split(", ")[-1]

    @property
    def answer(self) -> bytes:
        return bytes(self.peer.raw[self.heard :])

    @property
    def is_closed(self) -> bool:
        return self.peer.eof or self.peer.lost


async def silent(case: Case, network: testing.MemoryNetwork, port: int) -> Silent:
    peer = await testing.ScriptedPeer.call(network, port)
    peer.keep_open = True
    if case.state != "connected":
        peer.send(w.associate_rq())
        await peer.read()
    if before := setup(case.state):
        peer.send(before)
        if case.state in ANSWERED:
            await peer.read()
    peer.send(case.send)
    return Silent(case, peer)


@pytest.mark.parametrize(
    ("split", "words"), [(None, ""), (lambda size: 1, "silence")], ids=["in one go", "byte by byte"]
)
async def test_silence(split, words, record_property):
    clock, network = testing.ManualClock(), testing.MemoryNetwork(split=split)
    limits = Limits(max_associations=2000, max_pending_connections=2000)
    server = aiodimse.Server(
        accept_called=True, timeouts=TIMES, limits=limits, environment=aiodimse.Environment(clock, network)
    )

    @server.on_c_store
    async def store(request) -> int:
        return 0x0000

    async with server.listen() as listening:
        cases = [case for case in every_byte() if case.waits and case.name.startswith(words)]
        waiting = await asyncio.gather(*(silent(case, network, listening.port) for case in cases))
        await testing.settle()
        for each in waiting:
            each.heard = len(each.peer.raw)
        many = len(waiting)
        assert many > 500
        for end in sorted(DEADLINE, key=lambda end: DEADLINE[end] or 0.0):
            await clock.elapse((DEADLINE[end] or 0.0) - TICK - clock.now())
            assert [each.case.name for each in waiting if each.answer or each.is_closed] == []
            await clock.elapse(TICK)
            for each in [each for each in waiting if each.end == end]:
                waiting.remove(each)
                expected = b"" if end == "closed" else w.pdu(7, bytes((0, 0, int(end[-3]), int(end[-1]))))
                assert (each.answer, each.is_closed) == (expected, True), each.case
                each.peer.abort_transport()
        assert waiting == []
        await testing.settle()
    assert (network.open, clock.timers) == ([], 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    record_property("silences to the tick", many)
