"""C-STORE of many small objects, in both roles."""

from __future__ import annotations

from benchmarks.bench import Bench, Pairing, commanded, compare, counting, emptying, work
from benchmarks.measure import Contender, Figure, Row

PAIRINGS = (
    Pairing(Row("store-mr", "3,000 MR of 10 kB from storescu, our provider", "storescp --ignore", 0.8), "mr", "mr scp"),
    Pairing(Row("store-ct", "2,000 CT of 39 kB from storescu, our provider", "storescp --ignore", 1.0), "ct", "ct scp"),
    Pairing(Row("store-ct-uvloop", "the same on uvloop", "storescp --ignore"), "ct uvloop", "ct scp"),
    Pairing(Row("store-ct-pynetdicom", "the same", "pynetdicom (of 200)"), "ct", "ct pynetdicom"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def provider(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure our handler, which reads and drops every byte of every object; storescp --ignore does the same."""
    mrs, cts, few = bench.count(3_000), bench.count(2_000), bench.count(200)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    ours, ignoring = bench.ours(), bench.storescp("--ignore")
    contenders: dict[str, Contender] = {}
    for kind, name, count, least in (("mr", "MR_small", mrs, 9_000), ("ct", "CT_small", cts, 38_000)):
        if kind in used:
            files = bench.material.copies(name, count)
            contenders[kind] = counting(bench.storescu(ours, files, count), ours, count, count * least)
            contenders[f"{kind} scp"] = bench.storescu(ignoring, files, count)
    files = bench.material.copies("CT_small", cts)
    if "ct uvloop" in used:
        quick = bench.ours("aiodimse-uvloop", loop="uvloop")
        contenders["ct uvloop"] = counting(bench.storescu(quick, files, cts), quick, cts, cts * 38_000)
        contenders["ct scp"] = contenders.get("ct scp") or bench.storescu(ignoring, files, cts)
    if "ct pynetdicom" in used:
        contenders["ct pynetdicom"] = bench.storescu(
            bench.worker("netdicom", serve=True), bench.material.copies("CT_small", few), few
        )
    return compare(bench, contenders, pairings)


SAVES = (
    Pairing(Row("save-ct", "1,000 CT saved to disk, our provider", "storescp +B", 1.0), "ours", "storescp"),
    Pairing(Row("save-ct-fsync", "the same, each with fsync", "storescp +B (no fsync)"), "durable", "storescp"),
    Pairing(Row("save-ct-uvloop", "the same on uvloop, no fsync", "storescp +B"), "uvloop", "storescp"),
)


@work(*(pairing.row for pairing in SAVES))
def save(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare files on disk, counted after each run."""
    count = bench.count(1_000)
    files = bench.material.copies("CT_small", count)
    pairings = [p for p in SAVES if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    contenders: dict[str, Contender] = {}
    for name, store, loop in (
        ("ours", "save", "asyncio"),
        ("durable", "durable", "asyncio"),
        ("uvloop", "save", "uvloop"),
    ):
        if name in used:
            target = bench.new_folder(f"saved-{name}")
            ours = bench.ours(f"aiodimse-{name}", store=store, folder=target, loop=loop)
            contenders[name] = emptying(bench.storescu(ours, files, count), target, count)
    storescp = bench.storescp("+B")
    contenders["storescp"] = emptying(bench.storescu(storescp, files, count), storescp.received, count)
    return compare(bench, contenders, pairings)


SENDS = (
    Pairing(Row("send-mr", "3,000 MR sent to storescp --ignore, our user", "storescu"), "mr", "mr storescu"),
    Pairing(Row("send-ct", "1,000 CT sent to storescp --ignore, our user", "storescu", 1.2), "ours", "storescu"),
    Pairing(Row("send-ct-uvloop", "the same on uvloop", "storescu"), "uvloop", "storescu"),
    Pairing(Row("send-ct-pynetdicom", "the same", "pynetdicom (of 20, Nagle)"), "ours", "pynetdicom"),
)


@work(*(pairing.row for pairing in SENDS))
def send(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure our user in a running process, from opening the files to the end of the release."""
    count, few = bench.count(1_000), bench.count(20, 5)
    files = bench.material.copies("CT_small", count)
    pairings = [p for p in SENDS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    storescp = bench.storescp("--ignore")
    contenders: dict[str, Contender] = {"storescu": bench.storescu(storescp, files, count)}
    if "mr" in used:
        mrs = bench.count(3_000)
        small = bench.material.copies("MR_small", mrs)
        user = bench.worker("ours_user", "user-mr")
        contenders["mr"] = commanded(user, "store", mrs, storescp, port=storescp.port, folder=small)
        contenders["mr storescu"] = bench.storescu(storescp, small, mrs)
    for name, loop in (("ours", "asyncio"), ("uvloop", "uvloop")):
        if name in used:
            user = bench.worker("ours_user", f"user-{name}", loop=loop)
            contenders[name] = commanded(user, "store", count, storescp, port=storescp.port, folder=files)
    if "pynetdicom" in used:
        user = bench.worker("netdicom")
        contenders["pynetdicom"] = commanded(
            user, "store", few, storescp, port=storescp.port, folder=bench.material.copies("CT_small", few)
        )
    # Our side is first in each round.
    order: dict[str, Contender] = {
        name: contenders[name]
        for name in ("mr", "mr storescu", "ours", "uvloop", "storescu", "pynetdicom")
        if name in contenders
    }
    return compare(bench, order, pairings)
