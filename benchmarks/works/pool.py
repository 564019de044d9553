"""C-STORE over several associations at once."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Pairing, commanded, compare, work
from benchmarks.measure import Contender, Figure, Row, Trial
from benchmarks.processes import HOST, NODELAY, environment, need

ASSOCIATIONS = 4
PAIRINGS = (
    Pairing(
        Row("pool-ct", "2,000 CT over 4 associations of a pool to storescp --fork", "4 storescu", 1.0),
        "ours",
        "storescu",
    ),
    Pairing(Row("pool-ct-uvloop", "the same on uvloop", "4 storescu"), "uvloop", "storescu"),
)


def _side_by_side(provider: Any, folders: list[Path], count: int) -> Contender:
    """Make a contender of one storescu per folder, all at once, from the start of the first to the end of the last."""

    def go() -> Trial:
        started = time.perf_counter()
        users = [
            subprocess.Popen(
                [need("storescu"), "-R", "-aec", "ANY-SCP", HOST, str(provider.port), "+sd", str(folder)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(NODELAY), text=True,
            )
            for folder in folders
        ]  # fmt: skip
        said = [user.communicate(timeout=120)[0] for user in users]
        seconds = time.perf_counter() - started
        provider.check()
        bad = [line for text in said for line in text.splitlines() if line[:2] in ("E:", "F:")]
        codes = [user.returncode for user in users if user.returncode]
        return Trial(count, seconds, f"storescu said {bad[:1] or codes}" if bad or codes else "")

    return go


@work(*(pairing.row for pairing in PAIRINGS))
def pool(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare one event loop that sends over four associations with four processes of one each."""
    count = bench.count(2_000)
    files = bench.material.copies("CT_small", count)
    quarters = [bench.new_folder(f"quarter-{number}") for number in range(ASSOCIATIONS)]
    for number, path in enumerate(sorted(files.iterdir())):
        shutil.copy(path, quarters[number % ASSOCIATIONS])
    storescp = bench.storescp("--fork", "--ignore")
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {p.ours for p in pairings}
    contenders: dict[str, Contender] = {}
    for name, loop in (("ours", "asyncio"), ("uvloop", "uvloop")):
        if name in used:
            user = bench.worker("ours_user", f"user-{name}", loop=loop)
            contenders[name] = commanded(
                user, "pool", count, storescp, port=storescp.port, folder=files, size=ASSOCIATIONS
            )
    contenders["storescu"] = _side_by_side(storescp, quarters, count)
    return compare(bench, contenders, pairings)
