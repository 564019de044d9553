"""A row fails where its work was not done, on either side, and none is left out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures, table
from benchmarks.bench import Bench, Pairing, Work, commanded, compare, counting, emptying, measure
from benchmarks.measure import Contender, Figure, Incomplete, Row, Trial, interleaved, limit, ratio
from benchmarks.processes import Process

ROW = Row("row", "work", "peer", 1.0)


def good() -> Trial:
    return Trial(10, 2.0)


def raising() -> Trial:
    raise OSError("broken")


def one_too_few() -> Trial:
    return Trial(9, 2.0, "9 of 10 done")


class FailsLater:
    """Fails in its third run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> Trial:
        self.runs += 1
        return good() if self.runs < 3 else one_too_few()


def test_the_median_of_the_ratios_of_neighbors() -> None:
    mine = [Trial(10, seconds) for seconds in (1.0, 2.0, 10.0)]
    theirs = [Trial(10, seconds) for seconds in (2.0, 2.0, 10.0)]
    figure = ratio(ROW, {"ours": mine, "peer": theirs}, "ours", "peer")
    assert (figure.value, figure.verdict) == (1.0, "PASS")
    assert figure.samples["ratios"] == [2.0, 1.0, 1.0]


def test_a_rate_counts_where_the_peer_did_less() -> None:
    figure = ratio(ROW, {"ours": [Trial(100, 1.0)], "peer": [Trial(10, 1.0)]}, "ours", "peer")
    assert figure.value == pytest.approx(10)


def test_contenders_take_turns_after_one_warm_up() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        def go() -> Trial:
            order.append(name)
            return good()

        return go

    trials = interleaved({"ours": contender("ours"), "peer": contender("peer")}, 2)
    assert order == ["ours", "peer"] * 3
    assert [len(done) for done in trials.values()] == [2, 2]


@pytest.mark.parametrize("make", [lambda: raising, lambda: one_too_few, FailsLater], ids=["raises", "less", "later"])
@pytest.mark.parametrize("side", ["ours", "peer"])
def test_a_side_that_fails_fails_the_row(make: Callable[[], Contender], side: str, tmp_path: Path) -> None:
    contenders: dict[str, Contender] = {"ours": good, "peer": good}
    contenders[side] = make()
    (figure,) = compare(Bench(tmp_path, pairs=3, quick=True), contenders, [Pairing(ROW, "ours", "peer")])
    assert (figure.value, figure.verdict) == (None, "FAIL")
    assert "broken" in figure.problem or "9 of 10" in figure.problem
    assert figure.problem in table.printed([figure], [])


@pytest.mark.parametrize(
    ("value", "sign", "verdict"),
    [(0.99, ">=", "FAIL"), (1.0, ">=", "PASS"), (1.01, "<=", "FAIL"), (1.0, "<=", "PASS")],
)
def test_the_side_of_the_bar(value: float, sign: str, verdict: str) -> None:
    assert Figure(Row("row", "work", "", 1.0, sign), value).verdict == verdict


def test_no_figure_is_a_failure() -> None:
    assert Figure(Row("row", "work", ""), None).verdict == "FAIL"
    assert Figure(Row("row", "work", ""), 1.0).verdict == "-"
    assert limit(Row("row", "work", "", 1.0, "<="), [], "").verdict == "FAIL"


@pytest.mark.parametrize("error", [Incomplete("not installed"), KeyError("bug")])
def test_a_work_that_raises_leaves_no_row_out(error: Exception, tmp_path: Path) -> None:
    rows = (ROW, Row("second", "work", "peer", 2.0))

    def fail(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
        raise error

    figures = measure(Bench(tmp_path, pairs=1, quick=True), Work(rows, fail), frozenset(("row", "second")))
    assert [(figure.row.name, figure.verdict) for figure in figures] == [("row", "FAIL"), ("second", "FAIL")]
    assert all(str(error.args[0]) in figure.problem for figure in figures)


def test_a_work_that_forgets_a_row_leaves_it_not_out(tmp_path: Path) -> None:
    figures = measure(Bench(tmp_path, pairs=1, quick=True), Work((ROW,), lambda *_: []), frozenset(("row",)))
    assert [(figure.row, figure.verdict) for figure in figures] == [(ROW, "FAIL")]


class Answers:
    """A worker that answers every command so."""

    def __init__(self, **answer: int | float) -> None:
        self.answer = answer

    def ask(self, command: str, **_: object) -> dict[str, int | float]:
        return self.answer


def test_what_arrived_is_counted(tmp_path: Path) -> None:
    def leaves(files: int) -> Contender:
        def go() -> Trial:
            for number in range(files):
                (tmp_path / str(number)).write_bytes(b"x")
            return good()

        return go

    answers: Any = Answers
    assert emptying(leaves(3), tmp_path, 3)().problem == ""
    assert emptying(leaves(2), tmp_path, 3)().problem == "2 of 3 files arrived"
    assert counting(good, answers(instances=10, bytes=5), 10)().problem == ""
    assert counting(good, answers(instances=9, bytes=5), 10)().problem == "9 of 10 instances arrived"
    assert counting(good, answers(instances=10, bytes=5), 10, 6)().problem == "5 of 6 bytes arrived"
    assert commanded(answers(done=9, seconds=1.0), "store", 10)().problem == "9 of 10 done"


def test_a_peer_that_died_is_noticed(tmp_path: Path) -> None:
    process = Process("dead", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
    try:
        with pytest.raises(Incomplete, match="dead"):
            process.wait_for_port(1)
    finally:
        process.stop()


def test_rows_measured_again_replace_the_old_ones_and_new_ones_follow(tmp_path: Path) -> None:
    def figure(name: str, value: float) -> Figure:
        return Figure(Row(name, "work", "peer", 1.0), value)

    table.write(tmp_path, table.as_rows([figure("a", 1.0), figure("b", 2.0)]), {"date": "then"}, "")
    table.write_again(tmp_path, [figure("new", 4.0), figure("a", 3.0)], {"date": "now", "commit": "c"})
    kept = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["value"]) for row in kept["rows"]] == [("a", 3.0), ("b", 2.0), ("new", 4.0)]
    assert kept["about"]["date"] == "then"
    assert kept["about"]["measured again"] == {"new": "now at c", "a": "now at c"}
    assert " new " in (tmp_path / "table.txt").read_text(encoding="utf-8")


def test_the_page_of_figures_has_the_last_full_run() -> None:
    block = figures.BLOCK.search(figures.PAGE.read_text(encoding="utf-8"))
    assert block is not None
    assert block[0] == figures.rendered()
