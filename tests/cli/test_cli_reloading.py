"""Rights of callers, archives of called titles, and SIGHUP, which reads them again without losing an association."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import HOST, MR
from cli.test_cli_processes import aiodimse_command, folder, start  # noqa: F401
from pydicom import Dataset, dcmread

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import reloading, signals
from aiodimse.cli.archives import Archives
from aiodimse.cli.failures import CommandError
from aiodimse.cli.main import parser
from aiodimse.cli.options import caller, size
from aiodimse.cli.output import Output
from aiodimse.cli.reloading import report_applied
from aiodimse.cli.sharing import InForce, Inherited, Worker
from aiodimse.commitment import INSTANCE
from aiodimse.commitment import SOP_CLASS as COMMITMENT

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP on this system")

MR_STORAGE = sop_class.MRImageStorage
FIND, GET, MOVE = (
    getattr(sop_class, f"StudyRootQueryRetrieveInformationModel{what}") for what in ("Find", "Get", "Move")
)
NOT_AUTHORIZED = 0x0124
OPEN = "[calling]\nCT1 = true\n"


class Service:
    """A running serve, and its configuration."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, file: Path, head: str) -> None:
        self.process, self.port, self._file, self._head = process, port, file, head

    def connect(self, calling: str = "CT1", called: str = "AIODIMSE") -> aiodimse.client.Connecting:
        contexts = [sop_class.Verification, MR_STORAGE, FIND, GET, MOVE, COMMITMENT]
        return aiodimse.connect(HOST, self.port, ae_title=calling, called_ae_title=called, contexts=contexts)

    async def reload(self, text: str) -> bool:
        """Write it, and whether it was taken by all."""
        self._file.write_text(self._head + text)
        self.process.send_signal(signal.SIGHUP)
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            async for line in self.process.stdout:
                event = json.loads(line)
                if event.get("event") == "configuration":
                    taken: bool = event["taken"]
                    return taken
        raise AssertionError("it has ended")


def configured(folder: Path, text: str, *words: object) -> AbstractAsyncContextManager[Service]:  # noqa: F811
    file, head = folder.with_name("archive.toml"), f'location = "{folder}"\nport = 0\n'
    file.write_text(head + text)
    return started(folder, "serve", "--config", file, *words)


@asynccontextmanager
async def started(folder: Path, *words: object) -> AsyncIterator[Service]:  # noqa: F811
    file, head = folder.with_name("archive.toml"), f'location = "{folder}"\nport = 0\n'
    process = await start(*aiodimse_command(*words, "--json"))
    try:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        yield Service(process, ready["port"], file, head)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    assert process.returncode == 0


def question() -> Dataset:
    dataset, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_STORAGE, "1.2.3"
    dataset.TransactionUID, dataset.ReferencedSOPSequence = "1.9", [item]
    return dataset


async def status_of(service: str, association: aiodimse.Association) -> int:
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID="1.2.3.4.5")
    calls: dict[str, Any] = {
        "echo": association.c_echo,
        "store": lambda: association.c_store(MR),
        "commit": lambda: association.n_action(COMMITMENT, INSTANCE, 1, question()),
        "find": lambda: association.c_find(identifier, FIND),
        "get": lambda: association.c_get(identifier, GET),
        "move": lambda: association.c_move(identifier, MOVE, destination="NOWHERE"),
    }
    return int((await calls[service]()).status)


SERVICES = ("store", "find", "get", "move", "commit")


@pytest.mark.parametrize("allowed", [("store", "commit"), ("find", "get", "move"), ()], ids=str)
async def test_rights(folder: Path, allowed: tuple[str, ...]) -> None:  # noqa: F811
    async with configured(folder, f"[calling]\nCT1 = {list(allowed)}\nALL = true\n") as service:
        async with service.connect() as limited, service.connect("ALL") as unlimited:
            assert await status_of("echo", limited) == 0x0000
            for each in SERVICES:
                refused = await status_of(each, limited) == NOT_AUTHORIZED
                assert refused == (each not in allowed), each
                assert await status_of(each, unlimited) != NOT_AUTHORIZED, each
        with pytest.raises(aiodimse.AssociationRejected):
            await service.connect("SOMEBODY")


@pytest.mark.parametrize("has_file", [True, False])
async def test_rights_on_the_command_line(folder: Path, has_file: bool) -> None:  # noqa: F811
    """A file may limit callers later, and then each request is checked anyway."""
    words = ("--calling", "CT1=find,get", "--calling", "MR1")
    opening = configured(folder, "", *words) if has_file else started(folder, "serve", folder, "--port", "0", *words)
    async with opening as service, service.connect() as limited, service.connect("MR1") as unlimited:
        assert await status_of("store", limited) == NOT_AUTHORIZED
        assert await status_of("find", limited) == 0x0000
        assert await status_of("store", unlimited) == 0x0000


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_rights_change_and_the_association_lives(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    async with configured(folder, OPEN, *words) as service, service.connect() as association:
        assert await status_of("find", association) == 0x0000
        assert await service.reload('[calling]\nCT1 = ["store"]\nMR1 = true\n')
        async with asyncio.timeout(30):
            while await status_of("find", association) != NOT_AUTHORIZED:  # a worker hears of it a little later
                pass
        assert await status_of("store", association) == 0x0000
        async with service.connect("MR1") as newcomer:
            assert await status_of("find", newcomer) == 0x0000
        assert await service.reload("[calling]\nMR1 = true\n")
        async with asyncio.timeout(30):
            while await status_of("store", association) != NOT_AUTHORIZED:
                pass
        assert await status_of("echo", association) == 0x0000  # who is named no more may stay, and do nothing


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])
@pytest.mark.parametrize(
    "wrong",
    ["[calling\n", "prot = 1\n", '[calling]\nCT1 = ["steal"]\n', '[called]\nX = "/nowhere"\n', "max-bytes = '1 lot'\n"],
)
async def test_a_wrong_file_changes_nothing(folder: Path, wrong: str, words: tuple[str, ...]) -> None:  # noqa: F811
    async with configured(folder, OPEN, *words) as service, service.connect() as association:
        assert not await service.reload(wrong)
        assert await status_of("find", association) == 0x0000
        with pytest.raises(aiodimse.AssociationRejected):
            await service.connect("MR1")
        assert await service.reload("[calling]\nCT1 = true\nMR1 = true\n")
        async with service.connect("MR1"):
            pass


async def test_destinations_are_read_again(folder: Path) -> None:  # noqa: F811
    viewer = aiodimse.Server(ae_title="VIEWER")
    arrived: list[str] = []

    @viewer.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        arrived.append(request.sop_instance_uid)
        return 0x0000

    study = dcmread(MR).StudyInstanceUID
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=study)
    async with viewer.listen(HOST, 0) as listening, configured(folder, OPEN) as service:  # noqa: SIM117
        async with service.connect() as association:
            assert (await association.c_move(identifier, MOVE, destination="VIEWER")).status == 0xA801
            assert await service.reload(f'{OPEN}[destination]\nVIEWER = "{HOST}:{listening.port}"\n')
            assert (await association.c_move(identifier, MOVE, destination="VIEWER")).status == 0x0000
    assert arrived == [dcmread(MR).SOPInstanceUID]


async def test_titles_with_a_folder_of_their_own(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    research = tmp_path / "research"
    research.mkdir()
    titles = f'[called]\nRESEARCH = "{research}"\n'
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=None)
    async with configured(folder, OPEN) as service:
        with pytest.raises(aiodimse.AssociationRejected):
            await service.connect(called="RESEARCH")
        assert await service.reload(OPEN + titles)
        async with service.connect(called="RESEARCH") as association, service.connect() as other:
            assert await association.c_find(identifier, FIND).collect() == []
            assert await status_of("store", association) == 0x0000
            (match,) = await association.c_find(identifier, FIND).collect()
            assert match.RetrieveAETitle == "RESEARCH"
            assert len(await other.c_find(identifier, FIND).collect()) == 2
            assert await service.reload(OPEN)
            with pytest.raises(aiodimse.AssociationRejected):
                await service.connect(called="RESEARCH")
            # Who has an association to it stays there, and never comes to the other archive.
            assert len(await association.c_find(identifier, FIND).collect()) == 1
            assert not await service.reload(f'{OPEN}[called]\nRESEARCH = "{tmp_path}"\n')
    assert len(list(research.glob("*/*/*.dcm"))) == 1
    async with configured(folder, OPEN + titles) as service, service.connect(called="RESEARCH") as association:
        assert len(await association.c_find(identifier, FIND).collect()) == 1


async def test_what_needs_a_restart_is_said(folder: Path) -> None:  # noqa: F811
    file = folder.with_name("archive.toml")
    file.write_text(f'location = "{folder}"\nport = 0\n')
    process = await start(*aiodimse_command("serve", "--config", file))
    assert process.stdout is not None
    async with asyncio.timeout(30):
        async for line in process.stdout:
            if b"serves" in line:
                file.write_text(
                    f'location = "{folder}"\nport = 0\nstrict = true\nduplicates = "replace"\nkeep-days = 9\n'
                )
                process.send_signal(signal.SIGHUP)
            if b"configuration" in line:
                break
    process.terminate()
    await process.communicate()
    assert line == b"configuration read again; these need a restart: --duplicates, --strict\n"


_HANGS_UP = """
import os, signal
from aiodimse.cli import archives
from aiodimse.cli.main import main

opened = archives.Archives.open

async def open_and_hang_up(self):
    os.kill(os.getpid(), signal.SIGHUP)
    return await opened(self)

archives.Archives.open = open_and_hang_up
raise SystemExit(main())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the workers are found in /proc")
@pytest.mark.parametrize("changed", ['ae-title = "OTHER"\n', "[calling\n"], ids=["needs a restart", "wrong"])
async def test_a_worker_that_is_started_again_has_the_options_of_the_others(
    folder: Path,  # noqa: F811
    changed: str,
) -> None:
    """It read the file, so it had another title, or location; where the file was wrong, it never served again."""
    async with configured(folder, "", "--workers", "2") as service:
        pid = service.process.pid
        first, second = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        await service.reload(changed)
        os.kill(int(second), signal.SIGKILL)
        assert service.process.stdout is not None
        async with asyncio.timeout(60):
            while json.loads(await service.process.stdout.readline())["event"] != "worker":
                pass
        os.kill(int(first), signal.SIGSTOP)
        try:
            async with service.connect() as association:
                assert await status_of("find", association) == 0x0000
        finally:
            os.kill(int(first), signal.SIGCONT)


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_what_cannot_be_served_is_refused_by_all(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    """With workers the last message said that the configuration was read again."""
    research = folder.with_name("research")
    (research / ".aiodimse-index.db").mkdir(parents=True)
    async with configured(folder, OPEN, *words) as service, service.connect() as association:
        assert not await service.reload(f'[called]\nRESEARCH = "{research}"\n[calling]\nMR1 = true\n')
        assert await status_of("find", association) == 0x0000
        with pytest.raises(aiodimse.AssociationRejected):
            await service.connect("MR1")
        assert await service.reload("[calling]\nCT1 = true\nMR1 = true\n")


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_a_folder_that_came_later_is_served_by_one(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    research = folder.with_name("research")
    research.mkdir()
    async with configured(folder, "", *words) as service:
        assert await service.reload(f'[called]\nRESEARCH = "{research}"\n')
        other = await start(*aiodimse_command("serve", research, "--port", "0"))
        _, said = await other.communicate()
        assert other.returncode == 1
        assert b"another aiodimse serve has this folder open" in said


async def test_our_title_stays_until_a_restart(folder: Path) -> None:  # noqa: F811
    """Who called us by it was rejected, though a message said that the change needs a restart."""
    async with configured(folder, "") as service:
        assert await service.reload('ae-title = "OTHER"\n')
        async with service.connect() as association:
            assert await status_of("echo", association) == 0x0000
        with pytest.raises(aiodimse.AssociationRejected):
            await service.connect(called="OTHER")


def test_only_what_takes_effect_at_once_is_in_force() -> None:
    """--tls-no-client-cert let callers in without a certificate, though a message said that it needs a restart."""
    before = parser().parse_args(["serve", "one"])
    changed = Namespace(**dict.fromkeys(vars(before), "changed"))
    now = reloading.in_force(before, changed)
    assert {name for name, value in vars(now).items() if value == "changed"} == set(reloading.RELOADED)


async def test_what_is_requested_during_the_first_scan_is_done_after_it(folder: Path) -> None:  # noqa: F811
    """It ended the process."""
    file = folder.with_name("archive.toml")
    file.write_text(f'location = "{folder}"\nport = 0\n')
    process = await start(sys.executable, "-c", _HANGS_UP, "serve", "--config", file)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [await process.stdout.readline() for _ in range(3)]
    assert b"serves" in lines[1]
    assert lines[2] == b"configuration read again\n"
    process.terminate()
    await process.communicate()


def test_every_option_that_needs_a_restart_is_said_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """By the name that a file or the command line has for it."""
    before = parser().parse_args(["serve", "one"])
    now = parser().parse_args(["serve", "two", "--no-transcode", "--tls-title", "cn:CT=CT1", "--max-associations", "9"])
    report_applied(before, now, Output())
    _, _, said = capsys.readouterr().out.partition("; these need a restart: ")
    assert said == "location, --max-associations, --no-transcode, --tls-title\n"


def test_no_option_that_takes_effect_at_once_is_said_to_need_a_restart(capsys: pytest.CaptureFixture[str]) -> None:
    before = parser().parse_args(["serve", "one"])
    at_once = (
        "any_called", "called", "calling", "destinations", "keep_days", "max_bytes", "min_free",
        "tls_ca", "tls_cert", "tls_key", "tls_no_hostname",
    )  # fmt: skip
    now = Namespace(**{**vars(before), **dict.fromkeys(at_once, "changed")})
    report_applied(before, now, Output())
    assert capsys.readouterr().out == "configuration read again\n"


ALL = frozenset(SERVICES)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("CT1", ("CT1", ALL)),
        ("CT1=", ("CT1", frozenset())),
        ("CT1=store,find", ("CT1", frozenset({"store", "find"}))),
    ],
)
def test_the_option_for_a_calling_ae_title_is_read(text: str, meant: Any) -> None:
    assert caller(text) == meant


@pytest.mark.parametrize(("text", "meant"), [("0", 0), ("12k", 12 << 10), ("3G", 3 << 30), ("1T", 1 << 40)])
def test_sizes_are_read_with_their_units(text: str, meant: int) -> None:
    assert size(text) == meant


@pytest.mark.parametrize("text", ["", "G", "1P", "-1", "1.5G", "one"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        size(text)


# --- the reloader alone -----------------------------------------------------------------------------------------------


async def test_whatever_goes_wrong_is_reported_and_the_next_configuration_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that is away raises what its driver raises. The signal is heard afterward, too."""
    reads = 0

    def read_again(options: Namespace) -> Namespace:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise RecursionError("secret")
        return options

    class Archives:
        def scan(self) -> None:
            done.set()

        async def take(self, options: Namespace) -> dict[str, object]:
            if reads == 2:
                raise ConnectionDoesNotExistError
            return {}

    class ConnectionDoesNotExistError(Exception):
        """As of asyncpg."""

    class Peers:
        def take(self, options: Namespace, archives: dict[str, object]) -> None:
            pass

    monkeypatch.setattr(reloading, "read_again", read_again)
    done, output = asyncio.Event(), Output(as_json=True, events=True)
    reloader = reloading.Reloader(Namespace(prog="aiodimse serve"), Archives(), Peers(), None, output)  # type: ignore[arg-type]
    for _ in range(3):
        await reloader.reload()
    assert done.is_set()
    said, errors = capsys.readouterr()
    assert [json.loads(line)["taken"] for line in said.splitlines()] == [False, False, True]
    assert "stays as it was: RecursionError" in errors
    assert "stays as it was: ConnectionDoesNotExistError" in errors
    assert "secret" not in errors


async def test_what_is_requested_while_a_request_is_answered_is_answered_too() -> None:
    """And requests that come together are one."""
    begun, go_on = asyncio.Queue[int](), asyncio.Semaphore(0)
    requests = signals.Requests()

    async def work() -> None:
        begun.put_nowait(1)
        await go_on.acquire()

    answering = asyncio.create_task(requests.answer(work))
    for _ in range(3):
        requests.note(1)
        requests.note(1)
        await asyncio.wait_for(begun.get(), 10)
        assert begun.empty()
        requests.note(1)  # while the work is at it
        go_on.release()
        await asyncio.wait_for(begun.get(), 10)
        assert begun.empty()
        go_on.release()
    answering.cancel()
    await asyncio.wait([answering])


async def test_a_worker_that_cannot_read_a_configuration_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It named the one before, so that its parent waited for an answer for ever."""

    def read_again(options: Namespace) -> Namespace:
        raise CommandError("the certificate is not there any more")

    monkeypatch.setattr(reloading, "read_again", read_again)
    output = Output(as_json=True, events=True)
    with Inherited([socket.create_server((HOST, 0))], 1, ["serve", "."]) as inherited:
        inherited.configuration.write(InForce(7, ("serve", "."), ("serve", ".")))
        options = Namespace(prog="aiodimse serve", version=6, worker=Worker.read(inherited.words(0)))
        reloader = reloading.Reloader(options, Archives(options, output), None, None, output)  # type: ignore[arg-type]
        await reloader.reload()
    assert json.loads(capsys.readouterr().out) == {"event": "configuration", "taken": False, "version": 7}


async def test_every_archive_is_closed_though_closing_one_fails(tmp_path: Path) -> None:
    """Its database is away, for example."""
    closed: list[int] = []

    class Closing:
        def __init__(self, number: int) -> None:
            self.number = number

        async def close(self) -> None:
            closed.append(self.number)
            if self.number == 2:
                raise ConnectionError

    archives = Archives(Namespace(), Output())
    archives._open = {tmp_path / str(number): Closing(number) for number in (1, 2, 3)}  # type: ignore[misc]
    with pytest.raises(ConnectionError):
        await archives.close()
    assert sorted(closed) == [1, 2, 3]
