"""examples/inference: a report for each series, whatever happens to the service, its model and the archive."""

from __future__ import annotations

import asyncio
import multiprocessing
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from examples.readme import EXAMPLES, changed, commands, ended, started
from examples.test_examples_research_pull import keeper  # noqa: F401
from interop.dcmtk import DcmQRSCP, storescu
from interop.orthanc import Orthanc
from interop.programs import Keeper
from ports import free_port
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import aiodimse
from aiodimse import sop_class

pytest.importorskip("highdicom", reason="has no wheels for this Python")
from inference.config import Config
from inference.service import Service

HOST = "127.0.0.1"
CT, SR = sop_class.CTImageStorage, sop_class.ComprehensiveSRStorage


def series(count: int) -> list[Dataset]:
    """Images of one series."""
    found = []
    study, uid = generate_uid(), generate_uid()
    for number in range(count):
        dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.InstanceNumber = study, uid, number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        found.append(dataset)
    return found


class Archive:
    """Takes reports when its gate is open, and refuses as often as it is told."""

    def __init__(self) -> None:
        self.server = aiodimse.Server(ae_title="ARCHIVE")
        self.reports: asyncio.Queue[Dataset] = asyncio.Queue()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.refusals, self.status = 0, 0xA700
        self.gate.set()

        @self.server.on_c_store(SR)
        async def store(request: aiodimse.StoreRequest) -> int:
            report = await request.dataset()
            self.asked.set()
            await self.gate.wait()
            if self.refusals:
                self.refusals -= 1
                return self.status
            self.reports.put_nowait(report)
            return 0x0000


@asynccontextmanager
async def serving(archive: Archive, folder: Path, **more: Any) -> AsyncIterator[tuple[Service, int]]:
    async with archive.server.listen(HOST, 0) as listening:
        options = {"quiet": 600.0, "quiet_after_end": 0.2, "pause": 0.01, "processes": 1, "port": 0, **more}
        config = Config(
            archive_host=HOST,
            archive_port=listening.port,
            archive_ae_title="ARCHIVE",
            spool=str(folder / "spool"),
            host=HOST,
            **options,
        )
        service = Service(config)
        async with service.running():
            yield service, service.port


async def send(port: int, *images: Dataset) -> list[int]:
    async with aiodimse.connect(HOST, port, called_ae_title="AI", contexts=[CT]) as association:
        return [(await association.c_store(image)).status for image in images]


def referenced(report: Dataset) -> set[str]:
    """The images that a report is about."""
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (one,) = study.ReferencedSeriesSequence
    return {item.ReferencedSOPInstanceUID for item in one.ReferencedSOPSequence}


def uids(images: list[Dataset]) -> set[str]:
    return {image.SOPInstanceUID for image in images}


def measured(report: Dataset) -> float:
    """The numeric value in the tree of a report."""
    left = [report]
    while left:
        item = left.pop()
        if item.get("ValueType") == "NUM":
            return float(item.MeasuredValueSequence[0].NumericValue)
        left += item.get("ContentSequence") or ()
    raise AssertionError("no measurement")


async def test_a_report_for_each_series(tmp_path: Path) -> None:
    archive, one, two = Archive(), series(3), series(1)
    async with serving(archive, tmp_path) as (service, port):
        assert (service.is_alive, service.is_ready) == (True, True)
        assert await send(port, *one, *two) == [0] * 4
        reports = [await archive.reports.get() for _ in range(2)]
    by_study = {report.StudyInstanceUID: report for report in reports}
    assert by_study.keys() == {one[0].StudyInstanceUID, two[0].StudyInstanceUID}
    report = by_study[one[0].StudyInstanceUID]
    assert (report.SOPClassUID, report.Modality, report.CompletionFlag) == (SR, "SR", "COMPLETE")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.PatientID, referenced(report)) == ("1CT1", uids(one))
    image = one[0]
    mean = image.pixel_array.mean() * image.RescaleSlope + image.RescaleIntercept
    assert measured(report) == pytest.approx(mean, abs=0.01)


async def test_a_late_image_makes_a_new_report_of_all(tmp_path: Path) -> None:
    archive, images = Archive(), series(3)
    async with serving(archive, tmp_path) as (_, port):
        await send(port, *images[:2])
        first = await archive.reports.get()
        await send(port, images[2])
        second = await archive.reports.get()
    assert (referenced(first), referenced(second)) == (uids(images[:2]), uids(images))
    assert first.SOPInstanceUID != second.SOPInstanceUID


async def test_an_archive_that_refuses_gets_the_report_later(tmp_path: Path) -> None:
    archive = Archive()
    archive.refusals = 3
    async with serving(archive, tmp_path) as (_, port):
        await send(port, *series(1))
        await archive.reports.get()
    assert archive.refusals == 0


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0122])
async def test_a_report_that_is_refused_for_good_costs_its_own_series(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again at the next start; those behind it do not wait for it."""
    archive, one, two = Archive(), series(1), series(1)
    archive.refusals, archive.status = 1, status
    async with serving(archive, tmp_path) as (service, port):
        await send(port, *one)
        await archive.asked.wait()
        await send(port, *two)
        assert referenced(await archive.reports.get()) == uids(two)
        assert service.is_alive
    assert f"the archive refuses a report: status 0x{status:04X}" in caplog.text
    async with serving(archive, tmp_path):
        assert referenced(await archive.reports.get()) == uids(one)


async def test_what_was_not_complete_is_reported_after_the_next_start(tmp_path: Path) -> None:
    archive, images = Archive(), series(2)
    async with serving(archive, tmp_path, quiet_after_end=600.0) as (_, port):
        await send(port, *images)
    assert archive.reports.empty()
    async with serving(archive, tmp_path):
        assert referenced(await archive.reports.get()) == uids(images)
    async with serving(archive, tmp_path) as (service, _):
        assert service._series.waiting == 0  # it is reported, and not once more


async def test_stopping_ends_what_is_at_work(tmp_path: Path) -> None:
    archive, images = Archive(), series(1)
    archive.gate.clear()
    async with serving(archive, tmp_path) as (service, port):
        await send(port, *images)
        await archive.asked.wait()
        asyncio.get_running_loop().call_later(0.1, archive.gate.set)
    assert not service.is_ready
    assert archive.reports.qsize() == 1
    async with serving(archive, tmp_path) as (service, _):
        assert service._series.waiting == 0


async def test_what_takes_too_long_is_left_for_the_next_start(tmp_path: Path) -> None:
    archive, images = Archive(), series(1)
    archive.gate.clear()
    async with serving(archive, tmp_path, drain=0.05) as (_, port):
        await send(port, *images)
        await archive.asked.wait()
    archive.gate.set()
    async with serving(archive, tmp_path):
        assert referenced(await archive.reports.get()) == uids(images)


async def test_a_model_that_fails_costs_its_own_series(tmp_path: Path) -> None:
    archive, bad, good = Archive(), series(1), series(1)
    del bad[0].RescaleSlope
    async with serving(archive, tmp_path) as (service, port):
        await send(port, *bad)
        await send(port, *good)
        assert referenced(await archive.reports.get()) == uids(good)
        assert service.is_alive
    async with serving(archive, tmp_path, quiet_after_end=600.0) as (service, _):
        assert service._series.waiting == 1  # it is tried again


async def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    archive = Archive()
    async with serving(archive, tmp_path) as (_, port):
        for images in (series(1), series(1)):
            await send(port, *images)
            assert referenced(await archive.reports.get()) == uids(images)
            for process in multiprocessing.active_children():
                process.kill()
                await asyncio.to_thread(process.join)


async def test_more_than_it_can_take_is_refused(tmp_path: Path) -> None:
    archive = Archive()
    async with serving(archive, tmp_path, most_waiting=1, quiet_after_end=600.0) as (service, port):
        assert await send(port, *series(1)) == [0x0000]
        assert not service.is_ready
        assert await send(port, *series(1)) == [0xA700]


async def test_an_image_without_a_series_is_refused(tmp_path: Path) -> None:
    image = series(1)[0]
    del image.SeriesInstanceUID
    async with serving(Archive(), tmp_path) as (_, port):
        assert await send(port, image) == [0xC000]
    assert not list((tmp_path / "spool").glob("*.dcm"))


async def test_reported_images_are_removed_when_their_time_is_over(tmp_path: Path) -> None:
    archive = Archive()
    async with serving(archive, tmp_path, keep_hours=0.0) as (_, port):
        await send(port, *series(2))
        await archive.reports.get()
    assert not list((tmp_path / "spool").glob("*.dcm"))


# --- the program ------------------------------------------------------------------------------------------------------


def configured(folder: Path, archive_port: int, title: str = "ARCHIVE", quiet_after_end: float = 0.2) -> dict[str, Any]:
    """Write inference.toml for these ports. Returns what the commands of the README say, and what instead."""
    instead = {"11112": archive_port, "11113": free_port(), "8080": free_port()}
    text = (EXAMPLES / "inference" / "inference.toml").read_text(encoding="utf-8")
    more = {'"ARCHIVE"': f'"{title}"', "quiet_after_end = 5.0": f"quiet_after_end = {quiet_after_end}"}
    path = folder / "inference.toml"
    path.write_text(changed(text, {**instead, **more, "pause = 5.0": "pause = 0.1"}), encoding="utf-8")
    return {**instead, "inference/inference.toml": path}


async def said(process: asyncio.subprocess.Process, words: str) -> None:
    """Wait until the process says so."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while words not in (line := (await process.stdout.readline()).decode()):
            assert line, "it has ended"


class Collector:
    """What OpenTelemetry exports to: an HTTP server that counts."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            path = head.split(b" ")[1].decode()
            self.bodies[path] = self.bodies.get(path, b"") + await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            return


async def test_killed_it_reports_what_it_has_acknowledged(tmp_path: Path) -> None:
    archive, images = Archive(), series(2)
    archive.gate.clear()
    async with archive.server.listen(HOST, 0) as listening:
        instead = configured(tmp_path, listening.port)
        command = changed("python -m inference inference/inference.toml", instead)
        async with started(command, tmp_path) as process:
            await said(process, "running on")
            assert await send(instead["11113"], *images) == [0, 0]
            await archive.asked.wait()
            process.kill()
            await process.wait()
        assert archive.reports.empty()
        archive.gate.set()
        async with started(command, tmp_path):
            report = await archive.reports.get()
            if not archive.reports.empty():  # the one that was on its way when it was killed: the same instance
                assert archive.reports.get_nowait().SOPInstanceUID == report.SOPInstanceUID
    assert referenced(report) == uids(images)


async def test_sigterm_drains_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, collector, images = Archive(), Collector(), series(1)
    archive.gate.clear()
    async with archive.server.listen(HOST, 0) as listening, await asyncio.start_server(collector.serve, HOST, 0) as web:
        port = web.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        instead = configured(tmp_path, listening.port)
        async with started(changed("python -m inference inference/inference.toml", instead), tmp_path) as process:
            await said(process, "running on")
            await send(instead["11113"], *images)
            await archive.asked.wait()
            process.terminate()
            await said(process, "Waiting for application shutdown")
            archive.gate.set()
            await process.communicate()
            assert process.returncode in (0, -15)
    assert referenced(await archive.reports.get()) == uids(images)
    assert b"dicom.operation.duration" in collector.bodies["/v1/metrics"]
    assert b"inference.series" in collector.bodies["/v1/metrics"]
    assert b"model" in collector.bodies["/v1/traces"]
    exported = b"".join(collector.bodies.values())
    for secret in (images[0].PatientID, images[0].SeriesInstanceUID, images[0].SOPInstanceUID):
        assert secret.encode() not in exported


@pytest.mark.interop
@pytest.mark.parametrize("kind", [DcmQRSCP, Orthanc])
async def test_strangers(kind: type[DcmQRSCP] | type[Orthanc], keeper: Keeper, tmp_path: Path) -> None:  # noqa: F811
    """storescu sends images; dcmqrscp and Orthanc keep the report."""
    archive, images, source = keeper.start(kind), series(2), tmp_path / "source"
    source.mkdir()
    for image in images:
        image.save_as(source / f"{image.SOPInstanceUID}.dcm")
    config = Config(
        archive_host=HOST,
        archive_port=archive.port,
        archive_ae_title=archive.title,
        spool=str(tmp_path / "spool"),
        host=HOST,
        port=0,
        quiet_after_end=0.2,
    )
    service = Service(config)
    find = sop_class.StudyRootQueryRetrieveInformationModelFind
    keys = aiodimse.identifier(
        "SERIES", StudyInstanceUID=images[0].StudyInstanceUID, Modality="SR", SeriesInstanceUID=""
    )
    async with (
        service.running(),
        aiodimse.connect(HOST, archive.port, called_ae_title=archive.title, contexts=[find]) as association,
        asyncio.timeout(60),
    ):
        await storescu(service.port, sorted(source.iterdir()), called="AI", code=0)
        while not (found := await association.c_find(keys).collect()):
            pass
    assert len(found) == 1


async def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "my_images").mkdir()
    for number, image in enumerate(series(2)):
        image.save_as(tmp_path / "my_images" / f"{number}.dcm")
    instead = configured(tmp_path, free_port())
    _, _, _, make, serve, run, ready, store, find = (changed(line, instead) for line in commands("inference"))
    assert (await ended(make, tmp_path))[0] == 0
    async with started(serve, tmp_path) as archive, started(run, tmp_path) as process:
        assert archive.stdout is not None
        await archive.stdout.readline()
        await said(process, "running on")
        page = await asyncio.to_thread(urllib.request.urlopen, ready.removeprefix("curl "))
        with page:
            assert page.read() == b"ready"
        assert (await ended(store, tmp_path))[0] == 0
        for _ in range(100):
            code, out = await ended(find, tmp_path)
            if "1 match" in out:
                break
    assert (code, "mean attenuation" in out) == (0, True), out
