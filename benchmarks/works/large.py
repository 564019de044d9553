"""One object of 256 MiB: the time and the memory that it takes."""

from __future__ import annotations

from benchmarks.bench import Bench, Pairing, commanded, counting, emptying, work
from benchmarks.material import MEBIBYTE
from benchmarks.measure import Contender, Figure, Row, Trial, interleaved, limit, ratio
from benchmarks.processes import Process

PROVIDER = (
    Pairing(Row("large", "256 MiB from storescu, our provider", "storescp --ignore", 1.0), "ours", "storescp"),
    Pairing(Row("large-uvloop", "the same on uvloop", "storescp --ignore"), "uvloop", "storescp"),
    Pairing(Row("large-save", "the same, saved to disk", "storescp +B"), "save", "storescp save"),
)
MEMORY = (
    Row("large-memory", "256 MiB received: peak RSS growth of our provider", "", 16.0, "<=", "MiB"),
    Row("large-save-memory", "256 MiB received and saved: the same", "", 16.0, "<=", "MiB"),
)


def _watched(contender: Contender, process: Process, growth: list[float]) -> Contender:
    """Record the largest growth of the resident memory of a process during a run."""

    def go() -> Trial:
        process.reset_peak()
        before = process.rss
        trial = contender()
        growth.append((process.peak_rss - before) / MEBIBYTE)
        return trial

    return go


@work(*(p.row for p in PROVIDER), *MEMORY)
def provider(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure our provider, which reads and drops, or saves; its memory is measured in every run, even the warm-up."""
    mebibytes = bench.count(256, 64)
    path = bench.material.large(mebibytes)
    size = mebibytes * MEBIBYTE
    pairings = [p for p in PROVIDER if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    growth: dict[str, list[float]] = {"ours": [], "save": []}
    contenders: dict[str, Contender] = {}
    if used & {"ours"} or MEMORY[0].name in wanted:
        ours = bench.ours()
        contenders["ours"] = _watched(counting(bench.storescu(ours, path, 1), ours, 1, size), ours, growth["ours"])
    if "uvloop" in used:
        quick = bench.ours("aiodimse-uvloop", loop="uvloop")
        contenders["uvloop"] = counting(bench.storescu(quick, path, 1), quick, 1, size)
    if "storescp" in used:
        contenders["storescp"] = bench.storescu(bench.storescp("--ignore"), path, 1)
    if "save" in used or MEMORY[1].name in wanted:
        target = bench.new_folder("saved")
        saving = bench.ours("aiodimse-save", store="save", folder=target)
        contenders["save"] = _watched(emptying(bench.storescu(saving, path, 1), target, 1), saving, growth["save"])
    if "storescp save" in used:
        storescp = bench.storescp("+B")
        contenders["storescp save"] = emptying(bench.storescu(storescp, path, 1), storescp.received, 1)
    trials = interleaved(contenders, bench.pairs)
    figures = [ratio(p.row, trials, p.ours, p.peer) for p in pairings]
    for row, name in zip(MEMORY, ("ours", "save"), strict=True):
        if row.name in wanted:
            problem = next((t.problem for t in trials[name] if t.problem), "")
            values = [max(growth[name], default=0.0)] if growth[name] else []
            figures.append(limit(row, values, f"{max(growth[name], default=0):.1f} MiB", problem))
    return figures


BOTH = (
    Pairing(Row("large-pair", "256 MiB ours to ours", "a bare asyncio socket pair", 0.5), "ours", "bare"),
    Pairing(Row("large-pair-uvloop", "the same on uvloop", "a bare pair on uvloop"), "uvloop", "bare uvloop"),
    Pairing(Row("large-send", "256 MiB to storescp --ignore, our user", "storescu"), "user", "storescu"),
)
USER_MEMORY = Row("large-send-memory", "256 MiB sent from a file: peak RSS growth of our user", "", 16.0, "<=", "MiB")


@work(*(p.row for p in BOTH), USER_MEMORY)
def both(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare a transfer from a file in our user to a handler in our provider with asyncio moving as many bytes."""
    mebibytes = bench.count(256, 64)
    path, size = bench.material.large(mebibytes), mebibytes * MEBIBYTE
    pairings = [p for p in BOTH if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    growth: list[float] = []
    contenders: dict[str, Contender] = {}
    for name, loop in (("ours", "asyncio"), ("uvloop", "uvloop")):
        if name in used or (name == "ours" and USER_MEMORY.name in wanted):
            provider = bench.ours(f"aiodimse-{name}", loop=loop)
            user = bench.worker("ours_user", f"user-{name}", loop=loop)
            go = counting(commanded(user, "store", 1, provider, port=provider.port, folder=path), provider, 1, size)
            contenders[name] = _watched(go, user, growth if name == "ours" else [])
            if (bare := f"bare{' uvloop' if name == 'uvloop' else ''}") in used:
                sink, source = (bench.worker("bare", f"{w}-{loop}", what="sink", loop=loop) for w in ("sink", "source"))
                contenders[bare] = commanded(source, "send", 1, sink, port=sink.port, size=size)
    if "user" in used:
        storescp, user = bench.storescp("--ignore"), bench.worker("ours_user", "user-to-storescp")
        contenders["user"] = commanded(user, "store", 1, storescp, port=storescp.port, folder=path)
        contenders["storescu"] = bench.storescu(storescp, path, 1)
    trials = interleaved(contenders, bench.pairs)
    figures = [ratio(p.row, trials, p.ours, p.peer) for p in pairings]
    if USER_MEMORY.name in wanted:
        problem = next((t.problem for t in trials["ours"] if t.problem), "")
        values = [max(growth)] if growth else []
        figures.append(limit(USER_MEMORY, values, f"{max(growth, default=0):.1f} MiB", problem))
    return figures
