"""Many associations at once, busy and idle, and the delay of an echo while another association stores a large
object."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import Any

from benchmarks.bench import Bench, Pairing, compare, work
from benchmarks.material import MEBIBYTE
from benchmarks.measure import Contender, Figure, Incomplete, Row, Trial, interleaved, limit
from benchmarks.processes import HOST, NODELAY, Worker, environment, need

HUNDRED = "100 associations of 100 C-ECHO, our provider"
PAIRINGS = (
    Pairing(Row("many-100", HUNDRED, "dcmqrscp", 6), "ours", "dcmqrscp"),
    Pairing(Row("many-100-pynetdicom", HUNDRED, "pynetdicom (of 5)", 100), "ours", "pynetdicom"),
    Pairing(Row("many-100-uvloop", "the same on uvloop", "dcmqrscp"), "uvloop", "dcmqrscp"),
    Pairing(Row("many-100-bare", "the same", "a bare asyncio server"), "ours", "bare"),
)


def _crowd(load: Worker, provider: Any, associations: int, echoes: int, **how: bool) -> Contender:
    """Make a contender of the load generator; it counts the echoes answered with Success."""
    title = "ARCHIVE" if provider.name == "dcmqrscp" else "ANY-SCP"

    def go() -> Trial:
        said = load.ask(
            "crowd", port=provider.port, called=title, associations=associations, echoes=echoes,
            within=90.0, **how,
        )  # fmt: skip
        provider.check()
        problem = ""
        if said["finished"] != associations or said["echoes"] != associations * echoes:
            problem = (
                f"{provider.name}: {said['refused']} of {associations} associations refused, {said['failed']} failed, "
                f"{said['echoes']} of {associations * echoes} echoes answered"
            )
        return Trial(said["echoes"], said["seconds"], problem)

    return go


@work(*(pairing.row for pairing in PAIRINGS))
def hundred(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare providers under prepared bytes from one load generator.

    pynetdicom gets fewer echoes, because a run would otherwise take five minutes; rates are compared. Its maximum of
    10 associations is raised, and callers that it does not answer for five seconds try again, so that its work ends.
    """
    associations, echoes = 100, bench.count(100, 20)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    load = bench.worker("load")
    makers: dict[str, Any] = {
        "ours": lambda: _crowd(load, bench.ours(), associations, echoes),
        "uvloop": lambda: _crowd(load, bench.ours("aiodimse-uvloop", loop="uvloop"), associations, echoes),
        "bare": lambda: _crowd(load, bench.worker("bare"), associations, echoes),
        "dcmqrscp": lambda: _crowd(load, bench.dcmqrscp(associations=200), associations, echoes),
        "pynetdicom": lambda: _crowd(
            load, bench.worker("netdicom", "pynetdicom", serve=True, max_associations=200), associations, 5, again=True
        ),
    }
    return compare(bench, {name: make() for name, make in makers.items() if name in used}, pairings)


THOUSAND = Row("many-1000", "1,000 associations at once, 10 C-ECHO each: left undone", "", 0, "<=", "")
BEGIN = Row("accept-rate", "associations begun, echoed once and released, 100 at once, our provider", "dcmqrscp")


@work(THOUSAND, BEGIN)
def thousand(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure echoes that begin when all are associated; refused and unanswered callers count."""
    figures = []
    load, ours = bench.worker("load"), bench.ours()
    if THOUSAND.name in wanted:
        associations, echoes = 1_000, 10
        go = _crowd(load, ours, associations, echoes, together=True)
        trials = interleaved({"ours": go}, bench.pairs)["ours"]
        undone = [float(associations * echoes - trial.done) for trial in trials]
        problem = next((trial.problem for trial in trials if trial.problem), "")
        seconds = statistics.median(trial.seconds for trial in trials)
        figures.append(limit(THOUSAND, [max(undone)], f"{seconds:.2f} s, {10_000 / seconds:,.0f}/s", problem))
    if BEGIN.name in wanted:
        contenders = {
            "ours": _crowd(load, ours, 100, 1),
            "dcmqrscp": _crowd(load, bench.dcmqrscp(associations=200), 100, 1),
        }
        figures += compare(bench, contenders, [Pairing(BEGIN, "ours", "dcmqrscp")])
    return figures


MEMORY = Row("idle-memory", "an idle association, of 1,000", "", 32, "<=", "KiB")
PROCESSOR = Row("idle-cpu", "processor time of 1,000 idle associations in 5 s", "", 0.02, "<=", "s")
FIVE_THOUSAND = Row("idle-5000", "5,000 idle associations: not there", "", 0, "<=", "")
NETDICOM_MEMORY = Row("idle-memory-pynetdicom", "an idle association of pynetdicom, of 100", "", None, "<=", "KiB")


@work(MEMORY, PROCESSOR, FIVE_THOUSAND)
def idle(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure the resident memory of the provider with and without them, after 100 others have come and gone."""
    figures = []
    load = bench.worker("load")
    memory, processor, missing = [], [], []
    for _ in range(1 if bench.quick else 3):
        ours = bench.ours()
        _warm(load, ours)
        memory.append(_per_association(load, ours, 1_000))
        before = ours.cpu_seconds
        time.sleep(1.0 if bench.quick else 5.0)  # the measured time, in which nothing happens
        processor.append(ours.cpu_seconds - before)
        more = load.ask("hold", port=ours.port, called="ANY-SCP", associations=4_000)
        missing.append(5_000.0 - ours.ask("associations")["associations"])
        load.ask("let_go")
        if more["associated"] != 4_000:
            raise Incomplete(f"{more['associated']} of 4000 more associations")
    if MEMORY.name in wanted:
        figures.append(limit(MEMORY, memory, f"{statistics.median(memory):.1f} KiB"))
    if PROCESSOR.name in wanted:
        figures.append(limit(PROCESSOR, processor, f"{statistics.median(processor):.2f} s"))
    if FIVE_THOUSAND.name in wanted:
        figures.append(limit(FIVE_THOUSAND, [max(missing)], f"{5_000 - max(missing):,.0f} held"))
    return figures


@work(NETDICOM_MEMORY)
def idle_netdicom(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure pynetdicom, five at a time, because it answers only some of many at once."""
    load, peer = bench.worker("load"), bench.worker("netdicom", "pynetdicom", serve=True, max_associations=300)
    value = _per_association(load, peer, 100, batch=5)
    return [limit(NETDICOM_MEMORY, [value], f"{value:.1f} KiB")]


def _warm(load: Worker, provider: Worker) -> None:
    load.ask("crowd", port=provider.port, called="ANY-SCP", associations=100, echoes=1)
    provider.ask("collect")


def _per_association(load: Worker, provider: Worker, count: int, *, batch: int = 500) -> float:
    before = provider.rss
    said = load.ask("hold", port=provider.port, called="ANY-SCP", associations=count, batch=batch)
    if said["associated"] != count:
        raise Incomplete(f"{provider.name}: {said['associated']} of {count} associated")
    return (provider.rss - before) / count / 1024


FAIR = Row("fairness", "p99 of C-ECHO while another association stores 1 GiB", "", 20, "<=", "ms")


@work(FAIR)
def fairness(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Time an echo every 2 ms on one association while storescu sends a large object over and over on another."""
    mebibytes = bench.count(256, 64)
    path, ours, load = bench.material.large(mebibytes), bench.ours(), bench.worker("load")
    values = []
    for _ in range(bench.pairs):
        ours.ask("count")
        log = bench.new_folder("storescu") / "log"
        command = [need("storescu"), "-R", "--repeat", "4", HOST, str(ours.port), str(path)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment(NODELAY))
            latencies: list[float] = []
            while process.poll() is None:
                latencies += load.ask("ping", port=ours.port, called="ANY-SCP", times=20, pause=0.002)["latencies"]
        arrived = ours.ask("count")
        if process.returncode or arrived["instances"] != 4 or arrived["bytes"] < 4 * mebibytes * MEBIBYTE:
            raise Incomplete(f"storescu ended with {process.returncode}, {arrived['bytes']} bytes arrived")
        values.append(statistics.quantiles(latencies, n=100)[98] * 1000)
    return [limit(FAIR, values, f"{statistics.median(values):.2f} ms")]
