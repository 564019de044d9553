"""C-FIND with 10,000 distinct responses, each looked at by the user."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench, Pairing, asked, compare, work
from benchmarks.measure import Contender, Figure, Row

FIND = "C-FIND, 10,000 responses, ours to ours"
PEER = "pynetdicom to pynetdicom"
PAIRINGS = (
    Pairing(Row("find", FIND, PEER, 8), "ours", "pynetdicom"),
    Pairing(Row("find-uvloop", "the same on uvloop", PEER), "uvloop", "pynetdicom"),
    Pairing(Row("find-making", f"{FIND}, data sets made by the handler", PEER), "ours making", "pynetdicom making"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def find(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """The same data sets in both providers, and the same function checks three values of each in both users."""
    count = bench.count(10_000)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}

    def ours(name: str, *, loop: str = "asyncio", making: bool = False) -> Contender:
        provider = bench.ours(f"aiodimse-{name}", find=count, loop=loop, making=making)
        user = bench.worker("ours_user", f"user-{name}", loop=loop)
        return asked(user, "find", count, provider, port=provider.port)

    def pynetdicom(*, making: bool = False) -> Contender:
        provider = bench.worker("netdicom", serve=True, find=count, making=making)
        return asked(bench.worker("netdicom", "netdicom-user"), "find", count, provider, port=provider.port)

    makers: dict[str, Callable[[], Contender]] = {
        "ours": lambda: ours("ours"),
        "pynetdicom": pynetdicom,
        "uvloop": lambda: ours("uvloop", loop="uvloop"),
        "ours making": lambda: ours("making", making=True),
        "pynetdicom making": lambda: pynetdicom(making=True),
    }
    return compare(bench, {name: make() for name, make in makers.items() if name in used}, pairings)
