"""Large files to a peer that takes another transfer syntax: re-encoded as they go by, in both roles."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

import aiodimse
from aiodimse import PresentationContext, sop_class, testing
from aiodimse.services import instance
from aiodimse.standard.transfer_syntax import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

CT = sop_class.CTImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]


def a_file(path: Path, uid: str, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, uid
    dataset.PatientName = "A^B"
    dataset.ReferencedStudySequence = [Dataset(), Dataset()]
    dataset.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3"
    dataset.BitsAllocated = 16
    dataset.add_new(0x7FE00010, "OW", bytes(range(256)) * 4096)
    dataset.file_meta = meta = aiodimse.datasets.file_meta_dataset(CT, uid, transfer_syntax)
    dataset.save_as(
        path,
        implicit_vr=transfer_syntax == ImplicitVRLittleEndian,
        little_endian=transfer_syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    assert meta.TransferSyntaxUID == transfer_syntax
    return path


@pytest.fixture(params=["held", "as it goes by"])
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "_HELD", 0 if request.param == "as it goes by" else 1 << 30)


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("target", SYNTAXES)
@pytest.mark.parametrize("source", SYNTAXES)
async def test_a_file_is_stored_and_retrieved_in_any_of_the_four(tmp_path: Path, source: str, target: str) -> None:
    path = a_file(tmp_path / "file.dcm", "1.2.3", source)
    server = aiodimse.Server(ae_title="ARCHIVE")
    received: list[Dataset] = []

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        received.append(await request.dataset())
        return 0x0000

    @server.on_c_get
    async def get(request: aiodimse.GetRequest) -> Any:
        yield 1
        yield 0xFF00, path

    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.SOPInstanceUID = "IMAGE", "1.2.3"
    contexts = [PresentationContext(CT, [target], scp=True), GET]
    async with testing.joined(server, contexts=contexts) as association:
        assert (await association.c_store(path)).status == 0x0000
        async with association.c_get(wanted, GET) as instances:
            received += [await each.dataset() async for each in instances]
    expected = dcmread(path)
    assert len(received) == 2
    for dataset in received:
        assert dataset.file_meta.TransferSyntaxUID == target
        pixels = dataset["PixelData"].value
        if (source == ExplicitVRBigEndian) != (target == ExplicitVRBigEndian):
            pixels = struct.pack(f"<{len(pixels) // 2}H", *struct.unpack(f">{len(pixels) // 2}H", pixels))
        assert pixels == expected.PixelData
        del dataset.PixelData
        assert dataset == Dataset({tag: expected[tag] for tag in expected.keys() if tag != 0x7FE00010})  # noqa: SIM118


@pytest.mark.usefixtures("_size")
async def test_one_that_cannot_be_re_encoded_costs_itself_alone(tmp_path: Path) -> None:
    good = a_file(tmp_path / "good.dcm", "1.2.3")
    bad = a_file(tmp_path / "bad.dcm", "1.2.4")
    bad.write_bytes(bad.read_bytes()[:-1000])
    server = aiodimse.Server(ae_title="ARCHIVE")
    stored: list[str] = []

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.dataset()
        stored.append(request.sop_instance_uid)
        return 0x0000

    @server.on_c_get
    async def get(request: aiodimse.GetRequest) -> Any:
        yield 3
        for path in (good, bad, good):
            yield 0xFF00, path

    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    contexts = [PresentationContext(CT, [ImplicitVRLittleEndian], scp=True), GET]
    async with testing.joined(server, contexts=contexts) as association:
        with pytest.raises(aiodimse.DatasetDecodeError):
            await association.c_store(bad)
        assert (await association.c_store(good)).status == 0x0000
        got = []
        retrieval = association.c_get(wanted, GET)
        with suppress(aiodimse.AiodimseError):  # of the sub-operation that failed
            async with retrieval as instances:
                async for each in instances:
                    got.append(each.sop_instance_uid)
                    await each.discard()
    assert got == ["1.2.3", "1.2.3"]
    assert stored == ["1.2.3"]
    assert retrieval.response is not None
    assert retrieval.response.failed_sop_instance_uids == ("1.2.4",)
