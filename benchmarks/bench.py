"""The bench: what every work uses, and the list of works, to which the modules of works/ add themselves."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.material import Material
from benchmarks.measure import Contender, Figure, Incomplete, Row, Trial, interleaved, ratio
from benchmarks.processes import HOST, NODELAY, Process, Worker, free_port, need, run


class Bench:
    """Folders, files, counts, and processes that stop when the work is done."""

    def __init__(self, folder: Path, *, pairs: int, quick: bool, objects: int | None = None) -> None:
        self.folder, self.pairs, self.quick = folder, pairs, quick
        self.objects = objects
        """The number of objects of an archive that is searched; None: the number of the row."""
        self.material = Material(folder / "material")
        self._stack = ExitStack()

    def count(self, full: int, quick: int | None = None) -> int:
        """Return how often to do something: a tenth of `full` in quick mode."""
        return (quick or max(full // 10, 1)) if self.quick else full

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def new_folder(self, name: str) -> Path:
        """Make a new folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=self.folder))

    def stopping(self, process: Process) -> None:
        """Stop a process when the work is done."""
        self._stack.callback(process.stop)

    # --- providers and workers ----------------------------------------------------------------------------------------

    def worker(self, module: str, name: str | None = None, /, **options: Any) -> Worker:
        """Start a Python worker in a separate process."""
        worker = Worker(module, self.new_folder(name or module), name, **options)
        self._stack.callback(worker.stop)
        return worker

    def ours(self, name: str = "aiodimse", /, **options: Any) -> Worker:
        """Start our provider."""
        return self.worker("ours_provider", name, **options)

    def storescp(self, *words: str, nodelay: bool = True) -> Process:
        """Start storescp. Its port is .port; .received is the folder to which it writes."""
        folder, port = self.new_folder("storescp"), free_port()
        received = folder / "received"
        received.mkdir()
        command = [need("storescp"), "-od", str(received), *words, str(port)]
        return self._dcmtk("storescp", command, folder, port, received, nodelay)

    def dcmqrscp(self, destination: int = 0, *, associations: int = 16, nodelay: bool = True) -> Process:
        """Start dcmqrscp with AE title ARCHIVE and one empty storage area; DEST is the move destination."""
        folder, port = self.new_folder("dcmqrscp"), free_port()
        area = folder / "area"
        area.mkdir()
        lines = [
            f"NetworkTCPPort = {port}", "MaxPDUSize = 16384", f"MaxAssociations = {associations}",
            "HostTable BEGIN", f"dest = (DEST, localhost, {destination or 104})", "HostTable END",
            "VendorTable BEGIN", "VendorTable END",
            "AETable BEGIN", f"ARCHIVE {area} RW (5000, 1024mb) ANY", "AETable END",
        ]  # fmt: skip
        config = folder / "dcmqrscp.cfg"
        config.write_text("\n".join(lines) + "\n", encoding="ascii")
        command = [need("dcmqrscp"), "-c", str(config)]
        return self._dcmtk("dcmqrscp", command, folder, port, area, nodelay)

    def orthanc(self, **options: Any) -> Process:
        """Start Orthanc, empty, with AE title ARCHIVE. It answers a store when the object is on disk."""
        folder, port = self.new_folder("orthanc"), free_port()
        received = folder / "store"
        configuration = {
            "Name": "bench", "DicomAet": "ARCHIVE", "DicomPort": port, "HttpPort": free_port(),
            "RemoteAccessAllowed": False, "StorageDirectory": str(received), "IndexDirectory": str(folder / "index"),
            "SyncStorageArea": True, "DicomCheckCalledAet": False, "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "OverwriteInstances": True, "Plugins": [],
            **options,
        }  # fmt: skip
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration), encoding="ascii")
        return self._listening(Process("orthanc", [need("Orthanc"), str(path)], folder, NODELAY), port, received)

    def serve(self, location: Path, *words: str) -> Process:
        """Start `aiodimse serve` with this folder and AE title ARCHIVE."""
        port = free_port()
        command = [sys.executable, "-m", "aiodimse", "serve", str(location), "--port", str(port), *words]
        process = Process("serve", [*command, "--ae-title", "ARCHIVE"], self.new_folder("serve"))
        self.stopping(process)
        process.wait_for_words("(Ctrl-C ends it)")  # all workers listen now
        process.port, process.received = port, location
        return process

    def _dcmtk(self, name: str, command: list[str], folder: Path, port: int, received: Path, nodelay: bool) -> Process:
        return self._listening(Process(name, command, folder, NODELAY if nodelay else None), port, received)

    def _listening(self, process: Process, port: int, received: Path) -> Process:
        self.stopping(process)
        process.wait_for_port(port)
        process.port, process.received = port, received
        return process

    # --- users --------------------------------------------------------------------------------------------------------

    def echoscu(self, provider: Any, times: int, *, nodelay: bool = True) -> Contender:
        """Make a contender of a repeating echoscu. Its first run, which only warms up, counts the answers."""
        command = [need("echoscu"), "-aec", _title(provider), "--repeat", str(times), HOST, str(provider.port)]
        return dcmtk_user(command, provider, times, "Received Echo Response (Success)", nodelay)

    def storescu(self, provider: Any, files: Path, count: int, *words: str, nodelay: bool = True) -> Contender:
        """Make a contender of storescu with a folder or a file."""
        what = ["+sd", files] if files.is_dir() else [files]
        command = [need("storescu"), "-R", "-aec", _title(provider), *words, HOST, str(provider.port), *what]
        return dcmtk_user(command, provider, count, "Received Store Response (Success)", nodelay)


def _title(provider: Any) -> str:
    return "ARCHIVE" if provider.name == "dcmqrscp" else "ANY-SCP"


def dcmtk_user(command: list[Any], provider: Any, count: int, success: str, nodelay: bool) -> Contender:
    """Make a contender of a DCMTK user whose exit status or error messages show failures.

    The first run, which is not timed, is verbose, and its successes are counted: echoscu does not report a failure
    status.
    """
    first = True
    env = NODELAY if nodelay else None

    def go() -> Trial:
        nonlocal first
        if first:
            first = False
            trial, output = run([command[0], "-v", *command[1:]], done=count, env=env, output=True)
            if not trial.problem and (successes := output.count(success)) != count:
                return Trial(successes, trial.seconds, f"{successes} of {count} answered with success")
        else:
            trial, output = run(command, done=count, env=env, output=True)
            if not trial.problem and (said := [line for line in output.splitlines() if line[:2] in ("E:", "F:")]):
                return Trial(0, trial.seconds, f"{Path(command[0]).name} said {said[0]}")
        provider.check()
        return trial

    return go


def commanded(worker: Worker, command: str, count: int, check: Process | None = None, **arguments: Any) -> Contender:
    """Make a contender of a worker's command, which answers the seconds and how many were done."""

    def go() -> Trial:
        answer = worker.ask(command, **arguments)
        done = int(answer["done"])
        if check is not None:
            check.check()
        return Trial(done, answer["seconds"], "" if done == count else f"{done} of {count} done")

    return go


def emptying(contender: Contender, folder: Path, count: int) -> Contender:
    """Count the files that a run left in a folder, then clear it; none of this is timed.

    Many files are moved aside, not removed. ext4 does not reuse an inode that was freed in the last seconds, and skips
    every one of them when it creates a file, which takes up to 1.3 ms after some thousand, instead of 0.13.
    """

    def clear() -> None:
        if count > 1:
            folder.rename(tempfile.mkdtemp(prefix="aside-", dir=folder.parent))
            folder.mkdir()
        else:
            for path in folder.iterdir():
                path.unlink()

    def go() -> Trial:
        clear()
        trial = contender()
        found = sum(1 for path in folder.iterdir() if path.stat().st_size)
        clear()
        if found != count and not trial.problem:
            return Trial(found, trial.seconds, f"{found} of {count} files arrived")
        return trial

    return go


def counting(contender: Contender, ours: Worker, count: int, size: int | None = None) -> Contender:
    """Ask our provider after each run how much has arrived."""

    def go() -> Trial:
        ours.ask("count")
        trial = contender()
        arrived = ours.ask("count")
        if not trial.problem and arrived["instances"] != count:
            return Trial(arrived["instances"], trial.seconds, f"{arrived['instances']} of {count} instances arrived")
        if not trial.problem and size is not None and arrived["bytes"] < size:
            return Trial(0, trial.seconds, f"{arrived['bytes']} of {size} bytes arrived")
        return trial

    return go


@dataclass(frozen=True)
class Pairing:
    """A row that compares two of the contenders of its work."""

    row: Row
    ours: str
    peer: str


def compare(bench: Bench, contenders: Mapping[str, Contender], pairings: Iterable[Pairing]) -> list[Figure]:
    """Run the contenders that the pairings need, interleaved, and compute the ratios."""
    wanted = list(pairings)
    used = {name for pairing in wanted for name in (pairing.ours, pairing.peer)}
    trials = interleaved({name: run for name, run in contenders.items() if name in used}, bench.pairs)
    return [ratio(p.row, trials, p.ours, p.peer) for p in wanted]


@dataclass(frozen=True)
class Work:
    """Something that is measured in one go, and its rows."""

    rows: tuple[Row, ...]
    measure: Callable[[Bench, frozenset[str]], list[Figure]]


WORKS: list[Work] = []


def work(*rows: Row) -> Callable[[Callable[[Bench, frozenset[str]], list[Figure]]], Work]:
    """Register a function that measures these rows; it gets the names of the rows that are wanted."""

    def register(function: Callable[[Bench, frozenset[str]], list[Figure]]) -> Work:
        entry = Work(rows, function)
        WORKS.append(entry)
        return entry

    return register


def measure(bench: Bench, entry: Work, wanted: frozenset[str]) -> list[Figure]:
    """Measure. An error is a FAIL in every row that has no figure."""
    problem = ""
    figures: list[Figure] = []
    try:
        with bench:
            figures = entry.measure(bench, wanted)
    except Exception as error:
        problem = str(error) if isinstance(error, Incomplete) else f"{type(error).__name__}: {error}"
    found = {figure.row.name: figure for figure in figures}
    return [
        found.get(row.name) or Figure(row, None, problem=problem or "not measured")
        for row in entry.rows
        if row.name in wanted
    ]
