"""C-ECHO on one association, one at a time, and the gain of an operations window."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench, Pairing, commanded, compare, work
from benchmarks.measure import Contender, Figure, Row, interleaved, ratio

ECHO = "10,000 C-ECHO from echoscu, our provider"
PAIRINGS = (
    Pairing(Row("echo-bare", ECHO, "a bare asyncio server", 0.75), "ours", "bare"),
    Pairing(Row("echo", ECHO, "storescp", 0.55), "ours", "storescp"),
    Pairing(Row("echo-uvloop", f"{ECHO} on uvloop", "storescp", 0.65), "uvloop", "storescp"),
    Pairing(Row("echo-bare-uvloop", f"{ECHO} on uvloop", "a bare server on uvloop"), "uvloop", "bare uvloop"),
    Pairing(Row("echo-pynetdicom", f"{ECHO}", "pynetdicom (of 500)"), "ours", "pynetdicom"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def provider(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure our provider with DCMTK's user, with TCP_NODELAY=1."""
    count = bench.count(10_000)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    makers: dict[str, Callable[[], Contender]] = {
        "ours": lambda: bench.echoscu(bench.ours(), count),
        "bare": lambda: bench.echoscu(bench.worker("bare"), count),
        "storescp": lambda: bench.echoscu(bench.storescp(), count),
        "uvloop": lambda: bench.echoscu(bench.ours("aiodimse-uvloop", loop="uvloop"), count),
        "bare uvloop": lambda: bench.echoscu(bench.worker("bare", "bare-uvloop", loop="uvloop"), count),
        "pynetdicom": lambda: bench.echoscu(bench.worker("netdicom", serve=True), bench.count(500, 50)),
    }
    return compare(bench, {name: make() for name, make in makers.items() if name in used}, pairings)


USER = Row("echo-user", "10,000 C-ECHO to storescp, our user", "echoscu")
WINDOW = Row("echo-window", "10,000 C-ECHO ours to ours, window 16", "window 1", 2.5)


@work(USER)
def user(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure our user."""
    count, storescp = bench.count(10_000), bench.storescp()
    ours = bench.worker("ours_user")
    contenders = {
        "ours": commanded(ours, "echo", count, storescp, port=storescp.port, times=count),
        "peer": bench.echoscu(storescp, count),
    }
    return compare(bench, contenders, [Pairing(USER, "ours", "peer")])


@work(WINDOW)
def window(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare sixteen at once with one at a time, ours to ours."""
    count, provider, user = bench.count(10_000), bench.ours(), bench.worker("ours_user")
    contenders = {
        f"window {n}": commanded(user, "echo", count, provider, port=provider.port, times=count, window=n)
        for n in (16, 1)
    }
    return [ratio(WINDOW, interleaved(contenders, bench.pairs), "window 16", "window 1")]
