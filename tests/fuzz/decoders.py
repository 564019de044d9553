"""Any bytes into every decoder: a value or the documented error, never another exception.

`try_all` is what the scoreboard counts, what a test runs on a few, and what atheris drives (extra `fuzz`):

    make fuzz                                # coverage-guided, until stopped; .fuzz/ keeps what it learns
    make fuzz FUZZ="-max_total_time=600"     # libFuzzer's options are understood
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from aiodimse.config import Limits
from aiodimse.datasets import decode_dataset
from aiodimse.datasets.walk import walk
from aiodimse.dimse import command
from aiodimse.errors import CommandDecodeError, DatasetDecodeError, PDUDecodeError
from aiodimse.pdu import PDUReader, decode

CAPTURES = Path(__file__).resolve().parents[1] / "data" / "captures"
CORPUS = Path(__file__).resolve().parents[2] / ".fuzz"
IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
_LIMITS = Limits(dataset_in_memory=1 << 20)


def _read(data: bytes) -> None:
    reader = PDUReader(_LIMITS)
    reader.feed(data)
    while reader.next() is not None:
        pass


# What each decoder may raise.
DECODERS: tuple[tuple[Callable[[bytes], object], tuple[type[Exception], ...]], ...] = (
    (decode, (PDUDecodeError,)),
    (_read, ()),
    (command.decode, (CommandDecodeError,)),
    (lambda data: walk(data, IMPLICIT), (DatasetDecodeError,)),
    (lambda data: walk(data, EXPLICIT), (DatasetDecodeError,)),
    (lambda data: walk(data, BIG), (DatasetDecodeError,)),
    (lambda data: decode_dataset(data, IMPLICIT, limits=_LIMITS), (DatasetDecodeError,)),
    (lambda data: decode_dataset(data, EXPLICIT, limits=_LIMITS), (DatasetDecodeError,)),
    (lambda data: decode_dataset(data, DEFLATED, limits=_LIMITS), (DatasetDecodeError,)),
)


def try_all(data: bytes) -> None:
    """Raises what a decoder was not to raise."""
    for decoder, documented in DECODERS:
        with suppress(*documented):
            decoder(data)


def seeds() -> list[bytes]:
    """PDUs of the captures, and what follows their first twelve bytes: in a P-DATA-TF a command set or data set."""
    found: set[bytes] = set()
    for path in sorted(CAPTURES.glob("*.dul")):
        for line in path.read_text(encoding="ascii").splitlines():
            pdu = bytes.fromhex(line.split()[1])[:4096]
            found.update((pdu, pdu[12:]))
    return sorted(found - {b""})


def mutations(number: int, seed: int = 1) -> Iterator[bytes]:
    """So many inputs, the same each time: seeds with bytes changed, cut out, doubled or put in from another."""
    rng = random.Random(seed)
    from_captures = seeds()
    for _ in range(number):
        data = bytearray(rng.choice(from_captures))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            length = rng.choice((1, 1, 2, 4, rng.randint(1, 64)))
            match rng.randrange(5):
                case 0:
                    data[at : at + length] = rng.randbytes(length)
                case 1:
                    del data[at : at + length]
                case 2:
                    data[at:at] = data[at : at + length]
                case 3:
                    data[at : at + length] = rng.choice((b"\0", b"\xff")) * length
                case _:
                    other = rng.choice(from_captures)
                    start = rng.randrange(len(other) + 1)
                    data[at : at + length] = other[start : start + length]
        yield bytes(data)


def corpus(folder: Path) -> list[str]:
    """Write the seeds; the folders for libFuzzer: first the one that it adds to."""
    found, given = folder / "found", folder / "seeds"
    for path in (found, given):
        path.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (given / hashlib.sha1(seed).hexdigest()).write_bytes(seed)  # as libFuzzer names what it finds
    return [str(found), str(given)]


def main() -> None:
    """Let atheris look for inputs that reach new code, from the seeds on; one that takes 10 s is a finding too."""
    import atheris

    atheris.instrument_all()
    program, *options = sys.argv
    folders = corpus(CORPUS)
    atheris.Settings([program, f"-artifact_prefix={CORPUS}/", "-timeout=10", *options, *folders], try_all)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
