"""C-FIND with 10,000 distinct responses, each of which the user checks, and the time of encoding them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from aiodimse import datasets
from benchmarks.bench import Bench, Pairing, commanded, compare, work
from benchmarks.measure import Contender, Figure, Row, Trial
from benchmarks.peers import answers

FIND = "C-FIND, 10,000 responses, ours to ours"
PEER = "pynetdicom to pynetdicom"
PAIRINGS = (
    Pairing(Row("find", FIND, PEER, 8), "ours", "pynetdicom"),
    Pairing(Row("find-uvloop", "the same on uvloop", PEER), "uvloop", "pynetdicom"),
    Pairing(Row("find-making", f"{FIND}, data sets made by the handler", PEER), "ours making", "pynetdicom making"),
)


@work(*(pairing.row for pairing in PAIRINGS))
def find(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare providers that have the same data sets; the same function checks three values of each in both users."""
    count = bench.count(10_000)
    pairings = [p for p in PAIRINGS if p.row.name in wanted]
    used = {name for p in pairings for name in (p.ours, p.peer)}

    def ours(name: str, *, loop: str = "asyncio", making: bool = False) -> Contender:
        provider = bench.ours(f"aiodimse-{name}", find=count, loop=loop, making=making)
        user = bench.worker("ours_user", f"user-{name}", loop=loop)
        return commanded(user, "find", count, provider, port=provider.port)

    def pynetdicom(*, making: bool = False) -> Contender:
        provider = bench.worker("netdicom", serve=True, find=count, making=making)
        return commanded(bench.worker("netdicom", "netdicom-user"), "find", count, provider, port=provider.port)

    makers: dict[str, Callable[[], Contender]] = {
        "ours": lambda: ours("ours"),
        "pynetdicom": pynetdicom,
        "uvloop": lambda: ours("uvloop", loop="uvloop"),
        "ours making": lambda: ours("making", making=True),
        "pynetdicom making": lambda: pynetdicom(making=True),
    }
    return compare(bench, {name: make() for name, make in makers.items() if name in used}, pairings)


ENCODING = Pairing(
    Row("find-encode", "10,000 C-FIND responses encoded, no network", "pydicom's writer", 2), "ours", "pydicom"
)
EXPLICIT = "1.2.840.10008.1.2.1"


def _encode(dataset: Dataset) -> bytes:
    return datasets.encode_dataset(dataset, EXPLICIT)


def _encode_by_pydicom(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@work(ENCODING.row)
def encoding(bench: Bench, wanted: frozenset[str]) -> list[Figure]:
    """Compare encoders on the same data sets; both must produce the same bytes."""
    matches = answers.prepared(bench.count(10_000))

    def encoded(writer: Callable[[Dataset], bytes]) -> Contender:
        def go() -> Trial:
            started = time.perf_counter()
            found = [writer(match) for match in matches]
            seconds = time.perf_counter() - started
            return Trial(len(found), seconds, "" if found == reference else "other bytes than pydicom's")

        return go

    reference: Sequence[bytes] = [_encode_by_pydicom(match) for match in matches]
    return compare(bench, {"ours": encoded(_encode), "pydicom": encoded(_encode_by_pydicom)}, [ENCODING])
