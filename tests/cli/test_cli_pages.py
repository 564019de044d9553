"""The programs of the README, the tutorial and the how-to pages run, and their commands are commands."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ports
import pytest
import trustme
from cli.conftest import CT, HOST, JPEG_2000, MR, TEST_FILES, Ended
from cli.test_cli_processes import hear_sigint, start
from pydicom import dcmread
from slowness import without_slowness

import aiodimse
from aiodimse import testing, tls
from aiodimse.archive import Archive, provide
from aiodimse.cli import configuration
from aiodimse.cli.main import parser
from aiodimse.pdu.pdus import Abort, encode

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("index.md", "getting-started.md", "tutorial.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
_BLOCK = re.compile(r'^```(\w+)(?: title="(.*?)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True)
class Program:
    """One Python block."""

    page: Path
    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.title}"

    def run(self, other: dict[str, int | str]) -> dict[str, Any]:
        """Its names, with other ports and hosts than the page says."""
        code = self.code
        for said, instead in other.items():
            code = code.replace(said, str(instead))
        names: dict[str, Any] = {"__name__": "page"}
        exec(compile(code, f"{self.page.name}: {self.title}", "exec"), names)
        return names


PROGRAMS = {
    (page.stem, title): Program(page, title, code)
    for page in PAGES
    for kind, title, code in _BLOCK.findall(page.read_text(encoding="utf-8"))
    if kind == "python"
}
COMMANDS = [
    line
    for page in PAGES
    for kind, _, code in _BLOCK.findall(page.read_text(encoding="utf-8"))
    if kind == "sh"
    for line in code.splitlines()
    if line.startswith("aiodimse ")
]
SHELL = {
    (page.stem, title): code
    for page in PAGES
    for kind, title, code in _BLOCK.findall(page.read_text(encoding="utf-8"))
    if kind == "sh" and title
}
USERS = {
    ("README", "first_find.py"): "Doe^Peter 20030505 1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1\nstatus: 0x0000",
    ("getting-started", "query.py"): "Doe^Peter 1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1\n",
    ("tutorial", "first_association.py"): "0x0000",
    ("tutorial", "first_find.py"): "the first of them: ",
    ("tutorial", "first_get.py"): "0x0000 Success ()",
    ("tutorial", "first_move.py"): "completed=1",
    ("send-files", "send.py"): "JPEG2000.dcm: 0x0000",
    ("fetch-compressed", "fetch_compressed.py"): "JPEG 2000 Image Compression\n0x0000",
    ("trace", "trace.py"): "> 10 bytes\n< 10 bytes\n> 0 bytes",
}
ALONE = {("tutorial", "first_query_provider.py"): "4711 Doe^Jane\n4712 Doe^John\n"}
PROVIDERS = {
    ("README", "first_provider.py"): (
        "STORE",
        f"AIODIMSE sent {'1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322'}.dcm\n",
    ),
    ("getting-started", "provider.py"): ("STORE", "saved 1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322.dcm\n"),
    ("tutorial", "first_provider.py"): ("VIEWER", "CT from AIODIMSE\n"),
    ("receive-files", "receive.py"): ("ROUTER", ""),
    ("run-as-a-service", "service.py"): ("SERVICE", ""),
}
WITH_ARGUMENTS = {
    ("index", "print_studies.py"),
    ("move-to-yourself", "move_to_yourself.py"),
    ("pool", "share.py"),
}
OVER_TLS = {("tls", "serve_tls.py"), ("tls", "connect_tls.py"), ("tls", "titles.py")}
_PRINTS = re.compile(r'^```python title="([^"]*)"\n(?:(?!^```).*\n)*?```\n\n```text title="prints"$', re.M)
IN_DOCS = {(page.stem, title) for page in PAGES for title in _PRINTS.findall(page.read_text(encoding="utf-8"))}
"""Run by tests/docs, which compare what they print."""
FRAGMENTS = {key for key in PROGRAMS if not key[1]}
"""Without a title: shown, but no programs. tests/docs looks at the names in them."""


def test_every_program_is_run() -> None:
    assert (
        PROGRAMS.keys()
        == USERS.keys() | ALONE.keys() | PROVIDERS.keys() | WITH_ARGUMENTS | OVER_TLS | IN_DOCS | FRAGMENTS
    )


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the programs run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outgoing").mkdir()
    for path in (CT, JPEG_2000):
        shutil.copy(path, tmp_path / "outgoing")
    return tmp_path


@pytest.fixture
async def archive_port(here: Path, free_port: int) -> AsyncIterator[int]:
    """ARCHIVE, which knows a VIEWER."""
    folder = here / "archive"
    folder.mkdir()
    for path in (MR, JPEG_2000, TEST_FILES / "dicomdirtests" / "98892003" / "MR1" / "5641"):
        shutil.copy(path, folder)
    server, viewer = aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server(ae_title="VIEWER")

    @viewer.on_c_store
    async def store(request: Any) -> int:
        await request.discard()
        return 0x0000

    async with viewer.listen(HOST, 0) as there:
        provide(
            server,
            await Archive.open(folder, index="memory:"),
            destinations={"VIEWER": (HOST, there.port)},
            durable=False,
        )
        async with server.listen(HOST, 0) as listening:
            yield listening.port


@pytest.mark.parametrize("key", USERS, ids="-".join)
async def test_users(key: tuple[str, str], archive_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    await PROGRAMS[key].run({"11112": archive_port})["main"]()
    assert USERS[key] in capsys.readouterr().out


async def test_the_first_query_without_an_archive(free_port: int, here: Path) -> None:
    """One line, and no traceback."""
    (here / "first_find.py").write_text(PROGRAMS["README", "first_find.py"].code.replace("11112", str(free_port)))
    process = await start(sys.executable, "first_find.py")
    out, err = await process.communicate()
    said = without_slowness(err)
    assert (process.returncode, out, str(free_port) in said, said.count("\n")) == (1, b"", True, 1), said


async def test_sending_what_is_not_there_or_not_dicom(
    archive_port: int, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    main = PROGRAMS["send-files", "send.py"].run({"11112": archive_port})["main"]
    (here / "outgoing" / "notes.dcm").touch()
    await main()
    assert "notes.dcm: not a DICOM file" in (said := capsys.readouterr().out)
    assert "CT_small.dcm: 0x0000" in said
    shutil.rmtree(here / "outgoing")
    await main()
    assert capsys.readouterr().out == "nothing to send in outgoing\n"


@pytest.mark.parametrize("key", ALONE, ids="-".join)
async def test_programs_that_need_nobody(
    key: tuple[str, str], free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await PROGRAMS[key].run({"11114": free_port})["main"]()
    assert capsys.readouterr().out == ALONE[key]


@pytest.mark.parametrize("key", PROVIDERS, ids="-".join)
async def test_providers(
    key: tuple[str, str],
    free_port: int,
    command: Callable[..., Awaitable[Ended]],
) -> None:
    title, printed = PROVIDERS[key]
    async with _running(PROGRAMS[key].run({"11113": free_port})["main"](), free_port):
        ended = await command("store", HOST, free_port, "--called", title, CT)
    assert (ended.code, ended.out, ended.err) == (0, printed + "1 stored\n", "")


async def test_a_backup_that_is_restored(tmp_path: Path) -> None:
    served, restored = tmp_path / "srv" / "dicom", tmp_path / "srv" / "restored"
    served.mkdir(parents=True)
    (tmp_path / "backup").mkdir()
    for path in (CT, MR):
        shutil.copy(path, served)
    archive = await Archive.open(served)  # it is served meanwhile
    (served / ".1.2.3.dcm.0123456789abcdef.part").touch()
    for title in ("backup", "restore"):
        code = SHELL["archive", title].replace("/srv", f"{tmp_path}/srv").replace("/backup", f"{tmp_path}/backup")
        await asyncio.to_thread(subprocess.run, ["bash", "-euc", code], check=True)
    await archive.close()
    assert sorted(path.name for path in restored.iterdir()) == sorted(path.name for path in (CT, MR))
    archive = await Archive.open(restored)
    assert archive.report.indexed == 2
    await archive.close()


async def test_functions_that_are_called_with_an_archive(
    here: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    image = dcmread(MR)
    async with testing.FakeArchive([image]) as archive:
        archive.destinations["ME"] = (HOST, free_port)
        instead = {'"ARCHIVE"': '"FAKE"', '"PACS"': '"FAKE"', "192.0.2.7": HOST, "11112": archive.port}
        instead |= {"0.0.0.0": HOST, "11113": free_port}
        programs = {key[1]: PROGRAMS[key].run(instead) for key in WITH_ARGUMENTS}
        await programs["print_studies.py"]["print_studies"](image.PatientID)
        await programs["move_to_yourself.py"]["main"](HOST, archive.port, image.StudyInstanceUID, here)
        (here / "outgoing" / "text.dcm").write_text("no DICOM file")
        await programs["share.py"]["main"](HOST, archive.port, here / "outgoing")
        assert len(archive.stored) == 2
    assert (here / f"{image.SOPInstanceUID}.dcm").exists()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        f"{image.PatientID} {image.StudyDate}",
        "0x0000 Success Progress(remaining=None, completed=1, failed=0, warning=0)",
    ]
    assert "text.dcm" in said[2]
    assert said[3:] == ["3 studies"]  # that of the archive, and those that were sent


SIGNALS = [(key, signal.SIGINT) for key in PROVIDERS] + [(("run-as-a-service", "service.py"), signal.SIGTERM)]


@pytest.mark.parametrize(("key", "number"), SIGNALS, ids=str)
async def test_providers_end_without_a_traceback(key: tuple[str, str], number: int, free_port: int) -> None:
    code = PROGRAMS[key].code.replace("11113", str(free_port))
    process = await start(sys.executable, "-c", code, preexec_fn=hear_sigint)
    listening = asyncio.create_task(process.wait())
    await _listens(free_port, listening)
    process.send_signal(number)
    _, err = await process.communicate()
    assert (process.returncode, without_slowness(err)) == (0, "")


@pytest.fixture
def pems(here: Path) -> None:
    """The certificates that the programs of the TLS page name: ours are for their hosts, and for this one."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(here / "hospital-ca.pem")
    for name, hosts in (
        ("archive", (HOST,)),
        ("ct1", ("ct-1.hospital.example",)),
        ("router", ("router.hospital.example",)),
    ):
        issued = authority.issue_cert(*hosts)
        (here / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(here / f"{name}.key")


AS_ROUTER = ("--tls", "--tls-ca", "hospital-ca.pem", "--tls-cert", "router.pem", "--tls-key", "router.key")


@pytest.mark.usefixtures("pems")
async def test_programs_over_tls(
    free_port: int, command: Callable[..., Awaitable[Ended]], capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """The one connects to the other, and so does the command line."""
    provider, user = (PROGRAMS["tls", f"{name}_tls.py"] for name in ("serve", "connect"))
    async with _running(provider.run({"tls.PORT": free_port})["main"](), free_port):
        await user.run({"tls.PORT": free_port, "localhost": HOST})["main"]()
        assert capsys.readouterr().out == "0x0000\n"
        ended = await command("store", HOST, free_port, "--called", "ARCHIVE", *AS_ROUTER, CT)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "frozenset({'dns:router.hospital.example'})\n1 stored\n"
    assert len(list((here / "incoming").iterdir())) == 1


@pytest.mark.usefixtures("pems")
@pytest.mark.parametrize(("title", "code"), [("ROUTER", 0), ("ROUTER_NIGHT", 0), ("CT1", 1)])
async def test_titles_over_tls(title: str, code: int, command: Callable[..., Awaitable[Ended]]) -> None:
    server = PROGRAMS["tls", "titles.py"].run({})["server"]
    context = tls.server_context("archive.pem", "archive.key", ca="hospital-ca.pem")
    async with server.listen(HOST, 0, ssl=context) as listening:
        ended = await command("echo", HOST, listening.port, "--ae-title", title, "--called", "ARCHIVE", *AS_ROUTER)
    assert ended.code == code
    assert code == 0 or "1/1/3" in ended.err


@asynccontextmanager
async def _running(main: Coroutine[Any, Any, None], port: int) -> AsyncIterator[None]:
    running = asyncio.create_task(main)
    await _listens(port, running)
    yield
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def _listens(port: int, running: asyncio.Task[Any]) -> None:
    """Return once a DICOM program listens on the port and its loop has accepted us.

    The kernel takes a connection before the loop of the program does; asyncio complains of an interrupt in between.
    """
    while not running.done():
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            continue
        with suppress(ConnectionError):  # in TLS it is no record, and the connection is closed for that
            writer.write(encode(Abort(source=0, reason=0)))
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return
    await running


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_extras_that_are_installed(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for extras in re.findall(r"""pip install "(?:aiodimse|\.)\[(.*?)\]\"""", page.read_text(encoding="utf-8")):
        assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()


def test_the_configuration_of_the_page(here: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "archive.md").read_text(encoding="utf-8")
    (text,) = re.findall(r'^```toml title="archive.toml"\n(.*?)^```$', page, re.M | re.S)
    (here / "archive.toml").write_text(text, encoding="utf-8")
    options = parser(here / "archive.toml").parse_args(["serve", *configuration.words(here / "archive.toml")])
    assert (str(options.directory), options.max_bytes, options.min_free) == ("/srv/dicom", 2 << 40, 20 << 30)
    assert options.calling[0] == ("CT1", frozenset({"store", "commit"}))
    assert options.calling[-1] == ("MONITOR", frozenset())
    assert options.called == [("ARCHIVE2", None), ("RESEARCH", Path("/srv/research"))]


def test_the_unit_of_the_page_is_a_part_of_that_of_the_examples() -> None:
    page = (ROOT / "docs" / "how-to" / "run-as-a-service.md").read_text(encoding="utf-8")
    (unit,) = re.findall(r'^```ini title=".*?"\n(.*?)^```$', page, re.M | re.S)
    whole = (ROOT / "examples" / "deployment" / "dicom-archive.service").read_text(encoding="utf-8").splitlines()
    assert [line for line in unit.splitlines() if line not in whole] == []


def test_the_command_of_the_container() -> None:
    page = (ROOT / "docs" / "how-to" / "run-as-a-service.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^docker run .* my-archive (serve .*)$", page, re.M)
    assert str(parser().parse_args(shlex.split(line)).directory) == "/dicom"


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str) -> None:
    """Their options exist, and their values make sense."""
    words = [os.path.expanduser(word) for word in shlex.split(line, comments=True)][1:]  # noqa: PTH111
    assert parser().parse_args(words).command == words[0]
