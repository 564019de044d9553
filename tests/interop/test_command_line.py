"""The user commands of `python -m aiodimse` against strangers: exit status, --json, one-line errors, --trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from interop import samples, wireshark
from interop.dcmtk import DcmQRSCP, StoreSCP
from interop.orthanc import Orthanc
from interop.ours import HOST, aiodimse_command
from interop.programs import run
from ports import free_port
from pydicom.uid import JPEGLSLossless

import aiodimse


async def test_echo(filled_dcmqrscp: DcmQRSCP) -> None:
    scp = filled_dcmqrscp
    (await run(*aiodimse_command("echo", HOST, str(scp.port), "--called", scp.title))).check(0)
    refused = await run(*aiodimse_command("echo", HOST, str(scp.port), "--called", "NOBODY"))
    assert refused.code != 0
    assert len(refused.output.strip().splitlines()) == 1, refused
    assert "1/1/7" in refused.output


async def test_nobody_there_is_one_line() -> None:
    failed = await run(*aiodimse_command("echo", HOST, str(free_port())))
    assert failed.code != 0
    assert len(failed.output.strip().splitlines()) == 1, failed
    assert "Traceback" not in failed.output


async def test_store(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp("+xa")
    paths = [sample.path for sample in samples.JOURNEY]
    (await run(*aiodimse_command("store", HOST, str(scp.port), *paths))).check(0)
    assert len(scp.files()) == len(paths)


async def test_store_of_what_is_not_dicom_says_so(storescp: Callable[..., StoreSCP], tmp_path: Path) -> None:
    scp = storescp()
    (tmp_path / "notes.txt").write_text("hello", encoding="ascii")
    failed = await run(*aiodimse_command("store", HOST, str(scp.port), tmp_path / "notes.txt"))
    assert failed.code != 0
    assert "notes.txt" in failed.output
    assert "Traceback" not in failed.output


async def test_store_decompresses_for_a_peer_that_takes_no_compression(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp()
    sent = (samples.CT, samples.JPEG_2000)
    (await run(*aiodimse_command("store", HOST, str(scp.port), *(sample.path for sample in sent)))).check(0)
    samples.check_pixels(scp.files(), sent)


async def test_store_compresses_for_a_peer_that_takes_nothing_else(tmp_path: Path) -> None:
    server, arrived = aiodimse.Server(ae_title="LOSSLESS"), []

    @server.on_c_store(transfer_syntaxes=[JPEGLSLossless])
    async def store(request: aiodimse.StoreRequest) -> int:
        arrived.append(await request.save(tmp_path))
        return 0x0000

    sent = (samples.CT, samples.JPEG_2000)
    async with server.listen(HOST, 0) as listening:
        words = ("store", HOST, str(listening.port), "--called", "LOSSLESS", *(sample.path for sample in sent))
        (await run(*aiodimse_command(*words))).check(0)
    samples.check_pixels(arrived, sent, {JPEGLSLossless})


async def test_store_that_a_peer_does_not_take_fails(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp()
    paths = [samples.CT.path, samples.JPEG_2000.path]
    failed = await run(*aiodimse_command("store", HOST, str(scp.port), "--no-transcode", *paths))
    assert failed.code != 0
    assert len(scp.files()) == 1


@pytest.mark.parametrize("model", ["patient", "study"])
async def test_find_as_json(orthanc: Orthanc, model: str) -> None:
    words = ["find", HOST, str(orthanc.port), "--called", orthanc.title, "--model", model, "--level", "STUDY"]
    words += ["-k", f"PatientID={samples.CT.header.PatientID}", "-k", "StudyInstanceUID=", "--json"]
    found = (await run(*aiodimse_command(*words), merge=False)).check(0)
    assert samples.CT.study in found.output
    json.loads(found.output)


async def test_get(orthanc: Orthanc, tmp_path: Path) -> None:
    words = ["get", HOST, str(orthanc.port), "--called", orthanc.title, "--level", "STUDY"]
    words += ["-k", f"StudyInstanceUID={samples.CT.study}", "--output", str(tmp_path)]
    (await run(*aiodimse_command(*words))).check(0)
    (path,) = tmp_path.rglob("*.dcm")
    assert samples.content(path) == samples.content(samples.CT.path)


async def test_move(dcmqrscp: Callable[..., DcmQRSCP], storescp: Callable[..., StoreSCP]) -> None:
    target = storescp(title="DEST")
    archive = dcmqrscp(destinations={"DEST": target.port})
    called = ["--called", archive.title]
    (await run(*aiodimse_command("store", HOST, str(archive.port), samples.CT.path, *called))).check(0)
    words = ["move", HOST, str(archive.port), *called, "--level", "STUDY"]
    words += ["-k", f"StudyInstanceUID={samples.CT.study}", "--destination"]
    (await run(*aiodimse_command(*words, "DEST"))).check(0)
    assert len(target.files()) == 1
    unknown = await run(*aiodimse_command(*words, "NOBODY"))
    assert unknown.code != 0
    assert "A801" in unknown.output.upper()


async def test_a_trace_is_a_conversation(storescp: Callable[..., StoreSCP], tmp_path: Path) -> None:
    """--trace has the form of the captures; with --trace-data tshark reads all of it."""
    scp = storescp()
    trace = tmp_path / "trace.dul"
    words = ["store", HOST, str(scp.port), samples.CT.path, "--trace", trace]
    (await run(*aiodimse_command(*words, "--trace-data"))).check(0)
    conversation = wireshark.read_dul(trace)
    judged = await wireshark.judge(conversation, tmp_path)
    assert judged.pdus == [data[0] for _, data in conversation]
    assert judged.malformed == []
    assert samples.CT.data[2000:2100] in b"".join(data for _, data in conversation)
    (await run(*aiodimse_command(*words))).check(0)
    assert samples.CT.data[2000:2100] not in b"".join(data for _, data in wireshark.read_dul(trace))
