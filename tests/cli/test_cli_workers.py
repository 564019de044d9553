"""serve --workers: one port, several processes, and what becomes of them."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import HOST, of_patient, store_while_another_stores
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from pydicom import dcmread
from slowness import without_slowness

import aiodimse
from aiodimse import sop_class
from aiodimse.archive.locks import FileLocks
from aiodimse.cli import reloading, workers
from aiodimse.cli.ending import Ending
from aiodimse.cli.failures import CommandError
from aiodimse.cli.folders import ServedFolders
from aiodimse.cli.main import parser
from aiodimse.cli.output import Output
from aiodimse.cli.sharing import Inherited
from aiodimse.cli.tally import Counts
from aiodimse.cli.workers import _Parent as Parent

MR_STORAGE = sop_class.MRImageStorage


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connect(port: int) -> aiodimse.Connect:
    return aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[sop_class.Verification, MR_STORAGE])


async def echoes(port: int, number: int) -> None:
    async def one() -> None:
        async with connect(port) as association:
            assert (await association.c_echo()).status == 0x0000

    await asyncio.gather(*(one() for _ in range(number)))


async def test_what_all_workers_did_is_added_up(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        await echoes(port, 12)
        process.terminate()
        said, _ = await asyncio.wait_for(process.communicate(), 30)
    ended = json.loads(said.splitlines()[-1])
    assert (ended["event"], ended["associations"]) == ("ended", 12)
    assert ended["operations"]["C-ECHO"] == 12
    assert process.returncode == 0


async def test_what_workers_found_and_did_is_said_as_by_one_process(folder: Path) -> None:  # noqa: F811
    process = await start(*aiodimse_command("serve", folder, "--port", "0", "--workers", "2"))
    assert process.stdout is not None
    found, ready = [(await process.stdout.readline()).decode() for _ in range(2)]
    assert found == f"{folder}: 2 of 2 files indexed\n"
    await echoes(int(ready.split(f"{HOST}:")[1].split()[0]), 3)
    process.terminate()
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert said.decode() == "ended; associations: 3; 3 C-ECHO\n"


async def test_a_port_of_metrics_that_is_taken(folder: Path) -> None:  # noqa: F811
    """That of any worker ends the command before it serves."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for number in ("1", "2"):
            words = ("--port", "0", "--workers", number, "--metrics", port - int(number) + 1)
            process = await start(*aiodimse_command("serve", folder, *words))
            said, errors = await asyncio.wait_for(process.communicate(), 30)
            assert (process.returncode, said) == (1, b"")
            line = f"aiodimse serve: --metrics: cannot listen on port {port}: address already in use"
            assert without_slowness(errors).splitlines() == [line]


async def test_each_worker_has_a_port_of_metrics(folder: Path) -> None:  # noqa: F811
    while True:
        with socket.create_server((HOST, 0)) as first, suppress(OSError, OverflowError):
            port = first.getsockname()[1]
            with socket.create_server((HOST, port + 1)):
                break
    async with asyncio.timeout(60), serving(folder, "--workers", "2", "--metrics", port):
        for place in (0, 1):
            reader, writer = await asyncio.open_connection(HOST, port + place)
            writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert (await reader.read()).endswith(b"alive\n")
            writer.close()


async def test_a_worker_that_dies_is_started_again(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        before = children(process.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        assert process.stderr is not None
        async with asyncio.timeout(30):
            async for line in process.stderr:  # the debug mode of asyncio may say something too
                if b"died (SIGKILL); it is started again in 0.5 s" in line:
                    break
            else:
                pytest.fail("nobody said that a worker died")
        await echoes(port, 4)


async def test_connections_are_dealt_evenly_and_wait_for_a_worker(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        associations = [await connect(port) for _ in range(6)]
        first, second = children(process.pid)
        os.kill(first, signal.SIGKILL)
        statuses = await asyncio.gather(*(each.c_echo() for each in associations), return_exceptions=True)
        lost = sum(isinstance(each, aiodimse.AssociationError) for each in statuses)
        assert 2 <= lost <= 4  # three, unless the machine keeps one of them from running
        os.kill(second, signal.SIGKILL)
        await asyncio.gather(*(each.wait_closed() for each in associations), return_exceptions=True)
        await echoes(port, 2)  # which are taken once a worker is there again; nobody refuses them


async def test_a_port_that_is_taken(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (_, port):
        process = await start(*aiodimse_command("serve", folder, "--port", port, "--workers", "2"))
        said, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on {HOST}:{port}: address already in use".encode() in errors + said


async def test_a_worker_that_cannot_begin_ends_the_command_in_one_line(folder: Path) -> None:  # noqa: F811
    words = ("serve", folder, "--port", "0", "--workers", "2", "--index", f"sqlite:///{folder}/no/index.db")
    process = await start(*aiodimse_command(*words))
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"there is no such folder" in errors
    assert b"aiodimse serve: a worker ended before it served (exit status 1)" in errors
    assert b"Traceback" not in errors


async def test_workers_end_with_their_parent(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        await echoes(port, 2)
        process.kill()
        await asyncio.wait_for(process.wait(), 30)  # which waits for who has its standard error


async def test_two_workers_and_one_uid(folder: Path) -> None:  # noqa: F811
    """However they share the connections: one instance wins, and the others are refused."""
    async with serving(folder, "--workers", "2") as (_, port):

        async def send(patient: str) -> int:
            async with connect(port) as association:
                return (await association.c_store(of_patient(patient))).status

        statuses = await asyncio.gather(*(send(f"P{number}") for number in range(8)))
    assert sorted(statuses) == [0x0000] + [0xA900] * 7
    assert len(list(folder.glob("*/*/1.2.3.4.dcm"))) == 1


async def test_a_worker_waits_for_another_that_stores_the_same_uid(folder: Path) -> None:  # noqa: F811
    """Of two associations at once, each worker has one."""
    async with (
        serving(folder, "--workers", "2") as (_, port),
        connect(port) as first,
        connect(port) as second,
        connect(port) as third,
    ):

        async def has_begun() -> bool:
            assert (await third.c_echo()).status == 0x0000
            return any(folder.rglob(".*.part"))

        assert await store_while_another_stores(first, second, has_begun) == (0x0000, 0xA900)
    assert dcmread(next(folder.glob("*/*/1.2.3.4.dcm"))).PatientID == "P1"


@pytest.mark.parametrize("words", [("--index", "memory:")])
async def test_what_workers_cannot_share(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    process = await start(*aiodimse_command("serve", folder, "--port", "0", "--workers", "2", *words))
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"an index that processes share" in said


# --- the parent alone, with workers that do not serve -----------------------------------------------------------------

READY = 'import signal, sys; print(\'{"event": "ready"}\', flush=True); signal.pause()'
SPAWN = asyncio.create_subprocess_exec
Spawned = Callable[[], Awaitable[asyncio.subprocess.Process]]


def parent_of(spawned: Callable[[Spawned], Awaitable[asyncio.subprocess.Process]], patch: pytest.MonkeyPatch) -> Parent:
    """Return a parent of two workers. A function is called instead of starting one, and is given what starts it."""

    async def spawn(*_: object, **options: Any) -> asyncio.subprocess.Process:
        return await spawned(lambda: SPAWN(sys.executable, "-c", READY, **options))

    patch.setattr(asyncio, "create_subprocess_exec", spawn)
    patch.setattr(workers, "_FIRST_WAIT", 0.01)
    options = Namespace(
        words=["serve"], worker=None, workers=2, prog="aiodimse", host=HOST, ae_title="A", directory="D", called=[],
        timeout=None, ending=Ending("aiodimse"),
    )  # fmt: skip
    inherited = Inherited([socket.create_server((HOST, 0))], 2)
    return Parent(options, inherited, Output(), ServedFolders(by_workers=True))


class Told:
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP on this system")
@pytest.mark.parametrize(
    ("numbers", "times"),
    [
        ((signal.SIGTERM,), 1),
        ((signal.SIGTERM, signal.SIGTERM), 2),
        ((HANGUP,), 1),
        ((HANGUP, HANGUP), 1),
        ((signal.SIGINT, HANGUP), 1),
        ((HANGUP, signal.SIGINT), 2),
    ],
    ids=str,
)
async def test_a_closed_terminal_ends_workers_and_aborts_nothing(
    numbers: tuple[int, ...], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        return await spawn()

    parent, worker = parent_of(spawned, monkeypatch), Told()
    parent._processes[0] = worker  # type: ignore[assignment]
    with parent._inherited:
        for number in numbers:
            parent.stop(number)
    parent._options.ending.disarm()
    assert (worker.signals, parent.number) == ([signal.SIGTERM] * times, numbers[0])


def test_damaged_indexes_of_called_titles_are_put_aside_too(tmp_path: Path) -> None:
    """A title without a folder has no index of its own."""
    for name in ("location", "research"):
        (tmp_path / name).mkdir()
        for suffix in ("", ".damaged"):
            (tmp_path / name / f".aiodimse-index.db{suffix}").touch()
    words = ["serve", str(tmp_path / "location"), "--called", "X", "--called", f"R={tmp_path / 'research'}"]
    workers._put_damaged_aside(parser().parse_args(words))
    for name in ("location", "research"):
        left = {each.name for each in (tmp_path / name).iterdir()} - {".aiodimse-index.db.lock"}
        assert left == {".aiodimse-index.db.unusable-1"}


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "F"), "F: permission denied", 1),
        (ValueError("No index"), "No index", 2),
        (ModuleNotFoundError("the index needs it"), "the index needs it", 2),
    ],
    ids=repr,
)
def test_an_index_that_cannot_be_put_aside(
    error: Exception, words: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_aside(*_: object) -> None:
        raise error

    monkeypatch.setattr(workers, "put_damaged_aside", put_aside)
    with pytest.raises(CommandError) as raised:
        workers._put_damaged_aside(parser().parse_args(["serve", "."]))
    assert (str(raised.value), raised.value.code) == (words, code)


@pytest.mark.parametrize("last", [1, 2])
async def test_a_worker_that_starts_while_the_others_are_told_to_end_is_told_too(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        process = await spawn()
        if number == last:
            parent.stop(signal.SIGTERM)
        return process

    parent = parent_of(spawned, monkeypatch)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    assert (number, parent.has_failed) == (last, False)


async def test_a_worker_that_cannot_be_started_again_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system has no memory or no process to spare for a moment."""
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        if number in (3, 4):
            raise BlockingIOError(errno.EAGAIN, "no process to spare")
        process = await spawn()
        if number == 2:
            assert process.stdout is not None
            asyncio.get_running_loop().call_later(0.2, process.kill)
        if number == 5:
            asyncio.get_running_loop().call_later(0.2, parent.stop, signal.SIGTERM)
        return process

    parent = parent_of(spawned, monkeypatch)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    assert (number, parent.has_failed) == (5, False)
    assert "worker 1 cannot be started: resource temporarily unavailable" in capsys.readouterr().err


async def test_a_first_worker_that_cannot_be_started_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spawned(_: Spawned) -> asyncio.subprocess.Process:
        raise PermissionError(errno.EACCES, "Permission denied", "python")

    parent = parent_of(spawned, monkeypatch)
    with parent._inherited, pytest.raises(ExceptionGroup) as raised:
        await parent.run()
    assert isinstance(raised.value.exceptions[0], CommandError)
    assert str(raised.value.exceptions[0]) == "a worker cannot be started: permission denied"


async def test_a_worker_that_cannot_serve_costs_no_other_and_is_tried_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It dies before it says that it is ready, or in the first second after that."""
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        process = await spawn()
        if number == 7:
            parent.stop(signal.SIGTERM)
        elif number > 1:
            process.kill()
        return process

    parent = parent_of(spawned, monkeypatch)
    monkeypatch.setattr(workers, "_LONGEST_WAIT", 0.04)
    monkeypatch.setattr(workers, "_LONGEST_WAIT_OF_READY", 0.04)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    said = [line for line in capsys.readouterr().err.splitlines() if "started again" in line]
    assert [line.rpartition(" in ")[2] for line in said] == ["0.01 s", "0.02 s", "0.04 s", "0.04 s", "0.04 s"]


IS_READY = 'print(\'{"event": "ready"}\', flush=True)'


@pytest.mark.parametrize(
    ("dies", "served", "waits"),
    [
        ("", 1.0, ["0.01", "0.02", "0.04", "0.08"]),
        (IS_READY, 1.0, ["0.01", "0.02", "0.03", "0.03"]),
        (IS_READY, 0.0, ["0.01", "0.01", "0.01", "0.01"]),
    ],
    ids=["before it is ready", "soon after", "after it has served"],
)
async def test_how_long_a_worker_that_died_is_waited_for(
    dies: str, served: float, waits: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        process = await spawn()
        monkeypatch.setitem(globals(), "READY", dies)  # of all but the first
        if number == 6:
            parent.stop(signal.SIGTERM)
        return process

    parent = parent_of(spawned, monkeypatch)
    for name, value in (("_LONGEST_WAIT", 0.08), ("_LONGEST_WAIT_OF_READY", 0.03), ("_HAS_SERVED", served)):
        monkeypatch.setattr(workers, name, value)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    said = [line for line in capsys.readouterr().err.splitlines() if "started again" in line]
    assert [line.rpartition(" in ")[2] for line in said] == [f"{each} s" for each in waits]


@pytest.fixture
async def parent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parent]:
    """A parent that has started no worker, and whose configuration is always right."""

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        return await spawn()

    parent = parent_of(spawned, monkeypatch)
    words: list[str] = []

    def read_again(options: Namespace) -> Namespace:
        words.append("again")
        return Namespace(**{**vars(options), "words": ["serve", *words]})

    monkeypatch.setattr(reloading, "read_again", read_again)
    with parent._inherited:
        yield parent


def told(parent: Parent, place: int, version: int, *, taken: bool = True) -> None:
    parent._told({"event": "configuration", "taken": taken, "version": version}, place)


async def test_a_configuration_is_applied_when_the_last_worker_has_applied_it(
    parent: Parent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or has died. A worker that does not serve yet is told when it does."""
    workers: Any = {place: Told() for place in range(3)}
    parent._processes.update(workers)
    parent._serving.update((0, 1))
    await parent.reload()
    assert [each.signals for each in workers.values()] == [[HANGUP], [HANGUP], []]
    told(parent, 0, 1)
    assert capsys.readouterr().out == ""
    parent._confirmed(1)
    assert capsys.readouterr().out == "configuration read again\n"
    told(parent, 0, 1)
    assert capsys.readouterr().out == ""


async def test_whatever_goes_wrong_is_reported_and_the_next_configuration_is_read(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request was heard any more, and nothing said why."""
    read_again, is_wrong = reloading.read_again, True

    def read(options: Namespace) -> Namespace:
        nonlocal is_wrong
        if is_wrong:
            is_wrong = False
            raise RecursionError("secret")
        return read_again(options)

    monkeypatch.setattr(reloading, "read_again", read)
    await parent.reload()
    assert capsys.readouterr() == ("", "aiodimse: the configuration stays as it was: RecursionError\n")
    await parent.reload()
    assert capsys.readouterr().out == "configuration read again\n"


async def test_folders_are_taken_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that is refused keeps nobody from a folder that it names."""
    kept, new, taken = (tmp_path / name for name in ("kept", "new", "taken"))
    for each in (kept, new, taken):
        each.mkdir()
    try_lock = FileLocks.try_lock

    async def try_lock_as_another_has(locks: FileLocks, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        return locks._file.parent != taken and await try_lock(locks, numbers, is_shared=is_shared)

    monkeypatch.setattr(FileLocks, "try_lock", try_lock_as_another_has)
    async with ServedFolders(by_workers=True) as folders:
        await folders.take(kept)
        with pytest.raises(CommandError, match="has this folder open"):
            await folders.take_all([kept, new, taken])
        assert set(folders._locks) == {kept}


async def test_an_answer_to_an_earlier_configuration_is_none_to_the_last(
    parent: Parent, capsys: pytest.CaptureFixture[str]
) -> None:
    parent._processes[0] = Told()  # type: ignore[assignment]
    parent._serving.add(0)
    await parent.reload()
    await parent.reload()
    told(parent, 0, 1)
    assert capsys.readouterr().out == ""
    told(parent, 0, 2)
    assert capsys.readouterr().out == "configuration read again\n"


async def test_what_a_worker_refuses_is_in_force_in_none(parent: Parent, capsys: pytest.CaptureFixture[str]) -> None:
    """The parent said that the configuration was read again."""
    workers: Any = {place: Told() for place in range(2)}
    parent._processes.update(workers)
    parent._serving.update(workers)
    await parent.reload()
    told(parent, 0, 1)
    told(parent, 1, 1)
    assert capsys.readouterr().out == "configuration read again\n"
    await parent.reload()
    told(parent, 0, 2, taken=False)
    told(parent, 1, 2)
    in_force = parent._inherited.configuration.read()
    assert in_force == (3, ("serve",), ("serve", "again"))
    assert [each.signals for each in workers.values()] == [[HANGUP] * 3] * 2
    told(parent, 0, 3)
    told(parent, 1, 3)
    assert capsys.readouterr().out == ""


class Printing(Told):
    """A worker that prints lines, and None: nothing for as long as it is waited for. Then it ends."""

    def __init__(self, lines: list[bytes | None]) -> None:
        super().__init__()
        self._lines = iter(lines)
        self.stdout = self
        self.kills = 0
        self.returncode = 0

    async def readline(self) -> bytes:
        line = next(self._lines, b"")
        return line if line is not None else await asyncio.Future()

    async def wait(self) -> int:
        return self.returncode

    def kill(self) -> None:
        self.kills += 1


class Starting(Printing):
    """A worker that says that it is ready, and ends; something happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]] | None) -> None:
        super().__init__([b'{"event": "ready"}\n'])
        self._meanwhile = meanwhile

    async def readline(self) -> bytes:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().readline()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP on this system")
@pytest.mark.parametrize("has_changed", [True, False])
async def test_a_worker_that_started_with_an_older_configuration_reads_it_again(
    parent: Parent, has_changed: bool
) -> None:
    worker: Any = Starting(parent.reload if has_changed else None)
    await parent._one(1, worker, asyncio.Event())
    assert worker.signals == ([HANGUP] if has_changed else [])


@pytest.mark.parametrize(
    ("lines", "serves", "stops", "kills"),
    [
        ([None, None, b"a", None, None, b"b"], True, False, 0),
        ([b"a", None, None, None, None, None], True, False, 1),
        ([None, None, None, None, b"a"], False, False, 0),
        ([None, None, None, None, b"a"], True, True, 0),
    ],
    ids=["late", "silent", "before it serves", "when all end"],
)
async def test_a_worker_that_serves_has_to_give_signs_of_life(
    parent: Parent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: list[bytes | None],
    serves: bool,
    stops: bool,
    kills: int,
) -> None:
    monkeypatch.setattr(workers, "_SIGN", 0.01)
    monkeypatch.setattr(workers, "_MISSED", 3)
    parent._serving.update([1] if serves else [])
    if stops:
        parent._stopping.set()
    process: Any = Printing(lines)
    for line in filter(None, lines):
        assert await parent._next_line(1, process) == line
    assert await parent._next_line(1, process) == b""
    assert process.kills == kills
    said = "aiodimse: worker 1 has given no sign of life for 0.03 s, and is killed\n"
    assert capsys.readouterr().err == said * kills


async def test_a_worker_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_SIGN", 0.01)
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    output = Output(as_json=True)
    monkeypatch.setattr(output, "event", events.put_nowait)
    closed, end = os.pipe()
    standard_input = os.dup(0)
    os.dup2(closed, 0)
    try:
        with workers.bound_to_parent(lambda _: None, output):
            async with asyncio.timeout(20):
                assert [await events.get() for _ in range(3)] == [{"event": "alive"}] * 3
    finally:
        os.dup2(standard_input, 0)
        for descriptor in (closed, end, standard_input):
            os.close(descriptor)


def test_what_a_worker_did_before_it_was_killed_is_counted(parent: Parent) -> None:
    """As far as it reported it; what ends as it should reports all of it."""

    def minute(echoes: int) -> dict[str, Any]:
        return {"event": "minute", "associations": {"new": 1}, "operations": {"C-ECHO": echoes}}

    for place in (0, 1):
        parent._minutes[place] = Counts()
        for echoes in (2, 3):
            parent._told(minute(echoes), place)
    parent._told({"event": "ended", "associations": 3, "operations": {"C-ECHO": 6}}, 0)
    for place in (0, 1):
        parent._left(place)
    assert (parent.ended.associations, parent.ended.operations) == (5, {"C-ECHO": 11})
