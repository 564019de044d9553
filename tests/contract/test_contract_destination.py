"""The row of the contract on move destinations: one that refuses, rejects, takes nothing or goes away is not tried
again, the handler is closed, and the rest counts as failed (docs/topics/query-retrieve.md)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.stage import (
    CT_UID,
    DESTINATION,
    HOST,
    IDENTIFIER,
    MOVE,
    PAUSE,
    Destination,
    Do,
    Played,
    Script,
    check_retrieve,
    image,
    images,
    make_server,
    open_destination,
    open_stage,
    play,
    register,
)
from scripted import wire
from scripted.peer import Aborted, Closed, Message, ScriptedPeer, ScriptedPeerError
from tls.authority import make

import aiodimse
from aiodimse import datasets, sop_class, tls
from aiodimse.testing.clock import ManualClock, settle

NUMBER = 3
JPEG = "1.2.840.10008.1.2.4.50"
PRIVATE = "1.2.826.0.1.3680043.10.9999.7"
ENCODED = {
    (0x0008, 0x0016): ("UI", CT_UID),
    (0x0008, 0x0018): ("UI", "1.2.3.5"),
    (0x0010, 0x0020): ("LO", "5"),
}


def lost_after(done: int) -> tuple[int, tuple[int | None, int, int, int], list[str]]:
    """Final status, counters and Failed SOP Instance UID List where the destination is lost after so many of three."""
    return (0xB000 if done else 0xA702), (None, done, NUMBER - done, 0), [f"1.2.3.{done + 1}"]


def _said(status: int) -> str | None:
    """Return the Error Comment; PS3.4 C.4.2.1.5 has none for B000."""
    return "the association with the move destination failed" if status == 0xA702 else None


def check_lost(played: Played, done: int, *, under_way: bool = False) -> None:
    """under_way: lost with a sub-operation under way, when the handler is one instance ahead of it."""
    status, counters, failed = lost_after(done)
    check_retrieve(played, "C-MOVE", NUMBER, status, counters, failed, _said(status))
    asked_for = done + 1 + under_way
    assert played.script.closed == [GeneratorExit if asked_for <= NUMBER else None]
    assert played.script.yielded == 2 + min(asked_for, NUMBER), "no instance is asked for after the loss"
    assert len(played.pending) == done


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
    return port


async def test_a_destination_that_refuses_the_connection(closed_port: int) -> None:
    check_lost(await play("C-MOVE", Script((HOST, closed_port), NUMBER, *images(NUMBER))), 0)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "no\0host", "\udcff"], ids=["label", "NUL", "surrogate"])
async def test_a_destination_whose_name_is_none(host: str) -> None:
    check_lost(await play("C-MOVE", Script((host, 104), NUMBER, *images(NUMBER))), 0)


@pytest.mark.parametrize("reject", [(1, 1, 7), (1, 1, 1), (2, 3, 2)])
async def test_a_destination_that_rejects(reject: tuple[int, int, int]) -> None:
    played = await play("C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), destination=Destination(reject=reject))
    check_lost(played, 0)
    assert len(played.destination.asked) == 1


async def test_a_destination_that_accepts_no_context() -> None:
    played = await play("C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), destination=Destination(takes=False))
    check_lost(played, 0)
    assert len(played.destination.asked) == 1
    assert played.destination.ended == ["released"]


class _Gone(Destination):
    """Ends before it has answered the A-ASSOCIATE-RQ."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        if self.how != "at once":
            self.asked.append(await peer.read_associate_rq())
        if self.how == "A-ABORT":
            await peer.send(wire.abort())
        elif self.how == "noise":
            await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.how == "RST":
            peer.reset()
            return self.how
        await peer.close()
        return self.how


@pytest.mark.parametrize("how", ["at once", "FIN", "RST", "A-ABORT", "noise"])
async def test_a_destination_that_goes_before_it_has_answered(how: str) -> None:
    check_lost(await play("C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), destination=_Gone(how)), 0)


@pytest.mark.parametrize("how", [Aborted, Closed])
@pytest.mark.parametrize("done", [0, 1, 2])
async def test_a_destination_that_goes_half_way(how: Any, done: int, caplog: pytest.LogCaptureFixture) -> None:
    """The rest goes over another association, without the instance at which it went."""
    played = await play("C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), [0] * done + [how])
    check_retrieve(played, "C-MOVE", NUMBER, 0xB000, (None, NUMBER - 1, 1, 0), [f"1.2.3.{done + 1}"])
    assert len(played.destination.asked) == (2 if done + 1 < NUMBER else 1)
    said = [r.getMessage() for r in caplog.records if r.name == "aiodimse.retrieve" and r.levelname == "WARNING"]
    assert len(said) == 1, "once is enough"


@pytest.mark.parametrize("how", [Aborted, Closed])
@pytest.mark.parametrize("done", [0, 1])
async def test_a_destination_that_goes_twice(how: Any, done: int) -> None:
    """A second loss is the end of it."""
    played = await play("C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), [0] * done + [how, how])
    lost = [f"1.2.3.{done + 1}", f"1.2.3.{done + 2}"]
    status = 0xB000 if done else 0xA702
    check_retrieve(played, "C-MOVE", NUMBER, status, (None, done, NUMBER - done, 0), lost, _said(status))
    assert len(played.destination.asked) == 2


@pytest.mark.parametrize("done", [0, 1])
async def test_a_destination_that_goes_and_takes_no_other_association(
    done: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Once(Destination):
        async def serve(self, listener: Any) -> None:
            answers = iter(self.statuses)
            for self.reject in (None, (2, 3, 2)):
                self.ended.append(await self._association(await listener.accept(timeout=60), answers))
            self.over.set()

    played = await play(
        "C-MOVE", Script(DESTINATION, NUMBER, *images(NUMBER)), destination=Once([0] * done + [Aborted])
    )
    lost = [f"1.2.3.{done + 1}", f"1.2.3.{done + 2}"]
    status = 0xB000 if done else 0xA702
    check_retrieve(played, "C-MOVE", NUMBER, status, (None, done, NUMBER - done, 0), lost, _said(status))
    assert played.destination.ended == ["aborted by destination", "rejected"]
    said = [r.getMessage() for r in caplog.records if r.name == "aiodimse.retrieve" and r.levelname == "WARNING"]
    assert len(said) == 2


class _AfterAnswer(Destination):
    """Goes when it has answered so many, while no sub-operation is under way."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.gone = asyncio.Event()

    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        self.asked.append(await peer.accept())
        for _ in range(self.count):
            try:
                message = await peer.read_message()
            except ScriptedPeerError:
                await peer.send(wire.RELEASE_RP)
                await peer.drain()
                return "released"
            self.stored.append(message)
            await peer.respond(message, 0x0000)
        await peer.close()
        self.gone.set()
        return "closed by destination"


@pytest.mark.parametrize("done", [1, 2])
async def test_a_destination_that_goes_between_two(done: int) -> None:
    destination = _AfterAnswer(done)

    class Slow(Script):
        async def __call__(self, request: Any) -> AsyncIterator[Any]:
            async for step in super().__call__(request):
                yield step
                if self.yielded == 2 + done:
                    await destination.gone.wait()

    handler = Slow(DESTINATION, NUMBER, *images(NUMBER))
    played = await play("C-MOVE", handler, destination=destination)
    if done == 1:  # it goes after the second too
        check_retrieve(played, "C-MOVE", NUMBER, 0xB000, (None, 2, 1, 0), ["1.2.3.3"])
    else:
        check_retrieve(played, "C-MOVE", NUMBER, 0x0000, (None, NUMBER, 0, 0))
    assert len(destination.asked) == 2


async def test_a_destination_that_does_not_answer_in_time() -> None:
    """Then it has gone: the association with it is of no more use."""
    silent = Destination(proceed=asyncio.Event())
    step = Do(lambda script: aiodimse.Destination(HOST, script.port, timeouts=aiodimse.Timeouts(response=0.05)))
    server, handler = make_server(), Script(step, NUMBER, *images(NUMBER))
    register(server, "C-MOVE", handler)
    async with open_destination(silent) as handler.port, open_stage(server) as stage:
        responses = await stage.peer.responses(await stage.ask("C-MOVE"))
        check_lost(Played(responses, silent.stored, handler, silent), 0, under_way=True)
        assert silent.proceed is not None
        silent.proceed.set()
        await silent.over.wait()
        assert len(silent.stored) == 1


class _Silent(Destination):
    """Takes the connection, reads what comes and says nothing."""

    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        self.asked.append(await peer.read_associate_rq())
        self.arrived.set()
        await peer.drain()
        return "given up"


async def test_a_destination_that_takes_the_connection_and_is_silent() -> None:
    """The thirty seconds of `Timeouts.connect`, by a clock that this test moves."""
    clock, silent = ManualClock(), _Silent()
    server, handler = make_server(environment=aiodimse.Environment(clock)), Script(DESTINATION, NUMBER, *images(NUMBER))
    register(server, "C-MOVE", handler)
    async with open_destination(silent) as handler.port, open_stage(server) as stage:
        asked = await stage.ask("C-MOVE")
        await silent.arrived.wait()
        clock.advance(29.9)
        await settle()
        assert not silent.over.is_set()
        clock.advance(0.2)
        responses = await stage.peer.responses(asked)
        check_lost(Played(responses, silent.stored, handler, silent), 0)
        await stage.nothing_more()
        await silent.over.wait()
        assert len(silent.asked) == 1


async def test_a_destination_that_does_not_speak_tls(tmp_path: Path) -> None:
    context = tls.client_context(make(tmp_path).ca)
    step = Do(lambda script: aiodimse.Destination(HOST, script.port, ssl=context))
    played = await play("C-MOVE", Script(step, NUMBER, *images(NUMBER)), destination=_Noise())
    check_lost(played, 0)


class _Noise(Destination):
    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.drain()
        return "noise"


@pytest.mark.parametrize("name", ["stranger", "expired", "elsewhere"])
async def test_a_destination_behind_tls_whose_certificate_is_not_accepted(tmp_path: Path, name: str) -> None:
    certificates = make(tmp_path)
    context, theirs = (
        tls.client_context(certificates.ca),
        tls.server_context(**certificates.pair(name), verify_client=False),
    )
    target = aiodimse.Server(ae_title="DEST")
    async with target.listen(HOST, 0, ssl=theirs) as listening:
        step = aiodimse.Destination(HOST, listening.port, ssl=context)
        check_lost(await play("C-MOVE", Script(step, NUMBER, *images(NUMBER))), 0)


# --- the disk goes, half way through an instance ----------------------------------------------------------------------


def large_file(folder: Path, number: int) -> Path:
    """Three pieces, as they are read."""
    uid = f"1.2.3.{number}"
    elements = {
        (0x0008, 0x0016): ("UI", CT_UID),
        (0x0008, 0x0018): ("UI", uid),
        (0x7FE0, 0x0010): ("OW", bytes(3 << 20)),
    }
    with datasets.PartTenWriter(folder, CT_UID, uid, wire.EXPLICIT_LE, durable=False) as writer:
        return writer.finish(wire.dataset(elements))


def breaking(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Files become shorter, or cannot be read any more, behind their first piece."""
    read = datasets.open_pieces

    def pieces(head: Any, size: int) -> Iterator[bytes]:
        found = read(head, size)
        yield next(found)
        if how == "EIO":
            raise OSError(errno.EIO, "Input/output error")
        os.truncate(head.path, head.data_offset + 1000)
        yield from found

    monkeypatch.setattr(datasets, "open_pieces", pieces)


@pytest.mark.parametrize("how", ["shorter", "EIO"])
@pytest.mark.parametrize("done", [0, 1])
async def test_a_file_that_breaks_half_way_to_a_destination(
    how: str, done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a message cannot be taken back: the store association is aborted, and another one opened for the rest."""
    breaking(monkeypatch, how)
    rest = images(NUMBER)[done + 1 :]
    played = await play("C-MOVE", Script(DESTINATION, NUMBER, *images(done), large_file(tmp_path, done + 1), *rest))
    check_retrieve(played, "C-MOVE", NUMBER, 0xB000, (None, NUMBER - 1, 1, 0), [f"1.2.3.{done + 1}"])
    assert (played.destination.ended, len(played.stored)) == (["aborted", "released"], NUMBER - 1)


@pytest.mark.parametrize("how", ["shorter", "EIO"])
@pytest.mark.parametrize("done", [0, 1])
async def test_a_file_that_breaks_half_way_to_a_c_get_user(
    how: str, done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, but here it is the association that asked: no response can be written behind half an instance."""
    breaking(monkeypatch, how)
    rest = images(NUMBER)[done + 1 :]
    server, handler = make_server(), Script(NUMBER, *images(done), large_file(tmp_path, done + 1), *rest)
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        with pytest.raises(Aborted) as caught:
            await stage.peer.responses(await stage.ask("C-GET"), store=0x0000)
        assert (caught.value.source, caught.value.reason) == (0, 0)
        assert len(stage.peer.stored) == done
        await stage.peer.expect_close()
        await handler.has_closed.wait()


async def test_a_destination_that_takes_some_sop_classes() -> None:
    """A refused context is the failure of its instances alone."""
    mr = str(sop_class.MRImageStorage)

    class Some(Destination):
        def answer(self, rq: wire.Associate) -> list[tuple[int, int, str]]:
            return [(c, 0 if uid == CT_UID else 3, ts[0]) for c, (uid, ts) in rq.proposed.items()]

    played = await play("C-MOVE", Script(DESTINATION, 3, image(1), image(2, mr), image(3)), destination=Some())
    check_retrieve(played, "C-MOVE", 3, 0xB000, (None, 2, 1, 0), ["1.2.3.2"])


async def test_another_association_for_what_the_first_lacks() -> None:
    """The first is opened when an instance is known, for it and the common storage classes."""
    mr, own = str(sop_class.MRImageStorage), "1.2.826.0.1.3680043.10.999.5"  # one that no list has
    destination = Destination()
    jpeg = aiodimse.EncodedDataset(wire.dataset(ENCODED), JPEG)
    steps = [image(1), image(2, mr), image(3, own), image(4), jpeg, image(6, own)]
    played = await play("C-MOVE", Script(DESTINATION, len(steps), *steps), destination=destination)
    check_retrieve(played, "C-MOVE", 6, 0x0000, (None, 6, 0, 0))
    proposed = [{uid for uid, _ in rq.proposed.values()} for rq in destination.asked]
    assert len(proposed) == 3
    assert {CT_UID, mr} <= proposed[0]
    assert own not in proposed[0]
    assert own in proposed[1]
    jpegs = [any(JPEG in syntaxes for _, syntaxes in rq.proposed.values()) for rq in destination.asked]
    assert jpegs == [False, False, True]
    assert destination.ended == ["released"] * 3


async def test_statuses_of_a_destination_are_no_loss() -> None:
    played = await play("C-MOVE", Script(DESTINATION, 4, *images(4)), [0xA700, 0xA900, 0xB000, 0xA700])
    check_retrieve(played, "C-MOVE", 4, 0xB000, (None, 0, 3, 1), ["1.2.3.1", "1.2.3.2", "1.2.3.4"])
    assert played.destination.ended == ["released"]
    assert len(played.destination.asked) == 1


class _Curious(Destination):
    """Asks for something itself before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Message] = []

    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        self.asked.append(await peer.accept())
        message = await peer.read_message()
        report = {
            wire.SOP_CLASS: PRIVATE, wire.COMMAND_FIELD: 0x0100, wire.INSTANCE: "1.2", (0x0000, 0x1002): 1,
        }  # fmt: skip
        self.answers += await peer.responses(await peer.request(message.context_id, report))
        await peer.respond(message, 0x0000)
        await peer.expect_release()
        return "released"


async def test_a_destination_that_asks_is_answered() -> None:
    """Whatever it may ask for by its role, an event report of a SOP class that we do not know, is not served."""
    destination = _Curious()
    played = await play("C-MOVE", Script(DESTINATION, 1, image(1, PRIVATE)), destination=destination)
    check_retrieve(played, "C-MOVE", 1, 0x0000, (None, 1, 0, 0))
    (answer,) = destination.answers
    assert (answer.field, answer.status) == (0x8100, 0x0122)


ENDS: dict[str, tuple[list[Any], int]] = {
    "its own end": ([*images(2)], 0x0000),
    "Success": ([image(1), 0x0000], 0xB000),
    "an exception": ([image(1), ValueError()], 0xC511),
    "a Failure": ([image(1), 0xA900], 0xA900),
    "too many": ([*images(3)], 0x0000),
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_store_association_is_released_whatever_the_handler_does(end: str) -> None:
    steps, status = ENDS[end]
    played = await play("C-MOVE", Script(DESTINATION, 2, *steps))
    assert played.final.status == status
    assert played.destination.ended == ["released"]


# --- the requestor goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST", "A-RELEASE-RQ"])
@pytest.mark.parametrize("when", ["in a sub-operation", "in the handler"])
async def test_the_store_association_is_aborted_when_the_requestor_goes(how: str, when: str) -> None:
    waits = when == "in the handler"
    destination = Destination(proceed=None if waits else asyncio.Event())
    handler = Script(DESTINATION, 3, image(1), *([PAUSE] if waits else []), image(2), image(3))
    server = make_server()
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        peer = stage.peer
        await peer.request(MOVE, wire.move_rq("DEST", message_id=7), IDENTIFIER)
        await destination.arrived.wait()
        if waits:
            await handler.waiting.wait()
            assert (await peer.read_message()).counters == (2, 1, 0, 0)
        await leave(peer, how)
        await handler.has_closed.wait()
        assert handler.closed == [asyncio.CancelledError if waits else GeneratorExit]
        if destination.proceed is not None:
            destination.proceed.set()
        await destination.over.wait()
        assert destination.ended == ["aborted"]
        assert len(destination.stored) == 1


async def leave(peer: ScriptedPeer, how: str) -> None:
    """End the association in one of the ways; nothing more may come."""
    if how == "A-RELEASE-RQ":
        await peer.send(wire.RELEASE_RQ)
        await peer.expect(wire.A_RELEASE_RP)
        await peer.expect_close()
    elif how == "A-ABORT":
        await peer.send(wire.abort())
        await peer.expect_close()
    elif how == "FIN":
        peer.shut()
        await peer.expect_close()
    else:
        peer.reset()


async def test_a_move_destination_that_is_no_title() -> None:
    """The handler may know it; nobody can be called by it."""
    destination, server = Destination(), make_server()
    handler = Script(DESTINATION, 2, *images(2))
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        rq = {**wire.move_rq("TOO LONG A TITLE FOR AN AE", message_id=7)}
        (final,) = await stage.peer.responses(await stage.peer.request(MOVE, rq, IDENTIFIER))
        assert (final.status, final.counters) == (0xA702, (None, 0, 2, 0))
        assert destination.asked == []
        assert handler.closed == [GeneratorExit]
        await stage.nothing_more()
