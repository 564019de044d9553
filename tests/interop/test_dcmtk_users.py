"""echoscu, storescu, findscu, getscu and movescu against handlers on aiodimse.Server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, samples
from interop.dcmtk import StoreSCP
from interop.ours import TITLE, HandlerArchive

Serving = Callable[..., AbstractAsyncContextManager[tuple[HandlerArchive, int]]]
EVERYTHING = [sample.path for sample in samples.JOURNEY]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """async with serving(paths, destinations) as (archive, port)"""

    @asynccontextmanager
    async def serve(*args: Any, **options: Any) -> AsyncIterator[tuple[HandlerArchive, int]]:
        folder = tmp_path / "stored"
        folder.mkdir()
        archive = HandlerArchive(folder, *args, **options)
        async with archive.server.listen("127.0.0.1", 0) as listening:
            yield archive, listening.port

    return serve


async def test_echoscu(serving: Serving) -> None:
    async with serving() as (_, port):
        talk = await dcmtk.echoscu(port, "--repeat", "3", called=TITLE, code=0)
        assert talk.statuses == [0x0000]
        refused = await dcmtk.echoscu(port, called="SOMEBODY", code=1)
        assert "Called AE Title Not Recognized" in str(refused)


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=str)
async def test_storescu(serving: Serving, sample: samples.Sample) -> None:
    async with serving() as (archive, port):
        talk = await dcmtk.storescu(port, [sample.path], sample.dcmtk, called=TITLE, calling="SENDER", code=0)
        assert talk.statuses == [0x0000]
        (request,) = archive.requests
        assert (request.sop_class_uid, request.sop_instance_uid) == (sample.sop_class, sample.instance)
        assert request.context.transfer_syntax == sample.transfer_syntax
        assert request.association.calling_ae_title == "SENDER"
        (path,) = archive.stored()
        assert samples.content(path) == samples.content(sample.path)


@pytest.mark.parametrize("model", ["-P", "-S", "-O", "-W"])
async def test_findscu(serving: Serving, tmp_path: Path, model: str) -> None:
    async with serving(EVERYTHING) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientID": ""}
        found = await dcmtk.findscu(port, model, keys, tmp_path / "found", called=TITLE, code=0)
        assert found.statuses == [0xFF00] * len(EVERYTHING) + [0x0000]
        assert {ds.StudyInstanceUID for ds in found.datasets()} == {s.study for s in samples.JOURNEY}


@pytest.mark.parametrize("option", ["-xi", "-xe", "-xb", "-xd"])
async def test_findscu_in_every_transfer_syntax(serving: Serving, tmp_path: Path, option: str) -> None:
    """Explicit Big Endian is not taken for identifiers by default; findscu proposes the others beside it."""
    async with serving(EVERYTHING) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.CT.study, "PatientName": ""}
        found = await dcmtk.findscu(port, "-S", keys, tmp_path / "found", option, called=TITLE, code=0)
        assert [str(ds.PatientName) for ds in found.datasets()] == [str(samples.CT.header.PatientName)]


async def test_findscu_cancels(serving: Serving, tmp_path: Path) -> None:
    async with serving(EVERYTHING * 50) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        found = await dcmtk.findscu(port, "-S", keys, tmp_path / "found", "--cancel", "2", called=TITLE)
        assert found.final.status == 0xFE00, found
        assert len(found.statuses) < len(EVERYTHING) * 50


@pytest.mark.parametrize("model", ["-P", "-S", "-O"])
async def test_getscu(serving: Serving, tmp_path: Path, model: str) -> None:
    """getscu +B writes what comes; in the stored transfer syntax it is what is in the file, byte for byte."""
    plain = (samples.CT, samples.MR, samples.SR)
    async with serving([sample.path for sample in plain]) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        got = await dcmtk.getscu(port, model, keys, tmp_path / "got", called=TITLE, code=0)
        assert (got.final.status, got.final.completed, got.final.failed, got.final.warning) == (0x0000, 3, 0, 0)
        assert [r.remaining for r in got.responses] == [2, 1, None]
        by_instance = {path.name: samples.data_set_bytes(path) for path in got.files}
        assert by_instance == {sample.instance: sample.data for sample in plain}


@pytest.mark.parametrize(
    ("sample", "option"),
    [
        (samples.MR_BIG_ENDIAN, "+xb"),
        (samples.DEFLATED, "+xd"),
        (samples.JPEG, "+xy"),
        (samples.JPEG_LOSSLESS, "+xs"),
        (samples.JPEG_2000, "+xw"),
        (samples.JPEG_2000_LOSSLESS, "+xv"),
        (samples.RLE, "+xr"),
    ],
    ids=str,
)
async def test_getscu_prefers_a_transfer_syntax(
    serving: Serving, tmp_path: Path, sample: samples.Sample, option: str
) -> None:
    async with serving([sample.path]) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": sample.study}
        got = await dcmtk.getscu(port, "-S", keys, tmp_path / "got", option, called=TITLE, code=0)
        assert (got.final.status, got.final.completed) == (0x0000, 1), got
        (path,) = got.files
        assert samples.data_set_bytes(path) in (sample.data, sample.data + b"\0")


async def test_getscu_is_sent_what_it_takes(serving: Serving, tmp_path: Path) -> None:
    """getscu 3.6.7 proposes Explicit Little Endian alone when it is told +xi: what is stored implicit is re-encoded."""
    async with serving([samples.MR_IMPLICIT.path]) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        got = await dcmtk.getscu(port, "-S", keys, tmp_path / "got", "+xi", called=TITLE, code=0)
        assert (got.final.status, got.final.completed) == (0x0000, 1)
        assert samples.content(got.files[0]) == samples.content(samples.MR_IMPLICIT.path)


async def test_getscu_that_takes_no_jpeg_2000_gets_it_decompressed(serving: Serving, tmp_path: Path) -> None:
    async with serving([samples.CT.path, samples.JPEG_2000.path]) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        got = await dcmtk.getscu(port, "-S", keys, tmp_path / "got", called=TITLE)
        assert (got.final.status, got.final.completed, got.final.failed) == (0x0000, 2, 0)
        samples.check_pixels(got.files, (samples.CT, samples.JPEG_2000))


async def test_getscu_that_takes_no_jpeg_2000_is_told_what_failed(serving: Serving, tmp_path: Path) -> None:
    async with serving([samples.CT.path, samples.JPEG_2000.path], transcode=False) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        got = await dcmtk.getscu(port, "-S", keys, tmp_path / "got", called=TITLE)
        assert (got.final.status, got.final.completed, got.final.failed) == (0xB000, 1, 1)
        assert got.final.has_data_set
        assert [path.name for path in got.files] == [samples.CT.instance]


async def test_movescu_to_storescp(serving: Serving, storescp: Callable[..., StoreSCP]) -> None:
    target = storescp("+xa", title="DEST")
    async with serving(EVERYTHING, {"DEST": target.port}) as (archive, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        talk = await dcmtk.movescu(port, "-S", keys, "DEST", called=TITLE, calling="MOVER", code=0)
        final = talk.final
        assert (final.status, final.completed, final.failed, final.warning) == (0x0000, len(EVERYTHING), 0, 0), talk
        assert archive.requests[0].move_destination == "DEST"
    samples.check_arrived(target.files(), samples.JOURNEY)


async def test_movescu_to_a_storescp_that_takes_no_compression(
    serving: Serving, storescp: Callable[..., StoreSCP]
) -> None:
    target = storescp(title="DEST")
    sent = (samples.CT, samples.JPEG_2000, samples.JPEG, samples.RLE)
    async with serving([sample.path for sample in sent], {"DEST": target.port}) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        talk = await dcmtk.movescu(port, "-S", keys, "DEST", called=TITLE)
        assert (talk.final.status, talk.final.completed, talk.final.failed) == (0x0000, len(sent), 0)
    samples.check_pixels(target.files(), sent)


async def test_movescu_to_a_storescp_that_takes_no_jpeg_2000(
    serving: Serving, storescp: Callable[..., StoreSCP]
) -> None:
    target = storescp(title="DEST")
    async with serving([samples.JPEG_2000.path], {"DEST": target.port}, transcode=False) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        talk = await dcmtk.movescu(port, "-S", keys, "DEST", called=TITLE)
        assert (talk.final.status, talk.final.completed, talk.final.failed) == (0xA702, 0, 1)
        assert talk.final.has_data_set
    assert target.files() == []


async def test_movescu_to_an_unknown_destination(serving: Serving) -> None:
    async with serving(EVERYTHING, {}) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        talk = await dcmtk.movescu(port, "-S", keys, "NOBODY", called=TITLE)
        assert talk.statuses == [0xA801]


async def test_movescu_to_a_destination_where_nobody_listens(serving: Serving, move_target_port: int) -> None:
    async with serving(EVERYTHING, {"DEST": move_target_port}) as (_, port):
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        talk = await dcmtk.movescu(port, "-S", keys, "DEST", called=TITLE)
        final = talk.final
        assert (final.status, final.completed, final.failed) == (0xA702, 0, len(EVERYTHING))


async def test_storescu_that_aborts_leaves_the_server_well(serving: Serving) -> None:
    async with serving() as (_, port):
        await dcmtk.storescu(port, [samples.CT.path], "--abort", called=TITLE)
        assert (await dcmtk.echoscu(port, called=TITLE, code=0)).final.status == 0x0000
