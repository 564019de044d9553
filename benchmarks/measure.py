"""How a figure is computed: interleaved runs, and the median of the ratios of neighbors."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


class Incomplete(Exception):
    """The work was not completed; the row that needed it is FAIL."""


@dataclass(frozen=True)
class Trial:
    """One run of one side. problem: what was not done; the rate of a run with a problem does not count."""

    done: int
    seconds: float
    problem: str = ""

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0


Contender = Callable[[], Trial]


@dataclass(frozen=True)
class Row:
    """One line of the table. sign: the comparison with the bar that passes. bar: None for no verdict."""

    name: str
    work: str
    against: str
    bar: float | None = None
    sign: str = ">="
    unit: str = "x"


@dataclass
class Figure:
    """The result of a row."""

    row: Row
    value: float | None
    ours: str = ""
    peer: str = ""
    problem: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        bar = self.row.bar
        if self.problem or self.value is None:
            return "FAIL"
        if bar is None:
            return "-"
        good = self.value >= bar if self.row.sign == ">=" else self.value <= bar
        return "PASS" if good else "FAIL"


def interleaved(contenders: Mapping[str, Contender], pairs: int) -> dict[str, list[Trial]]:
    """Run each contender once to warm up, then in turn, `pairs` times. One with a problem does not run again."""
    trials: dict[str, list[Trial]] = {name: [] for name in contenders}
    broken: dict[str, Trial] = {}
    for number in range(pairs + 1):
        for name, run in contenders.items():
            trial = broken.get(name)
            if trial is None:
                try:
                    trial = run()
                except Exception as error:
                    trial = Trial(0, 0.0, f"{name}: {type(error).__name__}: {error}"[:300])
                if trial.problem:
                    broken[name] = trial
            if number or trial.problem:
                trials[name].append(trial)
    return trials


def seconds_text(trials: Sequence[Trial]) -> str:
    """Return the median of the runs in words."""
    done = [t for t in trials if not t.problem]
    if not done:
        return "did not finish"
    seconds, rate = statistics.median(t.seconds for t in done), statistics.median(t.rate for t in done)
    return f"{seconds:.2f} s" if done[0].done == 1 else f"{seconds:.2f} s, {rate:,.0f}/s"


def ratio(row: Row, trials: Mapping[str, list[Trial]], ours: str, peer: str) -> Figure:
    """Return how many times faster our side was than the peer of the same pair: the median of the pairs."""
    mine, theirs = trials[ours], trials[peer]
    problem = next((t.problem for t in (*mine, *theirs) if t.problem), "")
    quotients = [a.rate / b.rate for a, b in zip(mine, theirs, strict=False) if not a.problem and b.rate]
    value = statistics.median(quotients) if quotients and not problem else None
    samples = {"ours": [t.seconds for t in mine], "peer": [t.seconds for t in theirs], "ratios": quotients}
    return Figure(row, value, seconds_text(mine), seconds_text(theirs), problem, samples)


def limit(row: Row, values: Sequence[float], text: str, problem: str = "") -> Figure:
    """Return the median as a figure with a bar and without a peer."""
    value = statistics.median(values) if values else None
    return Figure(row, value, text, "", problem or ("" if values else "no figure"), {"ours": list(values)})
