"""Peers with Nagle's algorithm on, which is their default, and the cost of an import."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.bench import Bench, Pairing, commanded, compare, counting, work
from benchmarks.measure import Figure, Row, limit
from benchmarks.processes import ROOT, Process, free_port, need, run

PAIRINGS = (
    Pairing(Row("nagle-echo", "500 C-ECHO of stock echoscu, our provider", "stock storescp", 100), "echo", "echo scp"),
    Pairing(Row("nagle-store", "100 CT from stock storescu, our provider", "stock storescp"), "store", "store scp"),
    Pairing(Row("nagle-send", "100 CT to stock storescp, our user", "stock storescu"), "send", "store scp"),
    Pairing(Row("nagle-echo-user", "500 C-ECHO to stock storescp, our user", "stock echoscu"), "ask", "echo scp"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def nagle(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """DCMTK writes a PDU in two pieces; the second waits for the acknowledgment of the first (docs/topics/flow.md)."""
    echoes, stores = bench.count(500, 50), bench.count(100, 20)
    files = bench.material.copies("CT_small", stores)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}
    ours, storescp = bench.ours(), bench.storescp("--ignore", nodelay=False)
    user, port = bench.worker("ours_user"), storescp.port
    makers: dict[str, Any] = {
        "echo": lambda: bench.echoscu(ours, echoes, nodelay=False),
        "ask": lambda: commanded(user, "echo", echoes, storescp, port=port, times=echoes),
        "echo scp": lambda: bench.echoscu(storescp, echoes, nodelay=False),
        "store": lambda: counting(bench.storescu(ours, files, stores, nodelay=False), ours, stores),
        "send": lambda: commanded(user, "store", stores, storescp, port=port, folder=files),
        "store scp": lambda: bench.storescu(storescp, files, stores, nodelay=False),
    }
    return compare(bench, {name: make() for name, make in makers.items() if name in used}, pairings)


ORTHANC = Row("nagle-orthanc", "100 CT to Orthanc as it comes, our user", "stock storescu")
_CONFIGURATION = """{{
 "Name": "bench", "DicomAet": "ORTHANC", "DicomPort": {dicom}, "HttpPort": {http}, "RemoteAccessAllowed": false,
 "StorageDirectory": "{folder}/store", "IndexDirectory": "{folder}/index", "DicomCheckCalledAet": false,
 "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "OverwriteInstances": true, "Plugins": []
}}
"""


@work(ORTHANC)
def orthanc(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare on Orthanc, which indexes and stores the objects in both cases."""
    stores = bench.count(100, 20)
    files, folder, port = bench.material.copies("CT_small", stores), bench.new_folder("orthanc"), free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(_CONFIGURATION.format(dicom=port, http=free_port(), folder=folder), encoding="ascii")
    process: Any = Process("orthanc", [need("Orthanc"), str(configuration)], folder)
    bench.stopping(process)
    process.wait_for_port(port)
    process.port = port
    user = bench.worker("ours_user")
    contenders = {
        "ours": commanded(user, "store", stores, process, port=port, folder=files),
        "peer": bench.storescu(process, files, stores, nodelay=False),
    }
    return compare(bench, contenders, [Pairing(ORTHANC, "ours", "peer")])


IMPORT = Row("import", "import aiodimse, beyond pydicom, asyncio and ssl", "", 60, "<=", "ms")


@work(IMPORT)
def importing(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Have fresh interpreters time the import. Bytecode exists after the first."""
    code = (
        "import pydicom, asyncio, ssl, time\n"
        "started = time.perf_counter()\n"
        "import aiodimse\n"
        "print(1000 * (time.perf_counter() - started))"
    )
    took, problem = list[float](), ""
    for _ in range(5 if bench.quick else 15):
        trial, printed = run([sys.executable, "-c", code], done=1, cwd=ROOT, output=True)
        if trial.problem:
            problem = trial.problem
        else:
            took.append(float(printed))
    text = f"{min(took):.0f} to {max(took):.0f} ms" if took else ""
    return [limit(IMPORT, took, text, problem)]
