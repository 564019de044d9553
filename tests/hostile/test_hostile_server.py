"""Every case of aiodimse.testing.hostile against our Server over TCP, with short deadlines; a good peer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiodimse
from aiodimse.config import Limits, Timeouts
from aiodimse.testing import hostile
from aiodimse.testing.hostile.case import Case
from aiodimse.testing.hostile.cases import all_cases
from aiodimse.testing.hostile.run import Hostile, Report, Result

SHORT = Timeouts(
    artim=2, pdu=2, idle=3, close=0.5, close_after_abort=0.2
)  # not so short that a busy machine meets them
CASES = all_cases()
NAMED = [case for case in CASES if not case.family]
FAMILIES = sorted({case.family for case in CASES if case.family})


def test_the_cases_are_many_and_named():
    assert len(NAMED) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_suite_is_blunt():
    """Nothing of aiodimse but its own modules, and the standard library."""
    for path in Path(str(hostile.__file__)).parent.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import aiodimse", "from aiodimse")):
                assert line.startswith("from aiodimse.testing.hostile"), (path, line)


async def run() -> tuple[Report, int, int]:
    server = aiodimse.Server(accept_called=True, timeouts=SHORT, limits=Limits(max_associations=2000))

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
        report = await Hostile("127.0.0.1", listening.port, waits=3.0, fin=True, silent_at_once=2000).run(CASES)
        async with asyncio.timeout(5):
            await listening._doorkeeper.wait_empty()  # the last ones run into Timeouts.close
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return report, files, len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def outcome() -> tuple[Report, int, int]:
    # Thousands of peers in one loop, with deadlines by the wall clock: the debug mode of `make strict`, which looks at
    # the stack for each callback, would be the slowest of them.
    return asyncio.run(run(), debug=False)


def within(case: Case) -> tuple[float, float]:
    """Seconds in which the answer must come: at once, or when the deadline that it is about has passed."""
    deadline = {"closed": SHORT.artim, "abort 2/0": SHORT.pdu, "abort 0/0": SHORT.idle}
    least = deadline[case.expect.split(", ")[-1]] if case.waits else 0.0
    assert least is not None
    return least, least + 2.0


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.name)
def test_case(case, outcome):
    result = next(result for result in outcome[0].results if result.case == case)
    assert result.got == case.expect
    least, most = within(case)
    assert least <= result.seconds < most


@pytest.mark.parametrize("family", FAMILIES)
def test_every_byte(family, outcome):
    results: list[Result] = [result for result in outcome[0].results if result.case.family == family]
    assert [result.case.at for result in results] == list(range(len(results)))
    assert [(result.case.at, result.got) for result in results if not result.ok] == []
    for result in results:
        least, most = within(result.case)
        assert least <= result.seconds < most, result


def test_a_good_peer_is_served_meanwhile(outcome):
    report = outcome[0]
    assert report.good_failed == []
    assert len(report.good) > 10
    assert max(report.good) < 2.0


def test_nothing_is_left(outcome):
    _, before, after = outcome
    assert after == before
