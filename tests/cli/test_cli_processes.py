"""What only a process shows: signals, pipes, both names of the program, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import CT, HOST, MR, Peer
from pydicom import dcmread
from slowness import without_slowness

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import process_settings

CT_UID = str(dcmread(CT).SOPInstanceUID)
ROOT = Path(__file__).parents[2]
Process = asyncio.subprocess.Process


async def start(*words: object, stdin: int = subprocess.DEVNULL, **more: object) -> Process:
    return await asyncio.create_subprocess_exec(
        *map(str, words), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more
    )  # type: ignore[arg-type]


def aiodimse_command(*words: object) -> tuple[object, ...]:
    return (sys.executable, "-m", "aiodimse", *words)


@asynccontextmanager
async def serving(folder: Path, *words: object, **more: object) -> AsyncIterator[tuple[Process, int]]:
    """serve as a process, and its port, once it has said that it is ready."""
    process = await start(*aiodimse_command("serve", folder, "--port", "0", "--json", *words), **more)
    try:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        assert (ready["event"], ready["host"]) == ("ready", HOST)
        yield process, ready["port"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "served"
    found.mkdir()
    shutil.copy(CT, found)
    shutil.copy(MR, found)
    return found


@pytest.mark.parametrize("program", [("-m", "aiodimse"), (str(Path(sys.executable).with_name("aiodimse")),)], ids=str)
async def test_both_names(program: tuple[str, ...]) -> None:
    words = (sys.executable, *program) if program[0] == "-m" else program
    process = await start(*words, "--version")
    out, _ = await process.communicate()
    assert (process.returncode, out.decode().split()) == (0, ["aiodimse", aiodimse.__version__])


async def test_serve_says_when_it_is_ready_and_what_it_did(folder: Path) -> None:
    (folder / "notes.txt").touch()
    process = await start(*aiodimse_command("serve", folder, "--port", "0", "--ae-title", "ARCHIVE"))
    assert process.stdout is not None
    scanned, ready = [(await process.stdout.readline()).decode() for _ in range(2)]
    assert scanned == f"{folder}: 2 of 3 files indexed; skipped: 1 not DICOM\n"
    assert ready.startswith(f"ARCHIVE serves {folder} on {HOST}:")
    port = int(ready.split(f"{HOST}:")[1].split()[0])
    async with aiodimse.connect(
        HOST, port, called_ae_title="ARCHIVE", contexts=[sop_class.Verification]
    ) as association:
        assert (await association.c_echo()).status == 0
        assert (await association.c_echo()).status == 0
    process.terminate()
    out, err = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "ended; associations: 1; 2 C-ECHO\n")
    assert without_slowness(err) == ""


WORKERS = pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])


@WORKERS
@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT,), 130), ((getattr(signal, "SIGHUP", signal.SIGTERM),) * 2, 0)],
    ids=["Ctrl-C", "a terminal that is closed"],
)
async def test_serve_drains_on_ctrl_c(
    folder: Path, words: tuple[str, ...], numbers: tuple[signal.Signals, ...], code: int
) -> None:
    """A C-STORE under way may end; the exit status is that of an interrupted program. A terminal sends the signal to
    all processes of its foreground, and each of them is to end only once."""
    async with serving(folder, *words, start_new_session=True) as (process, port):
        assert process.stdout is not None
        contexts = [sop_class.CTImageStorage]
        async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=contexts) as association:
            sent, go_on = asyncio.Event(), asyncio.Event()

            class Slow(aiodimse.Instance):
                async def encoded(self, transfer_syntax: str):  # type: ignore[no-untyped-def]
                    return self.stream()

                async def stream(self):  # type: ignore[no-untyped-def, override]
                    first, *rest = [piece async for piece in (await aiodimse.Instance.open(CT)).stream()]
                    half = len(first) // 2
                    yield first[:half]
                    sent.set()
                    await go_on.wait()
                    yield first[half:]
                    for piece in rest:
                        yield piece

            store = asyncio.create_task(association.c_store(Slow(contexts[0], CT_UID, "1.2.840.10008.1.2.1")))
            await sent.wait()
            assert (await association_is_known(port)) == 0
            for number in numbers:
                os.killpg(process.pid, number)
                await refused(port)
            go_on.set()
            assert (await store).status in (0x0000, 0xB007)
            await association.wait_closed()
        assert await process.wait() == code
        ended = json.loads(await process.stdout.readline())
        assert (ended["event"], ended["C-STORE"]) == ("ended", 1)


async def association_is_known(port: int) -> int:
    """A second association's echo: the first one's bytes have been read by then, most likely; nothing depends on it."""
    async with aiodimse.connect(
        HOST, port, called_ae_title="AIODIMSE", contexts=[sop_class.Verification]
    ) as association:
        return int((await association.c_echo()).status)


async def refused(port: int) -> None:
    """Return once nobody listens there any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return
        writer.close()


@WORKERS
async def test_a_second_signal_aborts(folder: Path, words: tuple[str, ...]) -> None:
    async with serving(folder, *words) as (process, port):
        association = await aiodimse.connect(
            HOST, port, called_ae_title="AIODIMSE", contexts=[sop_class.CTImageStorage]
        )
        pieces: asyncio.Queue[bytes] = asyncio.Queue()
        pieces.put_nowait(b"\0" * 1000)

        class Endless(aiodimse.Instance):
            async def encoded(self, transfer_syntax: str):  # type: ignore[no-untyped-def]
                return self.stream()

            async def stream(self):  # type: ignore[no-untyped-def, override]
                while True:
                    yield await pieces.get()

        instance = Endless(sop_class.CTImageStorage, "1.2.3.4", "1.2.840.10008.1.2.1")
        store = asyncio.create_task(association.c_store(instance))
        assert (await association_is_known(port)) == 0
        process.terminate()
        await refused(port)
        process.terminate()
        await association.wait_closed()
        pieces.put_nowait(b"\0\0")
        with pytest.raises(aiodimse.AssociationError):
            await store
        await process.wait()
        assert process.stderr is not None
        assert without_slowness(await process.stderr.read()).splitlines()[-1] == "aiodimse serve: aborted what was left"
        assert process.returncode == 0


def hear_sigint() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, which is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_ctrl_c_is_130_and_one_line() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.set()
        await reader.read()
        writer.close()

    there = asyncio.Event()
    async with await asyncio.start_server(silent, HOST, 0) as mute:
        process = await start(*aiodimse_command("echo", HOST, mute.sockets[0].getsockname()[1]), preexec_fn=hear_sigint)
        await there.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, without_slowness(err)) == (130, b"", "aiodimse echo: interrupted\n")


async def test_a_port_that_is_taken(folder: Path, peer: Peer) -> None:
    process = await start(*aiodimse_command("serve", folder, "--port", peer.port))
    _, err = await process.communicate()
    assert process.returncode == 1
    assert without_slowness(err) == f"aiodimse serve: cannot listen on {HOST}:{peer.port}: address already in use\n"


async def test_too_few_files_are_a_warning(folder: Path) -> None:
    words = shlex.join(map(str, aiodimse_command("serve", folder, "--port", "0")))
    process = await start("sh", "-c", f"ulimit -n 200; exec {words}")
    assert process.stdout is not None
    assert process.stderr is not None
    while b" serves " not in (line := await process.stdout.readline()):
        assert line
    process.terminate()
    _, err = await process.communicate()
    assert process.returncode == 0
    assert without_slowness(err).startswith("aiodimse serve: warning: ulimit -n is 200,")


async def test_nobody_reads_that_serve_is_ready(folder: Path) -> None:
    words = shlex.join(map(str, aiodimse_command("serve", folder, "--port", "0", "--json")))
    process = await start("sh", "-c", f"{words} | true")
    _, err = await process.communicate()
    assert without_slowness(err) == ""


@pytest.mark.parametrize(("hard", "left"), [(200, 200), (100000, None)])
def test_the_soft_limit_on_files_is_raised(hard: int, left: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """To what is needed, or to the hard limit; in silence where that is enough."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(process_settings.resource, "getrlimit", lambda kind: (150, hard))
    monkeypatch.setattr(process_settings.resource, "setrlimit", lambda kind, limits: raised.append(limits))
    limits = aiodimse.Limits(max_associations=100, max_pending_connections=50)
    warning, needed = process_settings.too_few_files(limits), 50 + 3 * 100 + 64
    assert raised == [(left or needed, hard)]
    assert (warning is None) == (left is None)
    assert warning is None or f"ulimit -n is {left}" in warning


async def test_nobody_reads_what_is_printed(peer: Peer) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, aiodimse_command("find", *peer.where)), stdout=writing, stderr=subprocess.PIPE
        )
        _, err = await process.communicate()
    finally:
        os.close(writing)
    assert without_slowness(err) == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
async def test_names_in_any_script(encoding: str) -> None:
    """What the encoding of stdout has no character for is escaped, in JSON as JSON does it."""
    server, name = aiodimse.Server(), "Yamada^Tarou=山田^太郎"

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def find(request: Any) -> Any:
        match = request.identifier
        match.SpecificCharacterSet = "ISO_IR 192"
        match.PatientName = name
        yield match

    async with server.listen(HOST, 0) as listening:
        words = ("find", HOST, listening.port, "--called", "AIODIMSE", "-k", "PatientName")
        for more in ((), ("--json",)):
            process = await start(*aiodimse_command(*words, *more), env={**os.environ, "PYTHONIOENCODING": encoding})
            out, err = await process.communicate()
            assert (process.returncode, without_slowness(err)) == (0, "")
            if more:
                assert json.loads(out)["matches"][0]["PatientName"] == name
            else:
                assert name.encode(encoding, "backslashreplace") in out


async def test_the_demo() -> None:
    """As make demo runs it: everything is shown, every process has ended."""
    process = await start(sys.executable, ROOT / "examples" / "demo.py", start_new_session=True)
    out, err = await process.communicate()
    shown = out.decode()
    assert process.returncode == 0, shown + err.decode()
    for command in ("echo", "store", "find", "get", "move", "explain"):
        assert f"$ aiodimse {command} {HOST}" in shown
    assert "11 files in fetched" in shown
    assert "VIEWER: CT Doe^Archibald" in shown
    assert "ended; associations: 8" in shown
    assert without_slowness(err) == ""
    with pytest.raises(ProcessLookupError):  # of its session nothing is left
        os.killpg(process.pid, 0)
