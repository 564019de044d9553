"""The fuzzer's inputs, a few of them with every run (the scoreboard tries a million), and how decoders' work grows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
from fuzz import decoders
from steps import lines_run

from aiodimse.datasets import decode_dataset
from aiodimse.datasets.walk import walk
from aiodimse.dimse import command
from aiodimse.errors import AiodimseError
from aiodimse.pdu import decode


def test_mutated_captures() -> None:
    for data in decoders.mutations(3000):
        try:
            decoders.try_all(data)
        except Exception as error:
            pytest.fail(f"{type(error).__name__} from {data.hex()}")


def test_the_corpus_of_the_fuzzer(tmp_path: Path) -> None:
    found, given = decoders.corpus(tmp_path)
    assert list(Path(found).iterdir()) == []
    assert {path.read_bytes() for path in Path(given).iterdir()} == set(decoders.seeds())
    assert decoders.corpus(tmp_path) == [found, given]


# --- linear time ------------------------------------------------------------------------------------------------------


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def explicit(tag: int, vr: bytes, value: bytes = b"", length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    if vr in (b"SQ", b"UN", b"OB"):
        return pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length) + value
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length) + value


OPEN = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ENDS = implicit(ITEM_END) + implicit(SEQUENCE_END)


def a_command(elements: bytes) -> bytes:
    """An N-GET-RQ."""
    numbers = ((0x0100, 0x0110), (0x0110, 1), (0x0800, 0x0101))
    return b"".join(implicit(tag, pack("<H", number)) for tag, number in numbers) + elements


def a_request(*items: bytes) -> bytes:
    body = b"\0\1\0\0" + b"ANY-SCP".ljust(16) * 2 + bytes(32) + b"".join(items)
    return pack(">BxL", 1, len(body)) + body


def item(kind: int, value: bytes = b"") -> bytes:
    return pack(">BxH", kind, len(value)) + value


def context(number: int, *syntaxes: bytes) -> bytes:
    return item(0x20, bytes((number % 256, 0, 0, 0)) + item(0x30, b"1.2") + b"".join(syntaxes))


def role(number: int) -> bytes:
    return item(0x54, uid(f"1.{number}") + b"\1\1")


def uid(value: str) -> bytes:
    return pack(">H", len(value)) + value.encode()


def related(number: int) -> bytes:
    return pack(">H", 5 * number) + uid("1.3") * number


# Each makes what is so many of the same.
SHAPES: dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes]]] = {
    "a command set of unknown elements": (
        command.decode,
        lambda n: a_command(b"".join(implicit(0x0000_2000 + i) for i in range(n))),
    ),
    "a command set with a long list of tags": (
        command.decode,
        lambda n: a_command(implicit(0x0000_1005, bytes(4 * n))),
    ),
    "presentation contexts": (decode, lambda n: a_request(*[context(i, item(0x40, b"1.2")) for i in range(n)])),
    "transfer syntaxes": (decode, lambda n: a_request(context(1, *[item(0x40, b"1.2")] * n))),
    "unknown items": (decode, lambda n: a_request(*[item(0x99)] * n)),
    "user items": (decode, lambda n: a_request(item(0x50, b"".join(role(i) for i in range(n))))),
    "related SOP classes": (decode, lambda n: a_request(item(0x50, item(0x57, uid("1.2") * 2 + related(n))))),
    "presentation data values": (
        decode,
        lambda n: pack(">BxL", 4, 6 * n) + pack(">LBB", 2, 1, 0) * n,
    ),
}
ELEMENTS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "empty elements": (decoders.IMPLICIT, lambda n: b"".join(implicit(0x0009_1000 + i) for i in range(n))),
    "empty elements with their VR": (
        decoders.EXPLICIT,
        lambda n: b"".join(explicit(0x0009_1000 + i, b"LO") for i in range(n)),
    ),
    "the same element": (decoders.EXPLICIT, lambda n: explicit(0x0010_0010, b"PN", b"A^") * n),
    "items": (decoders.EXPLICIT, lambda n: explicit(0x0008_1140, b"SQ", implicit(ITEM) * n)),
    "open items": (
        decoders.EXPLICIT,
        lambda n: (
            explicit(0x0008_1140, b"SQ", length=OPEN)
            + (implicit(ITEM, length=OPEN) + implicit(ITEM_END)) * n
            + implicit(SEQUENCE_END)
        ),
    ),
    "sequences in sequences": (
        decoders.IMPLICIT,
        lambda n: ((implicit(0x0008_1140, length=OPEN) + implicit(ITEM, length=OPEN)) * 60 + ENDS * 60) * (n // 60),
    ),
    "unknown VRs, open": (
        decoders.EXPLICIT,
        lambda n: (explicit(0x0009_1001, b"UN", length=OPEN) + implicit(ITEM) + implicit(SEQUENCE_END)) * n,
    ),
    "fragments": (
        decoders.EXPLICIT,
        lambda n: explicit(0x7FE0_0010, b"OB", length=OPEN) + implicit(ITEM) * n + implicit(SEQUENCE_END),
    ),
}
for _name, (_syntax, _make) in ELEMENTS.items():
    SHAPES[f"walk, {_name}"] = (lambda data, syntax=_syntax: walk(data, syntax), _make)  # type: ignore[misc]
    SHAPES[f"decode_dataset, {_name}"] = (lambda data, syntax=_syntax: decode_dataset(data, syntax), _make)  # type: ignore[misc]


def steps(decoder: Callable[[bytes], object], data: bytes) -> int:
    """Lines of Python that it takes, its libraries included."""

    def decode() -> None:
        with suppress(AiodimseError):
            decoder(data)

    return lines_run(decode)


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_linear_in_the_length(shape: str) -> None:
    """Four times as many, four times the steps; quadratic would be sixteen."""
    decoder, make = SHAPES[shape]
    few, many = make(240), make(960)
    with suppress(AiodimseError):
        decoder(many)  # what is looked up once for all is looked up
    assert steps(decoder, many) < 8 * steps(decoder, few)
