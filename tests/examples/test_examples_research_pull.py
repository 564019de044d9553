"""examples/research_pull: what it fetches, what it leaves, and how it goes on after it was killed."""

from __future__ import annotations

import asyncio
import csv
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from examples.readme import EXAMPLES, changed, commands, ended, started
from interop.dcmtk import DcmQRSCP, storescu
from interop.orthanc import Orthanc
from interop.programs import Keeper
from ports import free_port
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from research_pull.config import Config
from research_pull.manifest import Manifest, accession_numbers
from research_pull.pull import FIND, MOVE, Pace, Pull

import aiodimse
from aiodimse import testing

HOST = "127.0.0.1"


def images(accession: str, count: int, series: int = 1) -> list[Dataset]:
    """One study, its images spread over so many series."""
    template = dcmread(str(get_testdata_file("CT_small.dcm")), force=True)
    study, of = generate_uid(), [generate_uid() for _ in range(series)]
    found = []
    for number in range(count):
        dataset = Dataset()
        dataset.update(template)
        dataset.file_meta = template.file_meta
        dataset.AccessionNumber, dataset.StudyInstanceUID = accession, study
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = of[number % series], generate_uid()
        found.append(dataset)
    return found


class Run:
    """A configuration, and pulls by it."""

    def __init__(self, folder: Path, port: int, **more: Any) -> None:
        self.folder = folder / "pulled"
        self.folder.mkdir()
        options = {"attempts": 2, "pause": 0.0, "port": free_port(), "host": HOST, **more}
        self.config = Config(
            archive_host=HOST,
            archive_port=port,
            archive_ae_title="FAKE",
            accession_numbers=str(folder / "accessions.csv"),
            folder=str(self.folder),
            **options,
        )
        self.saved = 0
        self.pool: dict[str, Any] = {}
        """Options of the pool."""

    async def pull(self, *numbers: str) -> dict[str, int]:
        """Pull, and say how many rows of the manifest have each state."""

        def saved() -> None:
            self.saved += 1

        self.saved = 0
        receiver = aiodimse.Server(ae_title="RESEARCH")
        manifest = Manifest(self.folder)
        async with (
            receiver.listen(HOST, self.config.port),
            aiodimse.Pool(
                HOST,
                self.config.archive_port,
                contexts=[FIND, MOVE],
                ae_title="RESEARCH",
                called_ae_title="FAKE",
                **self.pool,
            ) as pool,
        ):
            await Pull(self.config, pool, receiver, manifest, saved).run(numbers, lambda: None)
        return manifest.close()

    def files(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*/*.dcm")}

    def manifest(self) -> dict[str, dict[str, str]]:
        with (self.folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return {row["accession_number"]: row for row in csv.DictReader(file)}


@asynccontextmanager
async def against(datasets: list[Dataset], folder: Path, **more: Any) -> AsyncIterator[tuple[testing.FakeArchive, Run]]:
    async with testing.FakeArchive(datasets) as archive:
        run = Run(folder, archive.port, **more)
        archive.destinations["RESEARCH"] = (HOST, run.config.port)
        yield archive, run


def uids(datasets: list[Dataset]) -> set[str]:
    return {dataset.SOPInstanceUID for dataset in datasets}


async def test_every_study_comes_and_the_manifest_says_so(tmp_path: Path) -> None:
    first, second, other = images("1", 3), images("2", 4, series=2), images("3", 1)
    async with against([*first, *second, *other], tmp_path) as (_, run):
        states = await run.pull("1", "2", "9", "*")
    assert run.files() == uids(first + second)
    assert states == {"complete": 2, "not found": 1, "failed": 1}
    rows = run.manifest()
    assert (rows["2"]["expected"], rows["2"]["saved"], rows["2"]["missing"]) == ("4", "4", "")
    assert rows["*"]["reason"] == "a wild card is no accession number"
    path = run.folder / second[0].StudyInstanceUID / f"{second[0].SOPInstanceUID}.dcm"
    assert dcmread(path).PixelData == second[0].PixelData


async def test_it_fetches_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    study = images("1", 6, series=2)
    async with against(study[:4], tmp_path) as (archive, run):
        assert await run.pull("1") == {"complete": 1}
        assert run.saved == 4
        archive.requests.clear()
        assert await run.pull("1") == {"complete": 1}
        assert archive.requests == ["C-FIND"]
        for dataset in study[4:]:
            archive.add(dataset)
        (run.folder / "manifest.db").unlink()
        assert await run.pull("1") == {"complete": 1}
    assert (run.saved, run.files()) == (2, uids(study))


async def test_an_accession_number_that_comes_later(tmp_path: Path) -> None:
    async with against([], tmp_path) as (archive, run):
        assert await run.pull("1") == {"not found": 1}
        archive.add(images("1", 1)[0])
        assert await run.pull("1") == {"complete": 1}


async def test_an_archive_that_sends_elsewhere(tmp_path: Path) -> None:
    """It has another address for our title, counts a success, and nothing is here."""
    study = images("1", 2)
    async with (
        against(study, tmp_path, attempts=1) as (archive, run),
        testing.FakeArchive(ae_title="RESEARCH") as other,
    ):
        archive.destinations["RESEARCH"] = (HOST, other.port)
        run.pool["timeouts"] = aiodimse.Timeouts(move_settle=0.01)
        assert await run.pull("1") == {"incomplete": 1}
    (row,) = run.manifest().values()
    assert (row["expected"], row["saved"], set(row["missing"].split())) == ("2", "0", uids(study))
    assert row["reason"] == "the archive has sent 2 images elsewhere"


async def test_an_archive_that_is_away(tmp_path: Path) -> None:
    run = Run(tmp_path, free_port())
    run.pool["acquire_timeout"] = 0.05
    assert await run.pull("1", "2") == {"failed": 2}
    assert all(row["reason"] for row in run.manifest().values())


class Scripted:
    """An archive of one study that moves its images as the test says, and notes what it was asked for."""

    def __init__(self, study: list[Dataset], port: Callable[[], int]) -> None:
        self.server = aiodimse.Server(ae_title="FAKE")
        self.asked: list[set[str]] = []
        self.stuck, self.gate = asyncio.Event(), asyncio.Event()
        self.after: int | None = None
        self.lose = False
        self.open = self.most = 0

        @self.server.on_c_find(FIND)
        async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
            seen = set()
            level = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
            keyword = level[request.identifier.QueryRetrieveLevel]
            for dataset in study:
                if (value := dataset[keyword].value) not in seen:
                    seen.add(value)
                    yield aiodimse.identifier(None, **{keyword: value})

        @self.server.on_c_move(MOVE)
        async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
            wanted = request.identifier.get("SOPInstanceUID") or [each.SOPInstanceUID for each in study]
            wanted = {wanted} if isinstance(wanted, str) else set(wanted)
            self.asked.append(wanted)
            self.open += 1
            self.most = max(self.most, self.open)
            yield HOST, port()
            yield len(wanted)
            for number, each in enumerate(dataset for dataset in study if dataset.SOPInstanceUID in wanted):
                if number == self.after:
                    self.stuck.set()
                    if self.lose:
                        self.after = None
                        request.association.abort()
                    await self.gate.wait()
                yield each
            self.open -= 1


async def test_a_lost_association_costs_what_had_not_come(tmp_path: Path) -> None:
    study = images("1", 5)
    archive = Scripted(study, lambda: run.config.port)
    archive.after, archive.lose = 3, True
    async with archive.server.listen(HOST, 0) as listening:
        run = Run(tmp_path, listening.port)
        assert await run.pull("1") == {"complete": 1}
    assert (run.saved, run.files()) == (5, uids(study))
    assert archive.asked[1] < archive.asked[0]


async def test_four_moves_at_a_time(tmp_path: Path) -> None:
    study = images("1", 1)
    archive = Scripted(study, lambda: run.config.port)
    archive.after = 0
    async with archive.server.listen(HOST, 0) as listening:
        run = Run(tmp_path, listening.port)
        pulling = asyncio.create_task(run.pull(*"123456"))
        while archive.open < 4:
            await archive.stuck.wait()
            archive.stuck.clear()
        archive.gate.set()
        assert await pulling == {"complete": 6}
    assert archive.most == 4


async def test_moves_begin_at_the_pace_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 1))

    monkeypatch.setattr("research_pull.pull.asyncio.sleep", sleep)
    for pace in (Pace(60), Pace(0)):
        for _ in range(3):
            await pace.turn()
    assert waits == [0, 1, 2, 0, 0, 0]


def test_the_list_of_accession_numbers(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("Comment,AccessionNumber\nx, 1 \ny,2\nz,1\nempty,\n", encoding="utf-8-sig")
    assert accession_numbers(path) == ["1", "2"]
    path.write_text("Accession\n1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no column AccessionNumber"):
        accession_numbers(path)
    path.write_bytes("AccessionNumber\nM\u00fcller\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.csv is not text in UTF-8$"):
        accession_numbers(path)


# --- the program ------------------------------------------------------------------------------------------------------


def configured(folder: Path, archive_port: int, title: str, port: int) -> Path:
    """pull.toml of the example for this archive."""
    text = (EXAMPLES / "research_pull" / "pull.toml").read_text(encoding="utf-8")
    instead = {
        "11112": archive_port,
        '"ARCHIVE"': f'"{title}"',
        "11113": port,
        "60.0": "0",
        "pause = 2.0": "pause = 0.0",
    }
    path = folder / "pull.toml"
    path.write_text(changed(text, instead), encoding="utf-8")
    return path


PULL = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('research_pull', run_name='__main__')"
)
"""python -m research_pull, which hears SIGINT also where the tests run in the background of a shell."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_ended_it_goes_on_where_it_was(number: int, code: int, tmp_path: Path) -> None:
    study, port = images("1", 6), free_port()
    archive = Scripted(study, lambda: port)
    archive.after = 4
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n1\n", encoding="utf-8")
    async with archive.server.listen(HOST, 0) as listening:
        command = f'python -c "{PULL}" {configured(tmp_path, listening.port, "FAKE", port)}'
        async with started(command, tmp_path) as process:
            await archive.stuck.wait()
            process.send_signal(number)
            out, _ = await process.communicate()
        assert (process.returncode, b"Traceback" in out) == (code, False)
        there = {path.stem for path in tmp_path.glob("pulled/*/*.dcm")}
        archive.gate.set()
        code, said = await ended(command, tmp_path)
    assert (code, said.splitlines()[-1]) == (0, f"{6 - len(there)} images came; studies: 1 complete"), said
    assert len(there) >= 3
    assert archive.asked[1:] == [uids(study) - there]


async def test_what_it_cannot_use_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n1\n", encoding="utf-8")
    async with aiodimse.Server(ae_title="OTHER").listen(HOST, 0) as taken:
        command = f"python -m research_pull {configured(tmp_path, 1, 'FAKE', taken.port)}"
        code, said = await ended(command, tmp_path)
        assert (code, said.splitlines()[-1].endswith("address already in use"), "Traceback" in said) == (1, True, False)
    shutil.rmtree(tmp_path / "pulled")
    (tmp_path / "pulled").touch()
    code, said = await ended(command, tmp_path)
    assert (code, "File exists" in said, said.count("\n")) == (1, True, 1)


@pytest.mark.parametrize("called", ["FAKE", "ANOTHER"])
async def test_an_archive_that_cannot_be_used_at_the_start(called: str, tmp_path: Path) -> None:
    """Nothing listens there, or it has another title. The pool would wait for it, for each accession number."""
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n1\n", encoding="utf-8")
    async with testing.FakeArchive() as archive:
        where = free_port() if called == "FAKE" else archive.port
        command = f"python -m research_pull {configured(tmp_path, where, called, free_port())}"
        code, said = await ended(command, tmp_path)
    assert (code, "Traceback" in said, archive.requests) == (1, False, [])
    assert ("not recognized" in said) == (called == "ANOTHER")


async def test_a_folder_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    study = images("1", 1)
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n1\n", encoding="utf-8")
    (tmp_path / "pulled").mkdir()
    (tmp_path / "pulled" / study[0].StudyInstanceUID).touch()
    async with testing.FakeArchive(study) as archive:
        code, said = await ended(
            f"python -m research_pull {configured(tmp_path, archive.port, 'FAKE', free_port())}", tmp_path
        )
    assert (code, "File exists" in said.splitlines()[-1], "Traceback" in said) == (1, True, False)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.stop()


@pytest.mark.interop
@pytest.mark.parametrize("kind", [DcmQRSCP, Orthanc])
async def test_strangers(kind: type[DcmQRSCP] | type[Orthanc], keeper: Keeper, tmp_path: Path) -> None:
    port, first, second = free_port(), images("1", 7, series=2), images("2", 3)
    archive = keeper.start(kind, destinations={"RESEARCH": port})
    source = tmp_path / "source"
    source.mkdir()
    for dataset in (*first, *second):
        dataset.save_as(source / f"{dataset.SOPInstanceUID}.dcm")
    await storescu(archive.port, sorted(source.iterdir()), called=archive.title, code=0)
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n1\n2\n", encoding="utf-8")
    command = f"python -m research_pull {configured(tmp_path, archive.port, archive.title, port)}"
    code, out = await ended(command, tmp_path)
    assert (code, out.splitlines()[-1]) == (0, "10 images came; studies: 2 complete"), out
    there = {path.stem: path for path in tmp_path.glob("pulled/*/*.dcm")}
    assert there.keys() == uids(first + second)
    for dataset in first[:3]:
        there[dataset.SOPInstanceUID].unlink()
    (tmp_path / "pulled" / "manifest.db").unlink()
    code, out = await ended(command, tmp_path)
    assert (code, out.splitlines()[-1]) == (0, "3 images came; studies: 2 complete"), out


async def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    archive_port, port = free_port(), free_port()
    (tmp_path / "my_images").mkdir()
    for number in ("4711", "4712"):
        images(number, 1)[0].save_as(tmp_path / "my_images" / f"{number}.dcm")
    path = configured(tmp_path, archive_port, "ARCHIVE", port)
    instead = {"11112": archive_port, "11113": port, "research_pull/pull.toml": path}
    _, _, _, make, serve, store, write, pull = (changed(line, instead) for line in commands("research_pull"))
    assert (await ended(make, tmp_path))[0] == 0
    async with started(serve.removesuffix("&") + f" --port {archive_port}", tmp_path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        assert (await ended(store, tmp_path))[0] == 0
        assert (await ended(write, tmp_path))[0] == 0
        code, out = await ended(pull, tmp_path)
    assert (code, out.splitlines()[-1]) == (0, "2 images came; studies: 2 complete"), out
