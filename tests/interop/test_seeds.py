"""One SOP class of each seed with pynetdicom, as its user and as its provider; its extended negotiation; and Orthanc as
the destination of our C-MOVE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, pynetdicom_peers, samples
from interop.orthanc import Orthanc
from interop.ours import HOST, TITLE, HandlerArchive, keys
from interop.programs import Keeper
from interop.pynetdicom_peers import NetdicomSCP
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind

# Each seed: its C-FIND, C-GET and C-MOVE, and the storage SOP class of what they find.
SEEDS = {
    "Query/Retrieve": ("PatientRootQueryRetrieveInformationModel", sop_class.CTImageStorage),
    "Defined Procedure Protocol": (
        "DefinedProcedureProtocolInformationModel",
        sop_class.CTDefinedProcedureProtocolStorage,
    ),
    "Hanging Protocol": ("HangingProtocolInformationModel", sop_class.HangingProtocolStorage),
    "Implant Template": ("GenericImplantTemplateInformationModel", sop_class.GenericImplantTemplateStorage),
    "Inventory": ("Inventory", sop_class.InventoryStorage),
}
each_seed = pytest.mark.parametrize("seed", SEEDS)


def models(seed: str) -> tuple[str, str, str]:
    name = SEEDS[seed][0]
    find, get, move = (str(getattr(sop_class, name + command)) for command in ("Find", "Get", "Move"))
    return find, get, move


def instance(seed: str, number: int) -> Dataset:
    """An object of the seed; enough of one to travel."""
    found = Dataset()
    found.SOPClassUID = str(SEEDS[seed][1])
    found.SOPInstanceUID = f"1.2.3.{number}"
    found.InstanceNumber = number
    found.file_meta = FileMetaDataset()  # which pynetdicom wants of what it sends
    found.file_meta.TransferSyntaxUID = samples.EXPLICIT_LE
    return found


def asked(**more: Any) -> Dataset:
    """An identifier without a Query/Retrieve Level: four of the five models have none."""
    found = Dataset()
    found.SOPInstanceUID = ""
    for keyword, value in more.items():
        setattr(found, keyword, value)
    return found


@each_seed
async def test_its_user_asks_us(netdicom: Callable[..., NetdicomSCP], seed: str) -> None:
    find, get, move = models(seed)
    storage = str(SEEDS[seed][1])
    target, server = netdicom(query=[storage]), aiodimse.Server(ae_title=TITLE)
    found_of: list[str] = []

    @server.on_c_find(find)
    async def on_find(request: Any) -> AsyncIterator[Any]:
        found_of.append(request.sop_class_uid)
        for number in (1, 2):
            yield instance(seed, number)

    @server.on_c_get(get)
    async def on_get(request: Any) -> AsyncIterator[Any]:
        yield 2
        for number in (1, 2):
            yield instance(seed, number)

    @server.on_c_move(move)
    async def on_move(request: Any) -> AsyncIterator[Any]:
        yield HOST, target.port
        yield 2
        for number in (1, 2):
            yield instance(seed, number)

    in_thread = asyncio.to_thread
    async with server.listen(HOST, 0) as listening:
        port = listening.port
        matches = await in_thread(pynetdicom_peers.find, port, find, asked(), called=TITLE)
        assert [(status, ds and ds.SOPInstanceUID) for status, ds in matches] == [
            (0xFF00, "1.2.3.1"),
            (0xFF00, "1.2.3.2"),
            (0x0000, None),
        ]
        assert found_of == [find]
        contexts = {storage: [samples.EXPLICIT_LE]}
        results, received = await in_thread(pynetdicom_peers.get, port, get, asked(), contexts, called=TITLE)
        assert ([status for status, _ in results], sorted(received)) == ([0xFF00, 0x0000], ["1.2.3.1", "1.2.3.2"])
        moved = await in_thread(pynetdicom_peers.move, port, move, asked(), "NETDICOM", called=TITLE)
        assert ([status for status, _ in moved], sorted(target.received)) == (
            [0xFF00, 0x0000],
            ["1.2.3.1", "1.2.3.2"],
        )


@each_seed
async def test_our_user_asks_it(netdicom: Callable[..., NetdicomSCP], tmp_path: Path, seed: str) -> None:
    from pynetdicom import evt

    find, get, move = models(seed)
    storage = SEEDS[seed][1]
    target = aiodimse.Server(ae_title="DEST")
    arrived: list[str] = []

    @target.on_c_store(storage)
    async def store(request: Any) -> int:
        arrived.append((await request.dataset()).SOPInstanceUID)
        return 0x0000

    def on_find(event: Any) -> Any:
        yield 0xFF00, instance(seed, 1)
        yield 0xFF01, instance(seed, 2)

    def on_get(event: Any) -> Any:
        yield 2
        yield from ((0xFF00, instance(seed, number)) for number in (1, 2))

    async with target.listen(HOST, 0) as listening:

        def on_move(event: Any) -> Any:
            from pynetdicom import build_context

            yield HOST, listening.port, {"contexts": [build_context(str(storage), samples.EXPLICIT_LE)]}
            yield from on_get(event)

        handlers = {evt.EVT_C_FIND: on_find, evt.EVT_C_GET: on_get, evt.EVT_C_MOVE: on_move}
        scp = netdicom(query=[find], retrieve=[get, move], handlers=handlers, sent=[str(storage)])
        async with aiodimse.connect(HOST, scp.port, contexts=[find, get, move], storage=[storage]) as user:
            async with user.c_find(asked(), find) as matches:
                found = [(match.SOPInstanceUID, matches.last_status) async for match in matches]
            assert (found, matches.status) == ([("1.2.3.1", 0xFF00), ("1.2.3.2", 0xFF01)], 0x0000)
            async with user.c_get(asked(), get) as retrieval:
                got = [(await each.dataset()).SOPInstanceUID async for each in retrieval]
            assert (got, retrieval.status, retrieval.progress.completed) == (["1.2.3.1", "1.2.3.2"], 0x0000, 2)
            final = await user.c_move(asked(), move, destination="DEST")
            assert (final.status, arrived) == (0x0000, ["1.2.3.1", "1.2.3.2"])


# --- extended negotiation ---------------------------------------------------------------------------------------------

OFFERED = {
    "as long as ours": (bytes((1, 1, 1, 0, 0, 0, 0)), bytes((1, 0, 1, 0, 0, 0, 0))),
    "shorter": (bytes((1, 1, 1)), bytes((1, 0, 1))),
    "longer": (bytes((1,) * 9), bytes((1, 0, 1, 0, 0, 0, 0, 0, 0))),
}


@pytest.mark.parametrize("case", OFFERED)
async def test_its_user_negotiates_extensions(case: str) -> None:
    offered, answered = OFFERED[case]
    server, seen = aiodimse.Server(ae_title=TITLE), []

    @server.on_c_find(FIND, extended=aiodimse.ExtendedQuery(relational=True, fuzzy_names=True))
    async def find(request: Any) -> AsyncIterator[Any]:
        seen.append(request.extended)
        yield keys(StudyInstanceUID="1.2.3")

    def ask(port: int) -> tuple[dict[str, bytes], list[Any]]:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = str(FIND), offered
        contexts = [(str(FIND), pynetdicom_peers.UNCOMPRESSED)]
        with pynetdicom_peers.association(port, contexts, called=TITLE, ext_neg=[item]) as assoc:
            statuses = [status.Status for status, _ in assoc.send_c_find(keys(StudyInstanceUID=""), str(FIND))]
            return dict(assoc.acceptor.sop_class_extended), statuses

    async with server.listen(HOST, 0) as listening:
        answer, statuses = await asyncio.to_thread(ask, listening.port)
    assert (answer, statuses) == ({str(FIND): answered}, [0xFF00, 0x0000])
    assert seen == [aiodimse.ExtendedQuery(relational=True, fuzzy_names=True)]


# --- Orthanc ----------------------------------------------------------------------------------------------------------


async def test_orthanc_is_a_move_destination(keeper: Keeper, tmp_path: Path) -> None:
    """One study, in three SOP classes and two transfer syntaxes."""
    orthanc, renamed = keeper.start(Orthanc), []
    for number, sample in enumerate((samples.SR, samples.CT, samples.JPEG_2000)):
        dataset = dcmread(sample.path)
        dataset.PatientID, dataset.StudyInstanceUID = "MOVED", "1.2.826.0.1.3680043.10.999.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.999.1.{number}"
        renamed.append(tmp_path / f"{number}.dcm")
        dataset.save_as(renamed[-1])
    archive = HandlerArchive(tmp_path, renamed, {"ORTHANC": orthanc.port})
    study = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.826.0.1.3680043.10.999.1"}
    async with archive.server.listen(HOST, 0) as listening:
        talk = await dcmtk.movescu(listening.port, "-S", study, "ORTHANC", called=TITLE, code=0)
        assert (talk.final.status, talk.final.completed, talk.final.failed) == (0x0000, 3, 0), talk
    asked_for = {**study, "NumberOfStudyRelatedInstances": ""}
    found = await dcmtk.findscu(orthanc.port, "-S", asked_for, tmp_path / "found", called=orthanc.title, code=0)
    assert [int(ds.NumberOfStudyRelatedInstances) for ds in found.datasets()] == [3]
