"""What serve says once a minute and at the end, by a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.cli.output import Output
from aiodimse.cli.tally import Tally, report_totals, reported_each_minute

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind

ACCEPTED = aiodimse.MeasuredAssociation("acceptor", "A", "B", None)
REQUESTED = aiodimse.MeasuredAssociation("requestor", "B", "C", None)


class Stage:
    """A server, its tally, the clock, and what has been printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.clock, self.tally = capsys, testing.ManualClock(), Tally()
        timeouts = aiodimse.Timeouts(idle=None)
        self.server = aiodimse.Server(
            ae_title="ARCHIVE", metrics=self.tally, environment=aiodimse.Environment(self.clock), timeouts=timeouts
        )

        @self.server.on_c_find(FIND)
        async def find(request: Any) -> Any:
            yield int(request.identifier.PatientID), None

    async def ask(self, association: aiodimse.Association, *statuses: int) -> None:
        for status in statuses:
            identifier = Dataset()
            identifier.PatientID = str(status)
            assert (await association.c_find(identifier, FIND)).status == status

    @property
    def printed(self) -> list[str]:
        return self.capsys.readouterr().out.splitlines()


@pytest.fixture
def stage(capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    found = Stage(capsys)
    yield found
    assert found.clock.timers == 0


async def test_a_line_a_minute_and_one_at_the_end(stage: Stage) -> None:
    contexts = [sop_class.Verification, FIND]
    with reported_each_minute(stage.tally, Output(), stage.clock):
        await stage.clock.elapse(300)
        assert stage.printed == []
        async with testing.joined(stage.server, contexts=contexts) as association:
            await association.c_echo()
            await stage.ask(association, 0x0000, 0xA700, 0xFE00, 0xB000)
            await stage.clock.elapse(60)
            assert stage.printed == [
                "last minute; associations: 1 now, 1 new, 1 in all; 1 C-ECHO, 4 C-FIND; failed: 1 C-FIND"
            ]
            await stage.clock.elapse(60)
            assert stage.printed == []  # it is open, and nothing happened
            await stage.ask(association, 0xA700)
        with pytest.raises(aiodimse.AssociationRejected):
            async with testing.joined(stage.server, contexts=contexts, called_ae_title="NOBODY"):
                pass
        async with testing.joined(stage.server, contexts=contexts) as association:
            association.abort()
        await stage.clock.elapse(60)
        ends = "1 association aborted by peer, 1 connection rejected (-v says who and why)"
        (line,) = stage.printed
        assert line == f"last minute; associations: 0 now, 1 new, 2 in all; 1 C-FIND; failed: 1 C-FIND; {ends}"
    await stage.clock.elapse(600)
    report_totals(stage.tally.total, Output())
    assert stage.printed == [f"ended; associations: 2; 1 C-ECHO, 5 C-FIND; failed: 2 C-FIND; {ends}"]


async def test_two_of_one_kind_are_in_the_plural(stage: Stage) -> None:
    for _ in range(2):
        with pytest.raises(aiodimse.AssociationRejected):
            async with testing.joined(stage.server, contexts=[FIND], called_ae_title="NOBODY"):
                pass
        async with testing.joined(stage.server, contexts=[FIND]) as association:
            association.abort()
    said = str(stage.tally.total)
    assert said == "no request; 2 associations aborted by peer, 2 connections rejected (-v says who and why)"


@pytest.mark.parametrize(
    ("role", "number", "words"),
    [
        ("acceptor", 1, "1 TLS handshake failed"),
        ("acceptor", 2, "2 TLS handshakes failed"),
        ("requestor", 1, "1 TLS handshake with a destination failed"),
    ],
)
def test_connections_without_tls(role: str, number: int, words: str) -> None:
    tally = Tally()
    for _ in range(number):
        tally.association_failed(SimpleNamespace(role=role), "tls")  # type: ignore[arg-type]
    assert str(tally.total) == f"no request; {words}"


async def test_for_programs(stage: Stage) -> None:
    with reported_each_minute(stage.tally, Output(as_json=True), stage.clock):
        async with testing.joined(stage.server, contexts=[FIND]) as association:
            await stage.ask(association, 0xA700)
        await stage.clock.elapse(60)
    report_totals(stage.tally.total, Output(as_json=True))
    minute, ended = map(json.loads, stage.printed)
    counts = {"operations": {"C-FIND": 1}, "failures": {"C-FIND": 1}, "ends": {"association released": 1}}
    assert minute == {"event": "minute", "associations": {"now": 0, "new": 1, "total": 1}, **counts}
    assert ended == {"event": "ended", "associations": 1, "C-FIND": 1, **counts}


async def test_the_minutes_of_workers_are_added_up(stage: Stage) -> None:
    together = Tally()
    with reported_each_minute(together, Output(), stage.clock):
        for number in (1, 2):
            minute = {
                "associations": {"now": 9, "new": number, "total": 9},
                "operations": {"C-FIND": number, "C-ECHO": 1},
                "failures": {"C-FIND": 1},
                "ends": {"association released": 1},
            }
            together.add(minute, 4)
        await stage.clock.elapse(60)
        await stage.clock.elapse(60)
    (line,) = stage.printed
    assert line == "last minute; associations: 4 now, 3 new, 3 in all; 2 C-ECHO, 3 C-FIND; failed: 2 C-FIND"


async def test_who_only_looks_whether_we_are_there_is_no_load(stage: Stage) -> None:
    network = testing.MemoryNetwork()
    async with stage.server.listen(network=network) as listening:
        with reported_each_minute(stage.tally, Output(), stage.clock):
            peer = await testing.ScriptedPeer.call(network, listening.port)
            peer.finish()
            await stage.clock.elapse(60)
            assert stage.tally.total.ends == {"connection lost": 1}
            assert stage.printed == []


def test_what_a_c_move_sends_is_told_apart(stage: Stage) -> None:
    stage.tally.association_opened(ACCEPTED)
    stage.tally.association_opened(REQUESTED)
    stage.tally.operation_ended(REQUESTED, "C-STORE", "user", 0x0000, 0.1)
    stage.tally.operation_ended(REQUESTED, "C-STORE", "user", None, 0.1)
    stage.tally.association_ended(REQUESTED, "lost", 0.1)
    stage.tally.operation_ended(ACCEPTED, "C-MOVE", "provider", 0xB000, 0.1)
    stage.tally.association_failed(REQUESTED, "timeout")
    assert (stage.tally.open, stage.tally.total.associations) == (1, 1)
    assert str(stage.tally.total) == "1 C-MOVE, 2 C-STORE sent; failed: 1 C-STORE sent; 1 destination timeout"
