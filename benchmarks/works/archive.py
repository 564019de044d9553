"""`aiodimse serve` compared with other archives: stores that are on disk when they are answered, and searches."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Bench, Pairing, compare, work
from benchmarks.material import MEBIBYTE
from benchmarks.measure import Contender, Figure, Row, Trial, limit
from benchmarks.processes import HOST, NODELAY, Process, environment, need

DURABLE = "durable stores of CT to `serve`"
STORES = (
    Pairing(
        Row("archive-store-1", f"5,000 {DURABLE}, one storescu", "Orthanc, with fsync", 1.2), "ours 1", "orthanc 1"
    ),
    Pairing(Row("archive-store-4", "the same, four storescu", "Orthanc, with fsync", 1.5), "ours 4", "orthanc 4"),
    Pairing(
        Row("archive-store-1-dcmqrscp", f"1,000 {DURABLE}, one storescu", "dcmqrscp (no fsync)"), "few", "dcmqrscp"
    ),
)


@work(*(pairing.row for pairing in STORES))
def store(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare stores. Each run starts a new, empty archive before the time is taken. dcmqrscp has only one row, because
    it fails some stores of four simultaneous senders."""
    count, few = bench.count(5_000, 200), bench.count(1_000, 200)

    def ours() -> Process:
        return bench.serve(bench.new_folder("archive"))

    contenders = {
        "few": _stores(bench, ours, 1, few),
        "dcmqrscp": _stores(bench, bench.dcmqrscp, 1, few),
        **{f"ours {senders}": _stores(bench, ours, senders, count) for senders in (1, 4)},
        **{f"orthanc {senders}": _stores(bench, bench.orthanc, senders, count) for senders in (1, 4)},
    }
    return compare(bench, contenders, [p for p in STORES if p.row.name in wanted])


def _stores(bench: Bench, make: Callable[[], Process], senders: int, count: int) -> Contender:
    """Make a contender of several simultaneous storescu, each with its own files."""
    folders = _shares(bench.material.copies("CT_small", count), senders)

    def go() -> Trial:
        archive = make()
        command = [need("storescu"), "-aec", "ARCHIVE", "+sd", "-R", HOST, str(archive.port)]
        try:
            started = time.perf_counter()
            users = [
                subprocess.Popen(
                    [*command, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(NODELAY)
                )
                for folder in folders
            ]
            said = [user.communicate(timeout=300)[0] for user in users]
            seconds = time.perf_counter() - started
            archive.check()
            stored = sum(1 for path in archive.received.rglob("*") if path.is_file() and path.stat().st_size > 30_000)
        finally:
            archive.stop()
        problem = "".join(f"storescu ended with {user.returncode}" for user in users if user.returncode)
        if not problem and any(said):
            problem = "storescu said " + b"".join(said).decode("utf-8", "replace")[:80]
        if not problem and stored < count:
            problem = f"{stored} of {count} files arrived"
        return Trial(count, seconds, problem)

    return go


def _shares(folder: Path, senders: int) -> list[Path]:
    """Distribute the files of a folder over several folders, as links."""
    if senders == 1:
        return [folder]
    shares = [folder.parent / f"{folder.name}-{number}-of-{senders}" for number in range(senders)]
    for number, share in enumerate(shares):
        if not share.is_dir():
            share.mkdir()
            for path in sorted(folder.iterdir())[number::senders]:
                (share / path.name).hardlink_to(path)
    return shares


ORTHANC = Row(
    "archive-find-orthanc",
    "C-FIND at 100,000 objects (--objects): the least favorable median of five kinds",
    "Orthanc",
    1,
)
DCMQRSCP = Row(
    "archive-find-dcmqrscp", "C-FIND at 3,000 objects: the least favorable median of five kinds", "dcmqrscp", 1
)


@work(ORTHANC)
def find_beside_orthanc(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare queries with Orthanc, whose stores take two minutes or more."""
    count = bench.objects or bench.count(100_000, 3_000)
    row = replace(ORTHANC, work=ORTHANC.work.replace("100,000 objects (--objects)", f"{count:,} objects"))
    return [_find_beside(bench, row, bench.orthanc(SyncStorageArea=False), count, callers=8)]


@work(DCMQRSCP)
def find_beside_dcmqrscp(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare queries with dcmqrscp, at a number of objects with which it is filled in half a minute.

    Its index is one file, which it locks and reads from the beginning for each store and each query. Stores of several
    senders fail therefore, and 10,000 objects take five minutes.
    """
    return [_find_beside(bench, DCMQRSCP, bench.dcmqrscp(), 3_000, callers=1)]


def _find_beside(bench: Bench, row: Row, peer: Process, count: int, *, callers: int) -> Figure:
    """Compare five kinds of query on the same objects, sent by one process in turn to our archive and to the peer.

    The peer gets small objects by C-STORE from `callers` associations; our archive indexes them without files.
    """
    times = 20
    archive = bench.worker("ours_archive", folder=bench.new_folder("ours"))
    filled = bench.worker("replay").ask("fill", 3600.0, port=peer.port, called="ARCHIVE", count=count, callers=callers)
    archive.ask("fill", 3600.0, count=count)
    user = bench.worker("ours_archive", "user", folder=bench.new_folder("user"))
    ours, theirs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    problem = "" if filled["done"] == count else f"{filled['done']} of {count} objects were stored"
    for _ in range(bench.pairs):
        for port, medians in ((archive.port, ours), (peer.port, theirs)):
            answer = user.ask("find", port=port, count=count, times=times)
            if answer["found"] != times * len(answer["medians"]):
                problem = f"{answer['found']} queries found something"
            for kind, took in answer["medians"].items():
                medians[kind].append(took)
    ratios = [statistics.median(b / a for a, b in zip(ours[kind], theirs[kind], strict=True)) for kind in ours]

    def in_words(medians: Mapping[str, Sequence[float]]) -> str:
        return ", ".join(f"{kind} {statistics.median(each):.1f}" for kind, each in medians.items()) + " ms"

    samples = {
        f"{side} {kind}": each for side, those in (("ours", ours), ("peer", theirs)) for kind, each in those.items()
    }
    return Figure(row, min(ratios), in_words(ours), in_words(theirs), problem, samples)


MILLION = Row(
    "archive-find-million", "C-FIND at 1,000,000 objects: the slowest median of five kinds", "", 10, "<=", "ms"
)
START = Row("archive-start-million", "`serve` started until a C-ECHO is answered, 1,000,000 objects", "", 2, "<=", "s")
MEMORY = Row("archive-memory-million", "resident memory of that `serve` by then", "", 100, "<=", "MiB")


@work(MILLION, START, MEMORY)
def million(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure queries of an SQLite index whose objects have empty files. Filling it takes one to two minutes.

    The C-FINDs are by UID, Patient ID, accession number, a year and a name, and the prefix of a name; each finds one
    or two studies. Their user runs in the process of the provider.
    """
    count, times = bench.count(1_000_000, 30_000), 50
    folder = bench.new_folder("million")
    archive = bench.worker("ours_archive", folder=folder)
    filled = archive.ask("fill", patience=1800.0, count=count)
    answer = archive.ask("find", port=archive.port, count=count, times=times)
    archive.stop()
    medians: dict[str, float] = answer["medians"]
    problem = "" if answer["found"] == times * len(medians) else f"{answer['found']} queries found something"
    if filled["instances"] != count:
        problem = f"{filled['instances']} of {count} objects are there"
    text = ", ".join(f"{name} {took:.1f}" for name, took in medians.items())
    figures = [limit(MILLION, [max(medians.values())], text, problem)]
    starts = [_start(bench, folder) for _ in range(bench.pairs)]
    shutil.rmtree(folder)
    seconds, memory = [took for took, _ in starts], [resident for _, resident in starts]
    figures.append(limit(START, seconds, f"{min(seconds):.2f} to {max(seconds):.2f} s"))
    figures.append(limit(MEMORY, memory, f"{max(memory):.0f} MiB at most"))
    return [figure for figure in figures if figure.row.name in wanted]


def _start(bench: Bench, folder: Path) -> tuple[float, float]:
    """Return the seconds until a C-ECHO is answered, and the MiB that are resident then."""
    started = time.perf_counter()
    archive = bench.serve(folder)
    subprocess.run([need("echoscu"), "-aec", "ARCHIVE", HOST, str(archive.port)], check=True, env=environment(NODELAY))
    seconds, memory = time.perf_counter() - started, archive.rss / MEBIBYTE
    archive.stop()
    return seconds, memory
