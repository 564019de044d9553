"""Mistakes that newcomers make, and what they are told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class, testing

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
ECHO = sop_class.Verification
CT = Path(str(get_testdata_file("CT_small.dcm")))
KEYS = aiodimse.identifier("STUDY", PatientID=None)


@pytest.mark.parametrize("options", [{}, {"called_ae_title": "archive"}])
async def test_a_wrong_title(options: Any) -> None:
    network = testing.MemoryNetwork()
    here = aiodimse.Environment(network=network)
    server = aiodimse.Server(ae_title="ARCHIVE", environment=here)
    async with server.listen(port=104):
        with pytest.raises(aiodimse.AssociationRejected) as caught:
            await aiodimse.connect("pacs", 104, contexts=[ECHO], environment=here, **options)
    called = options.get("called_ae_title", "ANY-SCP")
    assert f"called AE title not recognized; 'AIODIMSE' called '{called}' at pacs:104)" in str(caught.value)
    assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 7)


async def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", none)
    with pytest.raises(socket.gaierror, match=r"pacs\.example") as caught:
        await aiodimse.connect("pacs.example", 104, contexts=[ECHO])
    assert caught.value.errno == socket.EAI_NONAME


@pytest.mark.parametrize("title", ["A TITLE THAT IS TOO LONG", "", "TWO\\TITLES"])
def test_a_server_that_nobody_could_call(title: str) -> None:
    with pytest.raises(aiodimse.LocalProtocolError, match="not an AE title"):
        aiodimse.Server(ae_title=title)


@pytest.mark.parametrize("window", [-1, 65536, (4, -1), (1, 2, 3), "4", 1.5, None], ids=repr)
def test_an_operations_window_that_is_none(window: Any) -> None:
    """Otherwise a server would reject every peer that asks for a window."""
    with pytest.raises(aiodimse.LocalProtocolError, match="not an operations window"):
        aiodimse.Server(operations_window=window)
    with pytest.raises(aiodimse.LocalProtocolError, match="not an operations window"):
        aiodimse.connect("pacs.example", 104, contexts=[ECHO], operations_window=window)


async def test_a_server_that_was_never_entered() -> None:
    listening = aiodimse.Server().listen("127.0.0.1", 0)
    with pytest.raises(aiodimse.LocalProtocolError, match=r"async with server\.listen"):
        await listening.serve_forever()
    with pytest.raises(aiodimse.LocalProtocolError, match=r"async with server\.listen"):
        _ = listening.port


async def test_a_context_that_was_not_proposed() -> None:
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return 0x0000

    async with testing.joined(server, contexts=[ECHO]) as association:
        for call in (association.c_store(CT), association.c_find(KEYS, FIND).collect()):
            with pytest.raises(aiodimse.NoAcceptedContext, match=r"not proposed: connect\(contexts=\[...\]\)"):
                await call


def test_a_keyword_where_a_uid_is_wanted() -> None:
    with pytest.raises(aiodimse.LocalProtocolError, match=r"; aiodimse\.sop_class\.CTImageStorage is one"):
        aiodimse.connect("pacs", 104, contexts=["CTImageStorage"])
    for wrong in ("CTStorage", "lookup()", ""):
        with pytest.raises(aiodimse.LocalProtocolError, match="not a UID") as caught:
            aiodimse.connect("pacs", 104, contexts=[wrong])
        assert "is one" not in str(caught.value)


async def test_the_sop_class_before_the_identifier() -> None:
    async with testing.joined(aiodimse.Server(), contexts=[ECHO]) as association:
        swapped: Any = FIND, KEYS
        for operation in (association.c_find, association.c_get):
            with pytest.raises(TypeError, match="the Identifier comes first, then the SOP class"):
                operation(*swapped)
        with pytest.raises(TypeError, match="the Identifier comes first, then the SOP class"):
            association.c_move(*swapped, destination="VIEWER")


async def forgets_to_await(request: Any) -> int:
    request.dataset().close()  # close() keeps Python from warning of a coroutine that was never awaited
    return 0x0000


async def leaves_the_stream(request: Any) -> int:
    async for _ in request.stream():
        break
    return 0x0000


async def discards(request: Any) -> int:
    await request.discard()
    return 0x0000


async def reads(request: Any) -> int:
    await request.dataset()
    return 0x0000


async def keeps_the_first(request: Any) -> int:
    """As aiodimse.archive: the same instance again is read to its end, and gets no name."""

    def before_name(*_: object) -> None:
        raise FileExistsError

    with TemporaryDirectory() as folder, suppress(FileExistsError):
        await request.save(folder, before_name=before_name)
    return 0x0000


async def refuses(request: Any) -> int:
    return 0xA700


@pytest.mark.parametrize(
    ("handler", "is_lost"),
    [
        (forgets_to_await, True),
        (leaves_the_stream, True),
        (discards, False),
        (reads, False),
        (keeps_the_first, False),
        (refuses, False),
    ],
)
async def test_success_for_a_data_set_that_nobody_read(
    handler: Callable[[Any], Awaitable[int]], is_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = aiodimse.Server()
    server.on_c_store(handler)
    async with testing.joined(server, contexts=aiodimse.contexts_for([CT])) as association:
        await association.c_store(CT)
    assert ("returned Success, and the data set is lost" in caplog.text) == is_lost


async def returns_nothing(request: Any) -> None:
    await request.dataset()


async def returns_a_coroutine(request: Any) -> Any:
    async def coroutine() -> int:
        return 0x0000

    return coroutine()


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(
    ("handler", "hint"), [(returns_nothing, "want of a `return 0x0000`"), (returns_a_coroutine, "want of an `await`")]
)
async def test_no_status(handler: Any, hint: str, caplog: pytest.LogCaptureFixture) -> None:
    server = aiodimse.Server()
    server.on_c_store(handler)
    async with testing.joined(server, contexts=aiodimse.contexts_for([CT])) as association:
        assert (await association.c_store(CT)).status == 0xC002
    assert hint in caplog.text


async def test_matches_in_a_list(caplog: pytest.LogCaptureFixture) -> None:
    server = aiodimse.Server()

    @server.on_c_find(FIND)
    async def find(request: Any) -> Any:
        return [KEYS]

    async with testing.joined(server, contexts=[FIND]) as association:
        with pytest.raises(aiodimse.DIMSEFailure, match="0xC002"):
            await association.c_find(KEYS, FIND).collect()
    assert "a handler yields its answers one by one" in caplog.text


async def test_an_operation_on_no_instance() -> None:
    server = aiodimse.Server(accept_called=True)
    step, retrieved = sop_class.ModalityPerformedProcedureStep, sop_class.ModalityPerformedProcedureStepRetrieve
    film, commitment = sop_class.BasicFilmBox, sop_class.StorageCommitmentPushModel
    errors: list[Exception] = []

    @server.on_n_create(step)
    @server.on_n_set(step)
    @server.on_n_get(retrieved)
    @server.on_n_delete(film)
    @server.on_n_action(commitment)
    @server.on_n_event_report(commitment)
    async def normalized(request: aiodimse.NormalizedRequest) -> int:
        try:
            await request.association.n_event_report(step, "", 1)
        except aiodimse.LocalProtocolError as error:
            errors.append(error)
        return 0x0000

    contexts: list[str | aiodimse.PresentationContext] = [
        step,
        retrieved,
        film,
        aiodimse.PresentationContext(commitment, scu=True, scp=True),
    ]
    async with testing.joined(server, contexts=contexts) as association:
        for mistake in (
            association.n_event_report(commitment, "", 1),
            association.n_get(retrieved, ""),
            association.n_set(step, "", KEYS),
            association.n_action(commitment, "", 1),
            association.n_delete(film, ""),
        ):
            with pytest.raises(aiodimse.LocalProtocolError, match="a SOP Instance UID is required"):
                await mistake
        assert errors == []
        assert (await association.n_create(step)).status == 0x0000
    assert len(errors) == 1


@pytest.mark.parametrize("destination", ["", "   "])
async def test_a_move_to_nobody(destination: str) -> None:
    move = sop_class.StudyRootQueryRetrieveInformationModelMove
    server = aiodimse.Server(accept_called=True)

    @server.on_c_move(move)
    async def moved(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        yield None

    async with testing.joined(server, contexts=[move]) as association:
        with pytest.raises(aiodimse.LocalProtocolError, match="a move destination is required"):
            await association.c_move(KEYS, move, destination=destination)
        assert (await association.c_move(KEYS, move, destination="X")).status == 0xA801


@pytest.mark.parametrize("identifier", [None, {}, "1.2"], ids=repr)
async def test_an_identifier_that_is_none(identifier: Any) -> None:
    server = aiodimse.Server(accept_called=True)

    @server.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield 0xA700

    async with testing.joined(server, contexts=[FIND]) as association:
        with pytest.raises((aiodimse.DatasetEncodeError, TypeError), match=r"[Ii]dentifier"):
            await association.c_find(identifier, FIND)
        assert (await association.c_find(KEYS, FIND)).status == 0xA700


@pytest.mark.parametrize("type_id", [None, -1, 65536, "1"])
async def test_an_action_or_event_of_no_type(type_id: Any) -> None:
    server = aiodimse.Server(accept_called=True)
    commitment = sop_class.StorageCommitmentPushModel

    @server.on_n_action(commitment)
    @server.on_n_event_report(commitment)
    async def act(request: aiodimse.NormalizedRequest) -> int:
        return 0x0000

    context = aiodimse.PresentationContext(commitment, scu=True, scp=True)
    async with testing.joined(server, contexts=[context]) as association:
        with pytest.raises(aiodimse.LocalProtocolError):
            await association.n_action(commitment, "1.2.3", type_id)
        assert (await association.n_action(commitment, "1.2.3", 1)).status == 0x0000
        with pytest.raises(aiodimse.LocalProtocolError):
            await association.n_event_report(commitment, "1.2.3", type_id)
