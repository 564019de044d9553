"""What objects and errors say of themselves: a program may log a repr, a str or a traceback of anything it is given."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from privacy.conftest import ID, NAME, Log, instance, patient, save_as, sings
from privacy.test_privacy_services import CONTEXTS, CT, FAILING, FIND, GET, MPPS, ask_for_all, serving
from privacy.test_privacy_wire import BAD, UNSOUND
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scripted import wire

import aiodimse
from aiodimse import pdu, testing
from aiodimse.archive.header import read_header
from aiodimse.archive.matching import Rules
from aiodimse.archive.models import STUDY_ROOT
from aiodimse.archive.queries import find_query
from aiodimse.datasets import decode_dataset, encode_dataset
from aiodimse.dimse import command, messages
from aiodimse.telemetry import OpenTelemetryMetrics

EXPLICIT = ExplicitVRLittleEndian


def says(thing: object) -> list[str]:
    """All that it can be made to say."""
    if isinstance(thing, BaseException):
        return ["".join(traceback.format_exception(thing)), repr(thing)]
    return [str(thing), repr(thing)]


def singing(*things: object) -> list[str]:
    return [words for thing in things for words in says(thing) if sings(words)]


def data() -> bytes:
    return encode_dataset(Dataset({tag: e for tag, e in patient().items() if tag != 0x00200013}), EXPLICIT)


# --- what travels -----------------------------------------------------------------------------------------------------


def test_events_and_messages() -> None:
    pair = testing.EnginePair([FIND, CT, MPPS])
    pair.connect()
    user, provider = pair.requestor, pair.acceptor
    requests = (
        messages.CFindRQ(message_id=0, affected_sop_class_uid=FIND, priority=0),
        messages.CStoreRQ(message_id=0, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0),
        messages.NCreateRQ(message_id=0, affected_sop_class_uid=MPPS),
    )
    for context_id, request in zip((1, 3, 5), requests, strict=True):
        invoked = user.invoke(context_id, request)
        user.send(context_id, request, data())
        pair.carry()
        performed = pair.events["acceptor"][-1].operation
        response = performed.request.response(0xA700)
        response.error_comment = NAME
        provider.respond(performed, response, None if context_id == 3 else data())
        pair.carry()
        assert not invoked.is_open
        assert singing(invoked, performed, request, response, performed.request) == []
    kinds = {type(event).__name__ for events in pair.events.values() for event in events}
    assert kinds >= {"RequestReceived", "DatasetReceived", "ResponseReceived"}
    assert singing(*pair.events["requestor"], *pair.events["acceptor"]) == []


def test_pdus() -> None:
    whole = wire.pdu(4, wire.pdv(1, data(), command=False, last=True))
    reader = pdu.PDUReader(aiodimse.Limits())
    reader.feed(whole)
    assert singing(pdu.decode(whole), reader, reader.next(), reader.next()) == []
    identity = pdu.UserIdentityRequest(2, True, NAME.encode(), ID.encode())
    rq = testing.EnginePair([FIND]).rq
    assert singing(identity, rq, pdu.decode(pdu.encode(rq))) == []


# --- what handlers and users get --------------------------------------------------------------------------------------


async def test_requests_instances_and_operations(tmp_path: Path) -> None:
    server, seen = aiodimse.Server(ae_title="ARCHIVE"), list[str]()

    def look(*things: object) -> None:
        seen.extend(type(thing).__name__ for thing in things)
        assert singing(*things) == []

    async def takes(request: Any) -> int:
        if isinstance(request, aiodimse.Instance):
            await request.dataset()
        look(request, request.message, request.association, request.context, request._performed)
        return 0x0000

    async def yields(request: Any) -> AsyncIterator[Any]:
        await takes(request)
        if request.sop_class_uid == GET:
            yield 1
            yield 0xFF00, instance()
        yield 0xFF00, aiodimse.EncodedDataset(data(), EXPLICIT)

    for register in (server.on_c_store, server.on_n_create):
        register(takes)
    for register in (server.on_c_find, server.on_c_get):
        register(yields)
    async with testing.joined(server, contexts=CONTEXTS, storage=[CT]) as association:
        look(association, association.negotiated, aiodimse.EncodedDataset(data(), EXPLICIT))
        async with association.c_find(patient(), FIND) as matches:
            assert [match.PatientID async for match in matches] == [ID]
        async with association.c_get(patient(), GET) as retrieval:
            async for arriving in retrieval:
                await arriving.dataset()
                look(arriving)
        look(matches, retrieval, matches.response, retrieval.response)
        look(await association.n_create(MPPS, "1.2.3", patient()))
    look(aiodimse.Instance.from_dataset(instance()))
    assert {"FindRequest", "GetRequest", "NormalizedRequest", "StoreRequest", "Find", "Get"} - set(seen) == set()


def test_the_index_of_an_archive(tmp_path: Path) -> None:
    one = instance(1, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = EXPLICIT
    save_as(one, tmp_path / "one.dcm", enforce_file_format=True)
    header = read_header(tmp_path / "one.dcm")
    assert NAME in str(header.levels)
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientName, asked.PatientID, asked.StudyInstanceUID = "STUDY", NAME, ID, ""
    query = find_query(asked, STUDY_ROOT, Rules())
    assert NAME in str([key.values for key in query.keys])
    assert singing(header, query) == []


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNSOUND)
def test_data_sets_that_do_not_decode(name: str) -> None:
    if name in (
        "nothing",
        "characters of no set",
        "group 2",
        "tags that descend",
    ):  # sound, or found when the value is read
        decode_dataset(UNSOUND[name], EXPLICIT)
        return
    with pytest.raises(aiodimse.DatasetDecodeError) as caught:
        decode_dataset(UNSOUND[name], EXPLICIT)
    assert singing(caught.value) == []


@pytest.mark.parametrize(("keyword", "vr"), [("Rows", "US"), ("DiffusionBValue", "FD")])
async def test_data_sets_that_do_not_encode(keyword: str, vr: str) -> None:
    wrong = instance()
    wrong.add_new(keyword, vr, [NAME, ID])
    with pytest.raises(aiodimse.DatasetEncodeError) as caught:
        encode_dataset(wrong, EXPLICIT)
    assert singing(caught.value) == []
    async with testing.joined(serving(0x0000), contexts=[CT, FIND]) as association:
        for operation in (association.c_store(wrong), association.c_find(wrong, FIND).collect()):
            with pytest.raises(aiodimse.DatasetEncodeError) as caught:
                await operation
            assert singing(caught.value) == []


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_pdu(name: str) -> None:
    reader = pdu.PDUReader(aiodimse.Limits())
    reader.feed(BAD[name])
    found = []
    while (item := reader.next()) is not None:
        found.append(item)
    assert singing(*found) == []


@pytest.mark.parametrize("data", [NAME.encode(), wire.command({(0, 0x0100): NAME.encode()}), UNSOUND["cut"]])
def test_commands_that_are_none(data: bytes) -> None:
    with pytest.raises(aiodimse.ProtocolError) as caught:
        command.decode(data)
    assert singing(caught.value) == []


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["missing", "a file", "full"])
async def test_saves_that_fail(where: str, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """People name folders after patients, and the text of an OSError has the path."""
    folder = tmp_path / NAME
    if where == "a file":
        folder.touch()
    elif where == "full":
        folder.mkdir()
        monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left", str(folder))))
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(folder)
        return 0x0000

    async def get(request: Any) -> AsyncIterator[Any]:
        yield 2
        yield 0xFF00, instance()
        yield 0xFF00, folder / "two.dcm"

    server.on_c_get(get)
    async with testing.joined(server, contexts=[CT]) as association:
        assert (await association.c_store(instance())).status == 0xA700
    async with testing.joined(server, contexts=[GET], storage=[CT]) as association:
        retrieval = association.c_get(patient(), GET)
        with pytest.raises(OSError, match="Zeisig"):
            await (await anext(retrieval)).save(folder)
        with pytest.raises(aiodimse.DIMSEFailure):
            await anext(retrieval)
    assert log.lines("raised")
    assert log.lines("sub-operation")


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAILING)
async def test_attributes_of_metrics(name: str) -> None:
    reader = InMemoryMetricReader()
    metrics = OpenTelemetryMetrics(MeterProvider([reader]).get_meter("test"))
    await ask_for_all(serving(FAILING[name], metrics=metrics), metrics=metrics, ae_title="SPY")
    said = reader.get_metrics_data()
    assert said is not None
    assert "C-FIND" in said.to_json()
    assert not sings(said.to_json())
    assert "SPY" not in said.to_json()
