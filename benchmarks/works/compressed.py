"""Compressed slices for a peer that accepts no compression: they are decompressed while they are sent."""

from __future__ import annotations

import statistics

from aiodimse.standard.transfer_syntax import JPEG2000Lossless, JPEGLosslessSV1
from benchmarks.bench import Bench, Pairing, commanded, compare, dcmtk_user, work
from benchmarks.measure import Contender, Figure, Row, Trial, interleaved, limit
from benchmarks.processes import HOST, need

ASSOCIATIONS = 2
SENT = "slices of 512 x 512 sent decompressed to storescp --ignore, our pool of 2"
JPEG = Pairing(Row("transcode-jpeg", f"300 JPEG Lossless {SENT}", "dcmsend", 1.0), "ours", "dcmsend")
JPEG_2000 = Row("transcode-jpeg-2000", f"300 JPEG 2000 {SENT}", "", 30, ">=", "/s")
STALL = Row("transcode-stall", "the longest stall of the event loop meanwhile", "", 50, "<=", "ms")


@work(JPEG.row)
def jpeg(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare with dcmsend, which decompresses lossless images, except JPEG 2000, on its one association."""
    count = bench.count(300)
    files = bench.material.compressed(JPEGLosslessSV1, count)
    storescp = bench.storescp("--fork", "--ignore", "+xe")
    command = [need("dcmsend"), "-aec", "ANY-SCP", HOST, str(storescp.port), "+sd", files]
    contenders: dict[str, Contender] = {
        "ours": commanded(
            bench.worker("ours_user"), "pool", count, storescp, port=storescp.port, folder=files, size=ASSOCIATIONS
        ),
        "dcmsend": dcmtk_user(command, storescp, count, "Received C-STORE Response (Success)", nodelay=True),
    }
    return compare(bench, contenders, [JPEG])


@work(JPEG_2000, STALL)
def jpeg_2000(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Measure slices per second on two processors, one of which also runs the event loop. The first run, in which the
    processes start, does not count."""
    count = bench.count(300)
    files = bench.material.compressed(JPEG2000Lossless, count)
    storescp, user = bench.storescp("--fork", "--ignore", "+xe"), bench.worker("ours_user")
    stalls: list[float] = []

    def go() -> Trial:
        said = user.ask("pool", port=storescp.port, folder=files, size=ASSOCIATIONS)
        storescp.check()
        stalls.append(said["stall"] * 1000)
        return Trial(said["done"], said["seconds"], "" if said["done"] == count else f"{said['done']} of {count} done")

    trials = interleaved({"ours": go}, bench.pairs)["ours"]
    problem = next((trial.problem for trial in trials if trial.problem), "")
    rates, stall = [trial.rate for trial in trials], stalls[1:]
    seconds = statistics.median(trial.seconds for trial in trials)
    figures = [
        limit(JPEG_2000, rates, f"{seconds:.2f} s", problem),
        limit(STALL, stall, f"{statistics.median(stall):.1f} ms", problem),
    ]
    return [figure for figure in figures if figure.row.name in wanted]
