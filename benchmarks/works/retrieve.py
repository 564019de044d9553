"""C-GET to getscu and C-MOVE to storescp: 1,000 CT from our provider and from dcmqrscp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Pairing, commanded, compare, emptying, work
from benchmarks.material import STUDY_OF_CT
from benchmarks.measure import Contender, Figure, Row
from benchmarks.processes import HOST, NODELAY, Process, Worker, need, run

PAIRINGS = (
    Pairing(Row("get", "1,000 CT by C-GET to getscu +B, our provider", "dcmqrscp", 1.0), "get ours", "get dcmqrscp"),
    Pairing(
        Row("move", "1,000 CT by C-MOVE to storescp +B, our provider", "dcmqrscp", 1.0), "move ours", "move dcmqrscp"
    ),
    Pairing(Row("get-uvloop", "C-GET, the same on uvloop", "dcmqrscp"), "get uvloop", "get dcmqrscp"),
    Pairing(Row("move-uvloop", "C-MOVE, the same on uvloop", "dcmqrscp"), "move uvloop", "move dcmqrscp"),
    Pairing(Row("get-user", "1,000 CT by C-GET from dcmqrscp, our user", "getscu +B"), "get user", "get dcmqrscp"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def retrieve(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Count files where they arrive, because getscu and movescu exit 0 on failures too."""
    count = bench.count(1_000)
    files = bench.material.copies("CT_small", count)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    destination: Any = bench.storescp("+B")
    archive: Any = bench.dcmqrscp(destination.port)
    fill = bench.storescu(archive, files, count)()
    if fill.problem:
        raise RuntimeError(f"filling dcmqrscp: {fill.problem}")
    providers: dict[str, Any] = {"dcmqrscp": archive}
    for name, loop in (("ours", "asyncio"), ("uvloop", "uvloop")):
        if used & {f"get {name}", f"move {name}"}:
            providers[name] = bench.ours(f"aiodimse-{name}", files=files, destination=destination.port, loop=loop)
    contenders: dict[str, Contender] = {}
    for name in ("ours", "uvloop", "dcmqrscp"):
        if f"get {name}" in used:
            target = bench.new_folder(f"got-{name}")
            contenders[f"get {name}"] = _dcmtk("getscu", providers[name], count, target, "+B", "-od", str(target))
        if f"move {name}" in used:
            contenders[f"move {name}"] = _dcmtk("movescu", providers[name], count, destination.received, "-aem", "DEST")
    if "get user" in used:
        target, user = bench.new_folder("got-user"), bench.worker("ours_user")
        contenders["get user"] = emptying(_user(user, archive, count, target), target, count)
    return compare(bench, contenders, pairings)


def _user(user: Worker, archive: Any, count: int, target: Path) -> Contender:
    return commanded(user, "get", count, archive, port=archive.port, study=STUDY_OF_CT, folder=target, called="ARCHIVE")


def _dcmtk(program: str, provider: Process, count: int, target: Path, *words: str) -> Contender:
    title = "ARCHIVE" if provider.name == "dcmqrscp" else "AIODIMSE"
    command = [
        need(program), "-S", "-aec", title, *words,
        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_OF_CT}", HOST, str(provider.port),
    ]  # fmt: skip

    def go() -> Any:
        trial, _ = run(command, done=count, env=NODELAY)
        provider.check()
        return trial

    return emptying(go, target, count)
