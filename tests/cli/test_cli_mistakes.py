"""What an operator of serve comes across: one line that says what is wrong, and where."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import CT, HOST, NO_DEBUG, Command
from ports import free_port

import aiodimse
import aiodimse.testing
from aiodimse.archive import Archive, MemoryIndex
from aiodimse.archive.availability import Seldom
from aiodimse.archive.index.opening import FILE
from aiodimse.archive.index.sql.in_use import InUse
from aiodimse.cli import archives
from aiodimse.cli.failures import CommandError, system_words, with_keywords
from aiodimse.cli.main import parser


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 104", "no option prot; did you mean port?"),
        ("[destinations]\nX = 'h:1'", "no option destinations; did you mean destination?"),
        ("keep = 3", "no option keep"),  # an abbreviation of keep-days, which removes studies
        ("worker = 2", "no option worker; did you mean workers?"),
        ("inherit = 2", "no option inherit"),
        ("max-bytes = 0", "max-bytes: 0 would remove everything; leave it out to have no limit: '0'"),
        ("port = 'x'", "port: not a port (0 to 65535): 'x'"),
        ("metrics = true", "metrics: needs a value"),
        ("strict = 'yes'", "strict: takes no value; in a file it is true or false"),
        ("host = ''", "host: the address is empty; 0.0.0.0 means every address"),
        ("[calling]\nCT1 = ['stor']", "calling: not a service (store, find, get, move, commit): 'stor'"),
        ("duplicates = 'kep'", "duplicates: not one of keep, replace: 'kep'; did you mean keep?"),
        ("max-bytes = 500", "max-bytes: 500 bytes is little; give a unit, for example 500G"),
        ("min-free = 20", "min-free: 20 bytes is little; give a unit, for example 20G"),
        ("audit = 'udp:log.example:514'", "audit: not FILE or tls:HOST:PORT: 'udp:log.example:514' begins with udp:"),
        ("[destination]\nV = 'tsl:h:104'", "destination: not a host: 'tsl:h'"),
        ("[destination]\nV = 'h:104:105'", "destination: not a host: 'h:104'"),
        ("[calling]\nCT1 = ['store', '']", "calling: not a service (store, find, get, move, commit): ''"),
        ("verbose = 2", "verbose: takes no value; in a file it is true or false"),
        ("index = 'postgres://h/d'", "index: neither sqlite:///FILE, postgresql://USER@HOST/DATABASE nor memory:"),
    ],
)
async def test_an_option_that_is_mistyped(tmp_path: Path, text: str, said: str, command: Command) -> None:
    """One line, which names the file."""
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{tmp_path}"\n{text}\n')
    ended = await command("serve", "--config", file)
    ended.failed(2, f"aiodimse serve: {file}: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = [104, 105]", "port takes one value, not a list"),
        ("ae-title = []", "ae-title takes one value, not a list"),
        ("called = [5]", "called: not text: 5"),
        ("[called]\nA = 5", "called: the value of A is not text"),
        ("[destination]\nV = { host = 'h', port = 104 }", "destination: the value of V is not text"),
        ("[destination]\nV = ['h', 104]", "destination: the value of V is not text"),
    ],
)
async def test_a_value_of_another_type(tmp_path: Path, text: str, said: str, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{tmp_path}"\n{text}\n')
    (await command("serve", "--config", file)).failed(2, f"aiodimse serve: --config: {file}: {said}")


@pytest.mark.parametrize("text", ["[calling]", "calling = []", "calling = false", "[tls-title]", "tls_title = []"])
async def test_a_table_that_lost_its_last_row_lets_nobody_in(tmp_path: Path, text: str, command: Command) -> None:
    """Without the table everybody may call, or use any title. An empty one says that nobody may."""
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{tmp_path}"\n{text}\n')
    (await command("serve", "--config", file)).failed(2, "is empty, which would let everybody in; remove it")


async def test_a_location_that_is_empty(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_text("location = ''\n")
    (await command("serve", "--config", file)).failed(2, f"{file}: location: the name is empty; use . for this folder")


async def test_a_configuration_that_is_no_text(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_bytes("location = 'M\u00fcller'".encode("latin-1"))
    (await command("serve", "--config", file)).failed(2, f"--config: {file}: this is not text in UTF-8")


@pytest.mark.parametrize("table", ["calling", "called", "destination"])
async def test_a_row_that_is_false(tmp_path: Path, table: str, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{tmp_path}"\n[{table}]\nCT1 = false\n')
    (await command("serve", "--config", file)).failed(2, f"{file}: {table}: CT1 = false means nothing; remove the line")


@pytest.mark.parametrize("name", ["config", "help", "inherited", '""'])
async def test_an_option_that_is_none_of_a_file(tmp_path: Path, name: str, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{tmp_path}"\n{name} = "x"\n')
    (await command("serve", "--config", file)).failed(
        2, f"aiodimse serve: --config: {file}: no option {name}".replace('"', "'")
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-bytes", "0"), "argument --max-bytes: 0 would remove everything"),
        (("--max-bytes", "0G"), "argument --max-bytes: 0 would remove everything"),
        (("--max-bytes", "2"), "argument --max-bytes: 2 bytes is little; give a unit, for example 2G"),
        (("--host", ""), "argument --host: the address is empty"),
        (("--audit", "udp:h:514"), "argument --audit: not FILE or tls:HOST:PORT"),
        (("--audit", ""), "argument --audit: the name is empty (see"),
        (("--destination", "V=tls:tls:h:104"), "argument --destination: not a host: 'tls:h'"),
        (("--calling", "CT1=store,,find"), "argument --calling: not a service"),
    ],
)
async def test_an_option_that_would_do_harm(
    tmp_path: Path, words: tuple[str, ...], said: str, command: Command
) -> None:
    (await command("serve", tmp_path, *words)).failed(2, said)


def test_a_worker_is_no_option_of_a_user(tmp_path: Path) -> None:
    """It is short for --workers, and was what the parent tells a worker."""
    options = parser().parse_args(["serve", str(tmp_path), "--worker", "2"])
    assert (options.workers, options.worker) == (2, None)


async def test_an_index_that_cannot_be_opened_says_where_it_is(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "missing" / "index.db"
    ended = await command("serve", tmp_path, "--port", "0", "--index", f"sqlite:///{file}")
    ended.failed(1, f"{file}: the database of the index cannot be opened: there is no such folder")


async def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".aiodimse-index.db"
    file.mkdir()  # SQLite cannot open it, as in a folder of somebody else
    monkeypatch.setattr(os, "access", lambda *_: False)
    ended = await command("serve", tmp_path, "--port", "0")
    ended.failed(1, f"{file}: the database of the index cannot be opened: its folder cannot be written to; ")


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check",)], ids=" ".join)
async def test_an_index_of_somebody_else(
    tmp_path: Path, words: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite only says that it is unable to open the file. Root may open each, so a test pretends."""
    errors = pytest.importorskip("sqlalchemy.exc")

    async def refused(*_: object, **__: object) -> None:
        raise errors.OperationalError("", None, sqlite3.OperationalError("unable to open database file"))

    await (await Archive.open(tmp_path)).close()
    file, allowed = tmp_path / FILE, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != file and allowed(path, mode))
    monkeypatch.setattr("aiodimse.archive.index.opening._opened_file", refused)
    ended = await command(words[0], tmp_path, *words[1:])
    ended.failed(
        1 if words[0] == "serve" else 2, f"{file}: the database of the index cannot be opened: permission denied"
    )


async def test_an_index_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was served, and refused each request. Root may write each file, so a test pretends."""
    engines = pytest.importorskip("aiodimse.archive.index.sql.engines")
    await (await Archive.open(tmp_path)).close()
    file, create_engine = tmp_path / FILE, engines.create_engine

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{file}?mode=ro", uri=True, check_same_thread=False)

    def create(*of: Any, connect_args: object, **more: Any) -> Any:
        return create_engine(*of, creator=connect, **more)

    monkeypatch.setattr(engines, "create_engine", create)
    with pytest.raises(OSError, match="cannot be opened: attempt to write a readonly database"):
        await (await Archive.open(tmp_path)).close()


async def test_a_database_that_does_not_answer_is_no_wrong_argument(
    tmp_path: Path, dead_port: int, command: Command
) -> None:
    """serve names the archive, and may be started again; check cannot compare anything."""
    pytest.importorskip("psycopg")
    index = f"postgresql://user:SECRET@{HOST}:{dead_port}/archive"
    (await command("serve", tmp_path, "--port", "0", "--index", index)).failed(
        1, f"aiodimse serve: {tmp_path}: the database of the index cannot be opened: connection failed: "
    )
    (await command("check", tmp_path, "--index", index)).failed(2, "the database of the index cannot be opened: ")


async def test_a_disk_that_is_not_mounted_is_named(tmp_path: Path, command: Command) -> None:
    index, folder = f"sqlite:///{tmp_path}/index.db", tmp_path / "files"
    folder.mkdir()
    shutil.copy(CT, folder)
    await (await Archive.open(folder, index=index)).close()
    (folder / CT.name).unlink()
    (await command("serve", folder, "--port", "0", "--index", index)).failed(
        1, f"aiodimse serve: {folder}: no object of the index is there: is its disk mounted?"
    )


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check",)], ids=("serve", "check"))
async def test_a_driver_that_is_not_installed(
    words: tuple[str, ...], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (await command(*words, tmp_path, "--index", "postgresql://user@host/archive")).failed(
        2, 'an index in PostgreSQL needs psycopg: pip install "aiodimse[archive]"'
    )


@pytest.mark.parametrize("index", ["", "x.db", "postgres://user:SECRET@host/archive", "sqlite:x.db", "memory"])
@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check",)], ids=("serve", "check"))
async def test_an_index_of_no_kind(words: tuple[str, ...], index: str, tmp_path: Path, command: Command) -> None:
    """The URL is not repeated, since it may have a password."""
    ended = await command(*words, tmp_path, "--index", index)
    ended.failed(2, "--index: neither sqlite:///FILE, postgresql://USER@HOST/DATABASE nor memory:")
    assert "SECRET" not in ended.err


@pytest.mark.parametrize("text", ["locaton = '.'", "[locations]\nA = '.'"])
async def test_a_location_that_is_mistyped(tmp_path: Path, text: str, command: Command) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(f"{text}\n")
    (await command("serve", "--config", file)).failed(2, "did you mean location?")


@pytest.mark.parametrize(
    ("metrics", "workers", "said"),
    [
        (65535, 2, "worker 1 would use port 65536, which does not exist"),
        ("PORT", 1, "worker 0 would use port PORT, which is that of --port"),
        ("BEFORE", 2, "worker 1 would use port PORT, which is that of --port"),
    ],
)
async def test_ports_of_metrics(metrics: str | int, workers: int, said: str, tmp_path: Path, command: Command) -> None:
    port = free_port()
    metrics = {"PORT": port, "BEFORE": port - 1}.get(str(metrics), metrics)
    words = ("--port", port, "--metrics", metrics, "--workers", workers)
    (await command("serve", tmp_path, *words)).failed(2, f"--metrics: {said.replace('PORT', str(port))}")


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check",)], ids=("serve", "check"))
async def test_a_bucket_without_a_name(words: tuple[str, ...], command: Command) -> None:
    pytest.importorskip("obstore")
    (await command(*words, "s3://", "--index", "sqlite:///x.db")).failed(
        2, f"aiodimse {words[0]}: the bucket cannot be used: "
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check",)], ids=("serve", "check"))
def test_a_bucket_that_is_not_there(words: tuple[str, ...], dead_port: int, tmp_path: Path) -> None:
    """Several processes, because every second one was aborted while it ended."""
    pytest.importorskip("obstore")
    keys = {"AWS_ENDPOINT": f"http://127.0.0.1:{dead_port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    command = [sys.executable, "-m", "aiodimse", *words, "s3://BUCKET", "--index", f"sqlite:///{tmp_path}/x.db"]
    all_of_them = [
        subprocess.Popen(
            command, env={**os.environ, **NO_DEBUG, **keys}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    ended = [(each.communicate(timeout=60), each.returncode) for each in all_of_them]
    assert [code for _, code in ended] == [1 if words[0] == "serve" else 2] * 6
    for (out, said), _ in ended:
        assert (out, said.count("\n")) == ("", 1)
        assert f"the bucket does not answer: http://127.0.0.1:{dead_port}/BUCKET: " in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/A/B"), "/A/B: no space left on device"),
        (OSError(errno.EIO, "the bucket BUCKET does not answer"), "the bucket BUCKET does not answer"),
        (OSError(errno.EINVAL, "XML of the Store"), "XML of the Store"),
    ],
)
def test_names_keep_their_capitals(error: OSError, words: str) -> None:
    assert system_words(error) == words


class Output:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.said = asyncio.Event()

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.said.set()

    note = line


class Full(MemoryIndex):
    """Has no room for the first files."""

    left = 2

    async def is_complete(self) -> bool:
        return True

    async def add(self, headers: Any) -> None:
        if self.left:
            self.left -= 1
            raise RuntimeError("the database is full")
        await super().add(headers)


async def test_a_scan_that_the_index_does_not_answer_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(CT, tmp_path)
    monkeypatch.setattr(archives, "_SCAN_AGAIN", 0.0)
    archive = Archive(tmp_path, index=Full())

    async def opened(*words: object, **more: object) -> Archive:
        return archive

    monkeypatch.setattr(Archive, "open", opened)
    options: Namespace = parser().parse_args(["serve", str(tmp_path)])
    output: Any = Output()
    those = archives.Archives(options, output)
    await those.open()
    those.scan()
    await asyncio.wait_for(output.said.wait(), 10)
    await those.close()
    assert output.lines == [f"{tmp_path}: 1 of 1 files indexed"]
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert said == [
        "the index does not answer (RuntimeError): requests are refused until it does",
        "the index answers again",
    ]


async def test_a_scan_that_the_storage_does_not_answer_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is wrong is said once, and again where it is something else."""
    shutil.copy(CT, tmp_path)
    monkeypatch.setattr(archives, "_SCAN_AGAIN", 0.0)
    archive = Archive(tmp_path, index=Full())
    monkeypatch.setattr(Full, "left", 0)
    scans, wrong = archive.scan, [errno.EIO, errno.EIO, errno.EACCES]

    async def scan(*words: object) -> object:
        if wrong:
            raise OSError(wrong[0], os.strerror(wrong.pop(0)))
        return await scans()

    async def opened(*words: object, **more: object) -> Archive:
        return archive

    monkeypatch.setattr(archive, "scan", scan)
    monkeypatch.setattr(Archive, "open", opened)
    options: Namespace = parser().parse_args(["serve", str(tmp_path)])
    output: Any = Output()
    those = archives.Archives(options, output)
    await those.open()
    those.scan()
    while len(output.lines) < 3:
        output.said.clear()
        await asyncio.wait_for(output.said.wait(), 10)
    await those.close()
    assert output.lines == [
        f"{tmp_path} cannot be read: input/output error",
        f"{tmp_path} cannot be read: permission denied",
        f"{tmp_path}: 1 of 1 files indexed",
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_said_once(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def save(*words: object, **more: object) -> None:
        raise OSError(number, "no")

    archive = await Archive.open(tmp_path, index="memory:")
    monkeypatch.setattr(archive.storage, "save", save)
    server = aiodimse.Server(ae_title="ARCHIVE")
    aiodimse.archive.provide(server, archive)
    contexts = aiodimse.contexts_for([CT])
    async with aiodimse.testing.joined(server, contexts=contexts) as association:
        for _ in range(3):
            assert (await association.c_store(CT)).status == 0xA700
    await archive.close()
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert [errno.errorcode[number] in line for line in lines] == [True]


def test_seldom() -> None:
    now = 0.0
    is_time = Seldom(lambda: now)
    assert [is_time(), is_time()] == [True, False]
    now = 59.0
    assert not is_time()
    now = 60.0
    assert [is_time(), is_time()] == [True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "for CTImageStorage (1.2.840.10008.5.1.4.1.1.2) in transfer syntax 1.2.840.10008.1.2.2",
            "for CTImageStorage in transfer syntax ExplicitVRBigEndian",
        ),
        ("1.2.840.10008.5.1.4.1.1.2: not supported", "CTImageStorage: not supported"),
        ("another (1.2.840.10008.1.2.5)", "another (RLELossless)"),
        ("an object (1.2.3.4) in 1.2.3.4.5", "an object (1.2.3.4) in 1.2.3.4.5"),
    ],
)
def test_uids_of_the_standard_have_names(text: str, words: str) -> None:
    assert with_keywords(text) == words


async def test_a_configuration_that_is_not_taken_opens_no_folder(tmp_path: Path) -> None:
    """The next one may have another room, and would remove studies of a folder that it does not name."""
    folders = {name: tmp_path / name for name in ("served", "right", "other")}
    for folder in folders.values():
        folder.mkdir()
        shutil.copy(CT, folder)
    await (await Archive.open(folders["served"])).close()
    options: Namespace = parser().parse_args(["serve", str(folders["served"])])
    output: Any = Output()
    those = archives.Archives(options, output)
    await those.open()
    words = ["serve", str(folders["served"]), "--called", f"A={folders['right']}"]
    with pytest.raises(CommandError, match="not a folder"):
        await those.take(parser().parse_args([*words, "--called", f"B={tmp_path / 'wrong'}"]))
    those.scan()
    for retention in those._retentions.values():
        assert retention._archive.directory == folders["served"]
    assert set(those._folders._locks) == {folders["served"]}
    alone = InUse.try_alone(folders["right"] / FILE)
    assert alone is not None, "its index is closed"
    alone.close()
    assert set(await those.take(parser().parse_args([*words, "--keep-days", "1"]))) == {"A"}
    assert {each.keep_days for each in those._retentions.values()} == {1}
    await those.close()
