"""C-FIND with 10,000 distinct responses, each looked at by the user."""

from __future__ import annotations

from benchmarks.bench import Bench, Pairing, asked, compare, work
from benchmarks.measure import Contender, Figure, Row

PAIRINGS = (
    Pairing(Row("find", "C-FIND, 10,000 responses, ours to ours", "pynetdicom to pynetdicom", 8), "ours", "pynetdicom"),
    Pairing(Row("find-uvloop", "the same on uvloop", "pynetdicom to pynetdicom"), "uvloop", "pynetdicom"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def find(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """The same function makes the data sets in both providers, the same one checks three values in both users."""
    count = bench.count(10_000)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    contenders: dict[str, Contender] = {}
    for name, loop in (("ours", "asyncio"), ("uvloop", "uvloop")):
        if name in used:
            provider = bench.ours(f"aiodimse-{name}", find=count, loop=loop)
            user = bench.worker("ours_user", f"user-{name}", loop=loop)
            contenders[name] = asked(user, "find", count, provider, port=provider.port)
    provider, user = bench.worker("netdicom", serve=True, find=count), bench.worker("netdicom", "netdicom-user")
    contenders["pynetdicom"] = asked(user, "find", count, provider, port=provider.port)
    return compare(bench, contenders, pairings)
