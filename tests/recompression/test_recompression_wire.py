"""Compressed instances to peers that take no compression, or another one: by c_store, in C-GET and in C-MOVE."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from recompression.material import FILES, compressed_files, is_equal, pixels, pixels_of

import aiodimse
from aiodimse import datasets, sop_class, testing
from aiodimse.association import propose, settle
from aiodimse.datasets.pixels import processes, syntaxes
from aiodimse.pdu import AssociateAC
from aiodimse.services import contexts
from aiodimse.standard.transfer_syntax import (
    DEFAULT_PROPOSED,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
FRAMES, RLE = FILES / "SC_rgb_rle_2frame.dcm", FILES / "MR_small_RLE.dcm"
MR, SC = sop_class.MRImageStorage, sop_class.SecondaryCaptureImageStorage


class Taking:
    """A provider that takes these transfer syntaxes and no other, and what it was sent."""

    def __init__(self, *taken: str, **options: Any) -> None:
        self.server = aiodimse.Server(ae_title="DEST", **options)
        self.sent: dict[str, tuple[str, bytes]] = {}

        @self.server.on_c_store(transfer_syntaxes=taken or DEFAULT_PROPOSED)
        async def store(request: aiodimse.StoreRequest) -> int:
            data = b"".join([bytes(piece) async for piece in request.stream()])
            self.sent[request.sop_instance_uid] = request.context.transfer_syntax, data
            return 0x0000

    def check(self, path: Path) -> Dataset:
        """What came of this file has its pixels."""
        transfer_syntax, data = self.sent[datasets.read_head(path).sop_instance_uid]
        dataset, found = pixels_of(data, transfer_syntax)
        assert (wanted := pixels(path)) is None or is_equal(found, wanted)
        return dataset


def holding(paths: list[Path], destination: aiodimse.Destination | None = None, **options: Any) -> aiodimse.Server:
    """A provider of C-GET and C-MOVE of these files."""
    server = aiodimse.Server(ae_title="ARCHIVE", **options)

    @server.on_c_get(GET)
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield len(paths)
        for path in paths:
            yield 0xFF00, path

    @server.on_c_move(MOVE)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        yield destination
        yield len(paths)
        for path in paths:
            yield 0xFF00, path

    return server


def distinct() -> list[Path]:
    """The compressed files, of each instance one."""
    return list({datasets.read_head(path).sop_instance_uid: path for path in compressed_files()}.values())


async def test_every_compressed_file_by_c_store() -> None:
    taking = Taking()
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for(compressed_files())) as association:
        for path in compressed_files():
            assert association.can_store(path)
            assert (await association.c_store(path)).status == 0x0000
            taking.check(path)


async def test_every_compressed_file_by_c_get() -> None:
    files = distinct()
    wanted = {datasets.read_head(path).sop_class_uid for path in files}
    got: dict[str, bytes] = {}
    async with (
        testing.joined(holding(files), contexts=[GET], storage=wanted) as association,
        association.c_get(Dataset(), GET) as retrieval,
    ):
        async for instance in retrieval:
            assert instance.transfer_syntax in DEFAULT_PROPOSED
            got[instance.sop_instance_uid] = b"".join([bytes(piece) async for piece in instance.stream()])
    assert len(got) == len(files)
    for path in files:
        found = pixels_of(got[datasets.read_head(path).sop_instance_uid], ExplicitVRLittleEndian)[1]
        assert (before := pixels(path)) is None or is_equal(found, before)


@pytest.mark.parametrize("taken", [DEFAULT_PROPOSED, (ImplicitVRLittleEndian,)], ids=["both", "implicit"])
async def test_every_compressed_file_by_c_move(taken: tuple[str, ...]) -> None:
    network, files, taking = testing.MemoryNetwork(), distinct(), Taking(*taken)
    server = holding(files, aiodimse.Destination("dest", 104), environment=aiodimse.Environment(network=network))
    async with (
        taking.server.listen("dest", 104, network=network),
        testing.joined(server, contexts=[MOVE], network=network) as association,
    ):
        response = await association.c_move(Dataset(), MOVE, destination="DEST")
    assert response.status == 0x0000
    assert len(taking.sent) == len(files)
    for path in files:
        taking.check(path)


@pytest.mark.parametrize("taken", [JPEGLSLossless, JPEG2000Lossless], ids=lambda row: row.keyword)
@pytest.mark.parametrize("path", [RLE, FILES / "MR_small.dcm", FILES / "MR_small_bigendian.dcm"], ids=lambda x: x.stem)
async def test_to_a_peer_that_takes_one_compression(path: Path, taken: str) -> None:
    taking = Taking(taken)
    proposed = [aiodimse.PresentationContext(MR, (taken,)), aiodimse.PresentationContext(MR)]
    async with testing.joined(taking.server, contexts=proposed) as association:
        assert (await association.c_store(path)).status == 0x0000
    assert taking.check(path).PhotometricInterpretation == "MONOCHROME2"
    assert [syntax for syntax, _ in taking.sent.values()] == [taken]


@pytest.mark.parametrize("taken", [JPEGLSLossless, JPEG2000Lossless, RLELossless], ids=lambda row: row.keyword)
async def test_a_destination_that_takes_one_compression(taken: str) -> None:
    """Uncompressed and compressed ones, of two SOP classes: each is proposed in what it may go in."""
    network, taking = testing.MemoryNetwork(), Taking(taken)
    files = [RLE, FILES / "CT_small.dcm", FRAMES, FILES / "SC_rgb_jpeg_dcmtk.dcm"]
    server = holding(files, aiodimse.Destination("dest", 104), environment=aiodimse.Environment(network=network))
    async with (
        taking.server.listen("dest", 104, network=network),
        testing.joined(server, contexts=[MOVE], network=network) as association,
    ):
        response = await association.c_move(Dataset(), MOVE, destination="DEST")
    assert response.status == 0x0000
    for path in files:
        taking.check(path)
    assert {syntax for syntax, _ in taking.sent.values()} == {taken}


async def test_a_pool_to_a_peer_that_takes_one_compression() -> None:
    network, taking = testing.MemoryNetwork(), Taking(JPEG2000Lossless)
    environment = aiodimse.Environment(network=network)
    options: dict[str, Any] = {"called_ae_title": "DEST", "environment": environment}
    async with taking.server.listen("dest", 104, network=network):
        async with aiodimse.Pool("dest", 104, contexts=[SC], **options) as pool:
            results = [result async for result in pool.c_store_many([RLE, FRAMES, FILES / "CT_small.dcm"])]
        async with aiodimse.Pool("dest", 104, contexts=[SC], transcode=False, **options) as pool:
            with pytest.raises(aiodimse.NoAcceptedContext):
                await pool.c_store(RLE)
    assert [result.error for result in results] == [None, None, None]
    taking.check(RLE)
    assert {syntax for syntax, _ in taking.sent.values()} == {JPEG2000Lossless}


def test_a_context_that_was_asked_for_is_not_one_among_others() -> None:
    lossless = aiodimse.PresentationContext(MR, (JPEGLSLossless, JPEG2000Lossless))
    both = aiodimse.PresentationContext(MR, DEFAULT_PROPOSED)
    rq = propose([lossless, both], ae_title="A", called_ae_title="B", limits=aiodimse.Limits())
    negotiated = settle(rq, AssociateAC("B", "A", (), rq.user_information), "requestor")
    assert contexts.is_proposed(negotiated, lossless)
    assert contexts.is_proposed(negotiated, aiodimse.PresentationContext(MR, (ImplicitVRLittleEndian,)))
    assert not contexts.is_proposed(negotiated, aiodimse.PresentationContext(MR, (JPEGLSLossless,)))
    assert not contexts.is_proposed(negotiated, aiodimse.PresentationContext(SC))


async def test_no_codec_where_none_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An uncompressed instance goes uncompressed where the peer takes that, whatever comes first."""
    monkeypatch.setattr(datasets.processes, "convert", None)
    taking = Taking(JPEGLSLossless, ImplicitVRLittleEndian)
    proposed = [aiodimse.PresentationContext(MR, (JPEGLSLossless,)), aiodimse.PresentationContext(MR)]
    async with testing.joined(taking.server, contexts=proposed) as association:
        assert (await association.c_store(FILES / "MR_small.dcm")).status == 0x0000
    assert [syntax for syntax, _ in taking.sent.values()] == [ImplicitVRLittleEndian]


async def test_uncompressed_before_another_compression() -> None:
    taking = Taking(JPEGLSLossless, ExplicitVRLittleEndian)
    proposed = [aiodimse.PresentationContext(MR, (JPEGLSLossless,)), aiodimse.PresentationContext(MR)]
    async with testing.joined(taking.server, contexts=proposed) as association:
        assert (await association.c_store(RLE)).status == 0x0000
    assert [syntax for syntax, _ in taking.sent.values()] == [ExplicitVRLittleEndian]


@pytest.mark.parametrize("source", ["path", "dataset", "stream", "instance"])
async def test_whatever_it_comes_from(source: str) -> None:
    taking = Taking()

    async def chunks() -> AsyncIterator[bytes]:
        data = FRAMES.read_bytes()
        for at in range(0, len(data), 1000):
            yield data[at : at + 1000]

    instance: Any = FRAMES
    if source == "dataset":
        instance = pydicom.dcmread(FRAMES)
    elif source == "stream":
        instance = await aiodimse.Instance.from_part10(chunks())
    elif source == "instance":
        instance = await aiodimse.Instance.open(FRAMES)
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([FRAMES])) as association:
        assert (await association.c_store(instance)).status == 0x0000
    assert taking.check(FRAMES).NumberOfFrames == 2


async def test_a_request_is_forwarded_decompressed() -> None:
    network, taking, router = testing.MemoryNetwork(), Taking(), aiodimse.Server(ae_title="ROUTER")

    @router.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        return (await onward.c_store(request)).status

    proposed = aiodimse.contexts_for([RLE])
    async with (
        testing.joined(taking.server, contexts=proposed, network=network) as onward,
        testing.joined(router, contexts=proposed) as association,
    ):
        assert (await association.c_store(RLE)).status == 0x0000
    taking.check(RLE)


async def test_by_a_pool() -> None:
    network, taking = testing.MemoryNetwork(), Taking()
    environment = aiodimse.Environment(network=network)
    async with (
        taking.server.listen("dest", 104, network=network),
        aiodimse.Pool("dest", 104, contexts=[SC], called_ae_title="DEST", environment=environment) as pool,
    ):
        results = [result async for result in pool.c_store_many([RLE, FRAMES])]
        with pytest.raises(aiodimse.NoAcceptedContext):
            await pool.c_store(RLE, transcode=False)
    assert [result.error for result in results] == [None, None]
    taking.check(RLE)
    taking.check(FRAMES)


# --- turned off, or not there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["connect", "c_store"])
async def test_turned_off_for_a_user(where: str) -> None:
    taking = Taking()
    off = {"transcode": False}
    async with testing.joined(
        taking.server, contexts=aiodimse.contexts_for([RLE]), **(off if where == "connect" else {})
    ) as association:
        if where == "connect":
            assert not association.can_store(RLE)
        with pytest.raises(aiodimse.NoAcceptedContext) as refused:
            await association.c_store(RLE, **(off if where == "c_store" else {}))
        assert "install" not in str(refused.value)
        assert (await association.c_store(FILES / "MR_small.dcm")).status == 0x0000
        if where == "connect":
            assert (await association.c_store(RLE, transcode=True)).status == 0x0000


async def test_turned_off_for_a_server() -> None:
    async with testing.joined(holding([RLE], transcode=False), contexts=[GET]) as association:
        response = await association.c_get(Dataset(), GET)
    assert response.status == 0xA702
    assert response.failed_sop_instance_uids == (datasets.read_head(RLE).sop_instance_uid,)


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(contexts, "has_codecs", lambda: False)
    taking = Taking()
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([RLE])) as association:
        assert not association.can_store(RLE)
        with pytest.raises(aiodimse.NoAcceptedContext, match=r"aiodimse\[codecs\]"):
            await association.c_store(RLE)
    async with testing.joined(holding([RLE]), contexts=[GET]) as association:
        assert (await association.c_get(Dataset(), GET)).status == 0xA702
    assert "aiodimse[codecs]" in caplog.text


def test_the_extra_is_looked_for_and_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    syntaxes.has_codecs.cache_clear()
    monkeypatch.setattr(syntaxes, "find_spec", lambda name: None if name == "imagecodecs" else object())
    try:
        assert not syntaxes.has_codecs()
    finally:
        syntaxes.has_codecs.cache_clear()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def damaged(number: int) -> Dataset:
    """Two frames, of which this one cannot be decoded."""
    dataset = pydicom.dcmread(FRAMES)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=2))
    frames[number] = b"\0" * 64
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.mark.parametrize("number", [0, 1])
async def test_a_damaged_frame_costs_its_instance_alone(number: int) -> None:
    taking = Taking()
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([FRAMES, RLE])) as association:
        with pytest.raises(aiodimse.DatasetEncodeError):
            await association.c_store(damaged(number))
        assert (await association.c_store(RLE)).status == 0x0000
    assert len(taking.sent) == 1


async def test_a_damaged_instance_costs_one_sub_operation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    damaged(1).save_as(bad)
    async with testing.joined(holding([bad, RLE]), contexts=[GET]) as association:
        got = []
        async with association.c_get(Dataset(), GET, allow_incomplete=True) as retrieval:
            async for instance in retrieval:
                got.append(instance.sop_instance_uid)
                await instance.discard()
        response = await retrieval
    assert got == [datasets.read_head(RLE).sop_instance_uid]
    assert response.status == 0xB000
    assert response.failed_sop_instance_uids == (datasets.read_head(bad).sop_instance_uid,)


async def test_a_process_that_crashes_costs_its_instance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time: one whose process is killed in the middle, and one that is sent all the same."""
    send = processes._send
    crashed = []

    def crash(pipe: Any, words: Any, data: bytes) -> None:
        if words["format"]["rows"] == 100 and not crashed:
            crashed.append(words)
            words = {"crash": True}  # what the process does not understand ends it
        send(pipe, words, data)

    monkeypatch.setattr(processes, "_send", crash)
    taking = Taking()
    kinds = aiodimse.contexts_for([FRAMES, RLE])
    async with (
        testing.joined(taking.server, contexts=kinds) as one,
        testing.joined(taking.server, contexts=kinds) as other,
    ):
        first, second = await asyncio.gather(one.c_store(FRAMES), other.c_store(RLE), return_exceptions=True)
        assert isinstance(first, aiodimse.DatasetEncodeError)
        assert "crashed" in str(first)
        assert second.status == 0x0000
        assert (await one.c_store(FRAMES)).status == 0x0000  # in a new process
    taking.check(FRAMES)
    taking.check(RLE)


async def test_a_frame_that_takes_too_long_costs_its_instance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_send", lambda *_: None)  # the process has no work, and does not answer
    taking = Taking()
    late = aiodimse.Timeouts(transcode=0.01)
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([RLE]), timeouts=late) as association:
        with pytest.raises(aiodimse.DatasetEncodeError, match="took over"):
            await association.c_store(RLE)
        assert (await association.c_store(FILES / "MR_small.dcm")).status == 0x0000


class HeldCodec:
    """Frames are converted when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = asyncio.Event(), threading.Event()
        self._convert, self._loop = datasets.processes.convert, asyncio.get_running_loop()
        monkeypatch.setattr(datasets.processes, "convert", self)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go_on.wait(60)
        return self._convert(*args, **options)


@asynccontextmanager
async def storing_held(
    monkeypatch: pytest.MonkeyPatch, taking: Taking
) -> AsyncIterator[tuple[HeldCodec, aiodimse.Association, asyncio.Task[aiodimse.Response]]]:
    """A C-STORE whose frame is being converted."""
    codec = HeldCodec(monkeypatch)
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([RLE])) as association:
        storing = asyncio.create_task(association.c_store(RLE))
        await codec.begun.wait()
        yield codec, association, storing


async def test_a_cancelled_store_leaves_the_association(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking()
    async with storing_held(monkeypatch, taking) as (codec, association, storing):
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing
        codec.go_on.set()
        assert association.is_open
        assert association.open_operations == 0
        assert (await association.c_store(RLE)).status == 0x0000
    taking.check(RLE)


async def test_an_association_that_ends_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with storing_held(monkeypatch, Taking()) as (codec, association, storing):
        association.abort()
        with pytest.raises(aiodimse.AssociationAborted):
            await storing
        codec.go_on.set()


async def test_many_frames_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodimse.datasets.pixels.recompressing.HELD", 1000)
    taking = Taking(RLELossless)
    path = next(path for path in compressed_files() if path.name == "examples_ybr_color.dcm")
    kind = datasets.read_head(path).sop_class_uid
    proposed = [aiodimse.PresentationContext(kind, (RLELossless,))]
    async with testing.joined(taking.server, contexts=proposed) as association:
        assert (await association.c_store(path)).status == 0x0000
    assert taking.check(path).NumberOfFrames == 30


async def test_a_process_that_died_meanwhile_is_replaced() -> None:
    taking = Taking()
    async with testing.joined(taking.server, contexts=aiodimse.contexts_for([RLE])) as association:
        assert (await association.c_store(RLE)).status == 0x0000
        for process in list(datasets.processes._all):
            process._process.kill()
            process._process.wait()
        assert (await association.c_store(RLE)).status == 0x0000


FORKED = """
import os, signal, sys
from pathlib import Path
from aiodimse.config import Limits
from aiodimse.datasets import Recompression, processes, read_head

head = read_head(Path(sys.argv[1]))

def convert():
    work = Recompression(head, head.transfer_syntax, "1.2.840.10008.1.2.1", limits=Limits(),
                         convert=lambda job, data: processes.convert(job, data, timeout=60.0))
    return sum(work.check())

assert convert() == 2
if (child := os.fork()) == 0:
    signal.alarm(60)  # for a child that waits for ever
    assert not processes._all
    assert convert() == 2
    processes.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
(before,) = processes._all
assert convert() == 2
assert processes._all == {before}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_processes_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKED, str(FRAMES)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


WITHOUT_A_GUARD = """
import asyncio, sys
import aiodimse
from aiodimse import testing

print("begun")
server = aiodimse.Server()

@server.on_c_store(transfer_syntaxes=["1.2.840.10008.1.2.1"])
async def store(request):
    await request.discard()
    return 0x0000

async def main():
    async with testing.joined(server, contexts=aiodimse.contexts_for(sys.argv[1:])) as association:
        print((await association.c_store(sys.argv[1])).status.meaning)

asyncio.run(main())
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """A process of multiprocessing would import it, and run it again; and nothing is left when it ends."""
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_A_GUARD)
    command = [sys.executable, "-W", "error", str(script), str(FRAMES)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "begun\nSuccess\n", "")
