"""`aiodimse serve --workers 2` compared with one process. The sender does as little as possible on the same two
cores."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.bench import Bench, Pairing, compare, work
from benchmarks.material import STUDY_OF_CT
from benchmarks.measure import Figure, Row, Trial
from benchmarks.processes import Process, Worker

CALLERS, WINDOW = 4, 16
"""How many echoes the sender sends at once. One at a time would cost it a third of what it costs the provider."""
ONE = "serve of one process"
PAIRINGS = {
    "echo": Pairing(
        Row("archive-workers-2-echo", "100,000 C-ECHO to `serve --workers 2`, four associations, window 16", ONE, 1.7),
        "echo 2", "echo 1",
    ),
    "find": Pairing(
        Row("archive-workers-2-find", "2,000 C-FIND by Study Instance UID, the same", ONE, 1.7), "find 2", "find 1"
    ),
    "store": Pairing(
        Row("archive-workers-2-store", "1,000 durable stores of CT, the same", ONE, 1.7), "store 2", "store 1"
    ),
}  # fmt: skip


@dataclass
class _Cost:
    """Processor time per operation of each run, in microseconds."""

    provider: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Return the processor times that are printed after a rate: the provider's, and the sender's."""
        if not self.provider:
            return ""
        return f", {statistics.median(self.provider):,.0f} + {statistics.median(self.user):,.0f} us"


@work(*(pairing.row for pairing in PAIRINGS.values()))
def workers(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare in runs that each start new processes, before the time is taken. Stores go into an empty archive."""
    counts = {"echo": bench.count(100_000, 50_000), "find": bench.count(2_000, 1_000), "store": bench.count(1_000, 500)}
    files = bench.material.copies("CT_small", counts["store"])
    filled = bench.new_folder("filled")  # not the material itself: serve keeps its index in the folder
    shutil.copytree(bench.material.copies("CT_small", 100), filled, dirs_exist_ok=True)
    user = bench.worker("replay")
    costs: dict[str, _Cost] = {}

    def contender(what: str, number: int) -> Callable[[], Trial]:
        cost = costs[f"{what} {number}"] = _Cost()

        def go() -> Trial:
            location = filled if what == "find" else bench.new_folder("archive")
            serving = bench.serve(location, *(() if number == 1 else ("--workers", str(number))))
            try:
                return _run(serving, user, what, counts[what], files, cost)
            finally:
                serving.stop()

        return go

    contenders = {f"{what} {number}": contender(what, number) for what in PAIRINGS for number in (2, 1)}
    pairings = [pairing for pairing in PAIRINGS.values() if pairing.row.name in wanted]
    figures = compare(bench, contenders, pairings)
    return [_with_costs(figure, costs[p.ours], costs[p.peer]) for figure, p in zip(figures, pairings, strict=True)]


def _run(serving: Process, user: Worker, what: str, count: int, files: Path, cost: _Cost) -> Trial:
    before = serving.cpu_seconds_with_children
    answer = user.ask(
        "replay", port=serving.port, called="ARCHIVE", what=what, count=count, callers=CALLERS,
        window=WINDOW if what == "echo" else 1,
        files=str(files), study=STUDY_OF_CT,
    )  # fmt: skip
    spent = serving.cpu_seconds_with_children - before
    cost.provider.append(1e6 * spent / count)
    cost.user.append(1e6 * answer["cpu"] / count)
    problem = "" if answer["done"] == count else f"{answer['done']} of {count} done"
    if what == "find" and answer["matches"] != count:
        problem = f"{answer['matches']} of {count} queries found the study"
    return Trial(answer["done"], answer["seconds"], problem)


def _with_costs(figure: Figure, ours: _Cost, peer: _Cost) -> Figure:
    """Add to a figure the processor time per operation, after the rates of both sides."""
    samples = {**figure.samples, "ours us": ours.provider, "peer us": peer.provider, "sender us": ours.user}
    return replace(figure, samples=samples, ours=figure.ours + ours.words, peer=figure.peer + peer.words)
