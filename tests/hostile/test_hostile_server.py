"""Every case of aiodimse.testing.hostile against our Server over TCP; a good peer meanwhile.

What must be answered at once is answered by a provider whose clock stands still: no deadline helps it. What a deadline
answers is answered by another; test_hostile_silence.py has those times to the tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aiodimse
from aiodimse.config import Limits, Timeouts
from aiodimse.testing import ManualClock, hostile
from aiodimse.testing.hostile.case import Case
from aiodimse.testing.hostile.cases import all_cases
from aiodimse.testing.hostile.run import Hostile, Report, Result

# Not so short that a busy machine meets them while a case is begun.
SHORT = Timeouts(artim=3, pdu=3, idle=4, close=0.5, close_after_abort=0.2)
PATIENCE = 60.0
CASES = all_cases()
NAMED = [case for case in CASES if not case.family]
FAMILIES = sorted({case.family for case in CASES if case.family})


def test_the_cases_are_many_and_named():
    assert len(NAMED) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_suite_uses_nothing_of_the_library():
    """Nothing of aiodimse but its own modules, and the standard library."""
    for path in Path(str(hostile.__file__)).parent.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import aiodimse", "from aiodimse")):
                assert line.startswith("from aiodimse.testing.hostile"), (path, line)


@dataclass
class Outcome:
    """What came of the cases, and of the files that were open before and after them."""

    reports: list[Report]
    before: int
    after: int

    @property
    def results(self) -> list[Result]:
        return [result for report in self.reports for result in report.results]


def provider(clock: ManualClock | None) -> aiodimse.Server:
    server = aiodimse.Server(
        accept_called=True,
        timeouts=SHORT,
        limits=Limits(max_associations=2000),
        environment=aiodimse.Environment() if clock is None else aiodimse.Environment(clock),
    )

    @server.on_c_find
    async def find(request) -> AsyncIterator[int]:
        yield 0x0000

    @server.on_c_store
    async def store(request) -> int:
        await request.discard()
        await request._inbox.wait_complete()
        return 0x0000

    return server


async def answered(server: aiodimse.Server, cases: list[Case], **options: Any) -> Report:
    async with server.listen("127.0.0.1") as listening:
        hostile = Hostile("127.0.0.1", listening.port, fin=True, patience=PATIENCE, **options)
        report = await hostile.run(cases)
        async with asyncio.timeout(PATIENCE):
            await listening._acceptor.wait_empty()
    return report


async def run() -> Outcome:
    at_once, waiting = [case for case in CASES if not case.waits], [case for case in CASES if case.waits]
    before = len(list(Path("/proc/self/fd").iterdir()))
    reports = await asyncio.gather(
        answered(provider(ManualClock()), at_once),
        answered(provider(None), waiting, waits=SHORT.idle, silent_at_once=2000),
    )
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return Outcome(reports, before, len(list(Path("/proc/self/fd").iterdir())))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return asyncio.run(run(), debug=False)  # 7 s instead of 33


def least(case: Case) -> float:
    """Seconds of the deadline that answers."""
    deadline = {"closed": SHORT.artim, "abort 2/0": SHORT.pdu, "abort 0/0": SHORT.idle}
    return (deadline[case.expect.split(", ")[-1]] or 0.0) if case.waits else 0.0


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.name)
def test_a_hostile_case_ends_as_expected(case, outcome, record_property):
    result = next(result for result in outcome.results if result.case == case)
    assert result.got == case.expect
    assert result.seconds >= least(case)
    record_property("cases", 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_byte(family, outcome, record_property):
    results = [result for result in outcome.results if result.case.family == family]
    results.sort(key=lambda result: result.case.at)  # release and abort are answered by one provider and the other
    assert [result.case.at for result in results] == list(range(len(results)))
    assert [(result.case.at, result.got) for result in results if not result.ok] == []
    assert [result for result in results if result.seconds < least(result.case)] == []
    record_property("behind each byte", len(results))


def test_a_good_peer_is_served_meanwhile(outcome, record_property):
    for report in outcome.reports:
        assert report.good_failed == []
        assert len(report.good) > 10
        record_property("good associations meanwhile", len(report.good))


def test_nothing_is_left(outcome):
    assert outcome.after == outcome.before
