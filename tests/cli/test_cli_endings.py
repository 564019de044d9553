"""Commands that do not end well: what was done is told first, then the error; signals leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import CT, HOST, MR, Command
from cli.test_cli_processes import Process, aiodimse_command, hear_sigint, serving, start
from slowness import without_slowness

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import serve, signals
from aiodimse.cli.failures import TERMINATED, CommandError
from aiodimse.cli.sharing import Inherited

STUDY = ("-k", "StudyInstanceUID=1.2")
MATCH = b"first"
ONE_COMPLETED = struct.pack("<HHLH", 0x0000, 0x1021, 2, 1)
"""Number of Completed Sub-operations (0000,1021) of a response."""


@pytest.fixture
def stuck() -> asyncio.Event:
    """Set when the provider below has given one object and gives no more."""
    return asyncio.Event()


@asynccontextmanager
async def half_a_provider(stuck: asyncio.Event, *, lost: bool) -> AsyncIterator[tuple[object, ...]]:
    """It gives one of two objects, or one match, and then aborts, or nothing."""
    is_said = asyncio.Event()

    def trace(role: str) -> Any:
        def tap(way: str, data: bytes | memoryview) -> None:
            if way == "<" and any(each in bytes(data) for each in (MATCH, ONE_COMPLETED)):
                is_said.set()

        return tap

    server = aiodimse.Server(ae_title="HALF", trace=trace)

    async def no_more(request: Any) -> None:
        await is_said.wait()
        is_said.clear()
        if not lost:
            await asyncio.to_thread(threading.Event().wait, 0.2)  # another process reads it, and tells nobody
        stuck.set()
        if lost:
            request.association.abort()
        else:
            await asyncio.Event().wait()

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def find(request: Any) -> Any:
        match = request.identifier
        match.PatientID = "first"
        yield match
        await no_more(request)

    @server.on_c_get(sop_class.StudyRootQueryRetrieveInformationModelGet)
    async def get(request: Any) -> Any:
        yield 2
        yield 0xFF00, CT
        await no_more(request)

    @server.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
    async def move(request: Any) -> Any:
        yield aiodimse.Destination(HOST, port)
        yield 2
        yield 0xFF00, CT
        await no_more(request)

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.discard()
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        port = listening.port
        yield HOST, port, "--called", "HALF"


COMMANDS = {
    "find": ((), "first", {"matches"}),
    "get": ((*STUDY, "--output", "."), "1 file in .", {"files", "progress"}),
    "move": ((*STUDY, "--destination", "HALF"), "1 completed, 0 failed, 0 with a warning", {"progress"}),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_an_association_that_is_lost(
    name: str, command: Command, stuck: asyncio.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, said, keys = COMMANDS[name]
    async with half_a_provider(stuck, lost=True) as where:
        ended = await command(name, *where, *words)
        assert ended.code == 1
        assert said in ended.out
        (line,) = ended.err.splitlines()
        assert "aborted by the peer" in line
        ended = await command(name, *where, *words, "--json")
        found = json.loads(ended.out)
    assert found.keys() == keys | {"error", "exit_status"}
    assert (found["exit_status"], len(found.get("files", [1]))) == (1, 1)
    assert "aborted by the peer" in found["error"]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_that_is_ended(
    name: str, number: int, code: int, word: str, stuck: asyncio.Event, tmp_path: Path
) -> None:
    words, said, _ = COMMANDS[name]
    async with half_a_provider(stuck, lost=False) as where:
        process = await start(*aiodimse_command(name, *where, *words), cwd=tmp_path, preexec_fn=hear_sigint)
        await stuck.wait()
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, without_slowness(err)) == (code, f"aiodimse {name}: {word}\n")
    assert said in out.decode()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("is_worker", [False, True])
async def test_a_worker_that_has_not_begun_ends_in_silence(
    is_worker: bool, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent, which a user has interrupted, says how the service ended."""

    async def run(*_: object) -> int:
        raise CommandError("terminated", TERMINATED)

    monkeypatch.setattr(serve, "run", run)
    with Inherited([socket.create_server((HOST, 0))], 1, ["serve", str(tmp_path)]) as inherited:
        ended = await command("serve", *(["--inherited", inherited.words(0)] if is_worker else [tmp_path]))
    said = "" if is_worker else "aiodimse serve: terminated\n"
    assert (ended.code, ended.err) == (TERMINATED, said)


async def test_an_error_for_programs(command: Command, dead_port: int, tmp_path: Path) -> None:
    found = json.loads((await command("echo", HOST, dead_port, "--json")).out)
    assert found.keys() == {"error", "exit_status"}
    ended = await command("serve", tmp_path, "--host", "nobody.invalid", "--json")
    assert json.loads(ended.out)["event"] == "error"
    assert len(ended.out.splitlines()) == 1


async def signaled(process: Process, number: int) -> None:
    """Again and again, until it ends. Not by send_signal, which could take the exit status from asyncio."""
    ending = asyncio.create_task(process.wait())
    while not ending.done():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        await asyncio.wait([ending], timeout=0.005)


async def test_two_times_ctrl_c(stuck: asyncio.Event) -> None:
    async with half_a_provider(stuck, lost=False) as where:
        process = await start(*aiodimse_command("find", *where), preexec_fn=hear_sigint)
        await stuck.wait()
        await signaled(process, signal.SIGINT)
        _, err = await process.communicate()
    assert "Traceback" not in without_slowness(err)
    assert process.returncode in (130, -signal.SIGINT)  # the latter where the interpreter was ending already


_INTERRUPTED_WHILE_THE_LOOP_CLOSES = """
import asyncio, os, signal, sys
from aiodimse.cli import echo, main

async def run(*_):
    loop = asyncio.get_running_loop()
    shut = loop.shutdown_default_executor

    async def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        await shut()

    loop.shutdown_default_executor = interrupted
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)

echo.run = run
sys.exit(main.main(["echo", "127.0.0.1", "104"]))
"""


async def test_ctrl_c_while_the_event_loop_closes() -> None:
    """It ends the process at once: asyncio would tell of what it had not closed yet."""
    process = await start(sys.executable, "-c", _INTERRUPTED_WHILE_THE_LOOP_CLOSES, preexec_fn=hear_sigint)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


# --- serve ------------------------------------------------------------------------------------------------------------


def altered(code: str, *words: object) -> tuple[object, ...]:
    """The command line in a process, behind other code."""
    return (sys.executable, "-c", f"{code}\nfrom aiodimse.cli.main import main; raise SystemExit(main())", *words)


async def test_serve_ends_while_it_scans(tmp_path: Path) -> None:
    code = """if True:
        import asyncio, aiodimse.archive
        async def scan(*args, **options):
            print("scans", flush=True)
            await asyncio.sleep(99)
        aiodimse.archive.Archive.open = scan"""
    process = await start(*altered(code, "serve", tmp_path, "--port", 0))
    assert process.stdout is not None
    assert await process.stdout.readline() == b"scans\n"
    process.terminate()
    out, err = await process.communicate()
    assert (process.returncode, out, without_slowness(err)) == (
        143,
        b"",
        "-c serve: terminated\n".replace("-c", "aiodimse"),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_after_all_has_ended_changes_nothing(tmp_path: Path, number: int) -> None:
    """Threads of a disk that hangs are waited for then, and the status of the first signal is known."""
    code = f"""if True:
        import asyncio, os
        from aiodimse.cli import serve
        async def not_ended(seconds):
            os.kill(os.getpid(), {int(number)})
            for _ in range(10):
                await asyncio.sleep(0)
            return ""
        serve.not_ended = not_ended"""
    process = await start(*altered(code, "serve", tmp_path, "--port", 0))
    assert process.stdout is not None
    while b" serves " not in (line := await process.stdout.readline()):
        assert line
    process.terminate()
    out, err = await process.communicate()
    assert (process.returncode, without_slowness(err)) == (0, "")
    assert out.startswith(b"ended")


async def test_sigterm_after_the_end_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (process, _):
        assert process.stdout is not None
        process.terminate()
        assert b"ended" in await process.stdout.readline()
        await signaled(process, signal.SIGTERM)
        assert process.returncode == 0


async def test_a_signal_is_never_without_a_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the moment between the handler of the command and that it is ignored: it would kill the process."""
    set_to: list[object] = []
    real = signal.signal

    def noted(number: int, handler: Any) -> Any:
        set_to.append(handler)
        return real(number, handler)

    before = signal.getsignal(signal.SIGUSR1)
    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", noted)
        with signals.handled(lambda _: None, signal.SIGUSR1, afterward=signal.SIG_IGN):
            pass
    assert set_to[1:] == [signal.SIG_IGN]
    signal.signal(signal.SIGUSR1, before)


async def test_serve_tells_what_it_does(tmp_path: Path) -> None:
    """Each minute, and here more often."""
    code = "from aiodimse.cli import tally; tally.EVERY = 0.1"
    process = await start(*altered(code, "serve", tmp_path, "--port", 0, "--json", "--ae-title", "ANY-SCP"))
    assert process.stdout is not None
    port = json.loads(await process.stdout.readline())["port"]
    async with aiodimse.connect(HOST, port, contexts=[sop_class.Verification]) as association:
        await association.c_echo()
        assert json.loads(await process.stdout.readline())["event"] == "minute"
    process.terminate()
    await process.communicate()


async def test_nobody_reads_what_serve_says(tmp_path: Path) -> None:
    """Before it serves that ends it; then it goes on, without a word."""
    code = "from aiodimse.cli import tally; tally.EVERY = 0.1"
    for lines in (1, 2):
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *map(str, altered(code, "serve", tmp_path, "--port", 0, "--ae-title", "ANY-SCP")),
            stdout=writing, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        os.close(writing)
        said = b""
        if lines == 1:
            os.close(reading)
        else:
            while said.count(b"\n") < 2:
                said += await asyncio.to_thread(os.read, reading, 1)
            os.close(reading)
            port = int(said.decode().split(f"{HOST}:")[1].split()[0])
            for _ in range(2):
                async with aiodimse.connect(HOST, port, contexts=[sop_class.Verification]) as association:
                    await association.c_echo()
                await asyncio.to_thread(threading.Event().wait, 0.2)  # a minute, here
            process.terminate()
        _, err = await process.communicate()
        assert (process.returncode, without_slowness(err)) == (2 - lines, "")


async def test_the_port_is_tried_before_the_scan(command: Command, tmp_path: Path) -> None:
    async with aiodimse.Server().listen(HOST, 0) as taken:
        ended = await command("serve", tmp_path, "--port", taken.port)
    ended.failed(1, "address already in use")


# --- store ------------------------------------------------------------------------------------------------------------


async def test_a_folder_without_files(command: Command, tmp_path: Path) -> None:
    (await command("store", HOST, 104, tmp_path)).failed(1, f"no files in {tmp_path}")


@pytest.mark.parametrize("also", [False, True])
async def test_a_folder_that_cannot_be_listed(
    command: Command, tmp_path: Path, also: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is unreadable for root, which tests may be."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    closed = tmp_path / "closed"
    closed.mkdir()
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.discard()
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        where = (HOST, listening.port, "--called", "AIODIMSE")
        if not also:
            (await command("store", *where, tmp_path)).failed(1, f"{closed}: permission denied")
        else:
            shutil.copy(MR, tmp_path)
            ended = await command("store", *where, tmp_path)
            assert (ended.code, ended.out) == (1, "1 stored, 1 skipped\n")
            assert ended.err == f"skipped {closed}: permission denied\n"
