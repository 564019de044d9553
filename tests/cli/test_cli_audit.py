"""serve --audit: what is reported, and of whom."""

from __future__ import annotations

import asyncio
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cli.conftest import CT, HOST, MR
from cli.test_cli_processes import folder, serving  # noqa: F401
from pydicom import dcmread

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Entry
from aiodimse.cli.auditing import MOST_STUDIES, Auditing
from aiodimse.cli.main import main
from aiodimse.cli.options import Where, audit

CT_STORAGE, MR_STORAGE = sop_class.CTImageStorage, sop_class.MRImageStorage
FIND, GET, MOVE = (
    getattr(sop_class, f"StudyRootQueryRetrieveInformationModel{what}") for what in ("Find", "Get", "Move")
)
MR_OBJECT = dcmread(MR)


def events(file: Path) -> list[tuple[str, str, str]]:
    """The name, the outcome and the patients of each message."""
    found = []
    for line in file.read_bytes().splitlines():
        message = ElementTree.fromstring(line.partition(b"\xef\xbb\xbf")[2])
        event = message.find("EventIdentification")
        name = message.find("EventIdentification/EventID")
        assert event is not None
        assert name is not None
        patients = [
            each.attrib["ParticipantObjectID"]
            for each in message.iter("ParticipantObjectIdentification")
            if each.attrib.get("ParticipantObjectTypeCode") == "1"
        ]
        found.append((name.attrib["originalText"], event.attrib["EventOutcomeIndicator"], ",".join(patients)))
    return found


def connect(
    port: int, *contexts: str | aiodimse.PresentationContext, calling: str = "CT1"
) -> aiodimse.client.Connecting:
    return aiodimse.connect(HOST, port, ae_title=calling, called_ae_title="AIODIMSE", contexts=contexts)


async def ended(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.communicate()


async def test_what_comes_and_is_asked_for(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    (folder / MR.name).unlink()
    file = tmp_path / "audit.log"
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=MR_OBJECT.StudyInstanceUID)
    async with serving(folder, "--audit", file, "--calling", "CT1", "--calling", "MR1=store") as (process, port):
        async with connect(port, FIND, MR_STORAGE) as association:
            assert (await association.c_store(MR)).status == 0x0000
            assert (await association.c_store(MR)).status == 0x0000
            assert len(await association.c_find(identifier, FIND).collect()) == 1
        async with connect(port, FIND, calling="MR1") as association:
            assert (await association.c_find(identifier, FIND)).status == 0x0124
        with pytest.raises(aiodimse.AssociationRejected):
            await connect(port, FIND, calling="NOBODY")
        await ended(process)
    assert events(file) == [
        ("Application Activity", "0", ""),
        ("Query", "0", ""),
        ("DICOM Instances Transferred", "0", MR_OBJECT.PatientID),
        ("Query", "4", ""),
        ("Security Alert", "4", ""),
        ("Application Activity", "0", ""),
    ]
    assert file.stat().st_mode & 0o077 == 0


async def test_what_goes(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "audit.log"
    viewer = aiodimse.Server(ae_title="VIEWER")

    @viewer.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return 0x0000

    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=MR_OBJECT.StudyInstanceUID)
    role = aiodimse.PresentationContext(MR_STORAGE, scu=False, scp=True)
    async with viewer.listen(HOST, 0) as there:
        options = ("--audit", file, "--destination", f"VIEWER={HOST}:{there.port}")
        async with serving(folder, *options) as (process, port):
            async with connect(port, GET, role) as association, association.c_get(identifier, GET) as retrieval:
                assert [(await each.dataset()).SOPInstanceUID async for each in retrieval] == [MR_OBJECT.SOPInstanceUID]
            async with connect(port, MOVE) as association:
                assert (await association.c_move(identifier, MOVE, destination="VIEWER")).status == 0x0000
            await ended(process)
    patient = MR_OBJECT.PatientID
    assert events(file)[1:-1] == [
        ("DICOM Instances Transferred", "0", patient),
        ("Begin Transferring DICOM Instances", "0", patient),
        ("DICOM Instances Transferred", "0", patient),
    ]
    assert dcmread(CT).PatientID not in file.read_text()


def test_where_it_goes() -> None:
    assert audit("tls:audit.example:6514") == Where("audit.example", 6514, True)
    assert audit("/var/log/audit") == Path("/var/log/audit")
    with pytest.raises(ArgumentTypeError):
        audit("tls:audit.example:none")
    for text in ("tls:audit.example", "tls::6514"):
        with pytest.raises(ArgumentTypeError, match="not FILE or tls:HOST:PORT"):
            audit(text)


def test_a_file_that_cannot_be_written_is_told_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "served").mkdir()
    words = ["serve", str(tmp_path / "served"), "--port", "0", "--index", "memory:"]
    assert main([*words, "--audit", str(tmp_path / "no" / "audit.log")]) == 2
    assert f"--audit: {tmp_path}/no/audit.log: no such file or directory" in capsys.readouterr().err


class Reported:
    """A trail that keeps the transfers that it is told of."""

    def __init__(self) -> None:
        self.studies: list[str] = []

    def instances_transferred(self, peer: str, address: str | None, studies: Any, *, received: bool) -> None:
        self.studies += [f"{peer} {address} {each.study_instance_uid} {received}" for each in studies]


async def test_an_association_that_lasts_is_reported_while_it_lasts(tmp_path: Path) -> None:
    """A migration of years: it is neither kept in memory to its end, nor more than the trail takes then."""
    association: Any = Namespace(calling_ae_title="CT1", peer_address=("192.0.2.7", 104), state=Namespace())
    request: Any = Namespace(association=association)
    auditing = Auditing(
        Namespace(audit=tmp_path / "audit.log", ae_title="A"),
        Namespace(destinations={}),  # type: ignore[arg-type]
    )
    auditing.trail = trail = Reported()  # type: ignore[assignment]
    for number in range(MOST_STUDIES + 1):
        for _ in range(2):
            auditing.stored(request, Entry(f"1.{number}", CT_STORAGE, f"2.{number}", "3", "P", "4", "x"))
    assert len(trail.studies) == MOST_STUDIES
    await auditing.association_ended(association, None)
    assert trail.studies == [f"CT1 192.0.2.7 2.{number} True" for number in range(MOST_STUDIES + 1)]
    await auditing.association_ended(association, None)
    assert len(trail.studies) == MOST_STUDIES + 1
