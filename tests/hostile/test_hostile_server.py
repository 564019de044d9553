"""Every case of aiodimse.testing.hostile against our Server over TCP, with short deadlines; a good peer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiodimse
from aiodimse.config import Timeouts
from aiodimse.testing import hostile
from aiodimse.testing.hostile.cases import all_cases
from aiodimse.testing.hostile.run import Hostile, Report

SHORT = Timeouts(
    artim=1, pdu=1, idle=2, close=0.5, close_after_abort=0.2
)  # not so short that a busy machine meets them


def test_the_cases_are_many_and_named():
    cases = all_cases()
    assert len(cases) >= 150
    assert len({case.name for case in cases}) == len(cases)


def test_the_suite_is_blunt():
    """Nothing of aiodimse but its own modules, and the standard library."""
    for path in Path(str(hostile.__file__)).parent.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import aiodimse", "from aiodimse")):
                assert line.startswith("from aiodimse.testing.hostile"), (path, line)


async def run() -> tuple[Report, int, int]:
    server = aiodimse.Server(accept_called=True, timeouts=SHORT)

    @server.on_c_find
    async def find(request) -> AsyncIterator[int]:
        yield 0x0000

    @server.on_c_store
    async def store(request) -> int:
        await request.discard()
        await request._inbox.wait_complete()
        return 0x0000

    files = len(list(Path("/proc/self/fd").iterdir()))
    async with server.listen("127.0.0.1") as listening:
        report = await Hostile("127.0.0.1", listening.port, waits=2.0, fin=True).run(all_cases())
        async with asyncio.timeout(5):
            await listening._doorkeeper.wait_empty()  # the last ones run into Timeouts.close
    return report, files, len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def outcome() -> tuple[Report, int, int]:
    return asyncio.run(run())


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_case(case, outcome):
    result = next(result for result in outcome[0].results if result.case == case)
    assert result.got == case.expect
    if not case.waits:
        assert result.seconds < 2.0


def test_a_good_peer_is_served_meanwhile(outcome):
    report = outcome[0]
    assert report.good_failed == []
    assert len(report.good) > 10
    assert max(report.good) < 2.0


def test_nothing_is_left(outcome):
    _, before, after = outcome
    assert after == before
