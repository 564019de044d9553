"""Frames of encapsulated pixels whose offset table is damaged: the right frame or none, never a part of another."""

from __future__ import annotations

from io import BytesIO
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

import aiodimse
from aiodimse.datasets.pixels import encapsulated

FRAMES = [b"\xff\xd8" + bytes([number]) * (10 + 2 * number) + b"\xff\xd9" for number in (1, 2, 3, 4)]
END = pack("<HHL", 0xFFFE, 0xE0DD, 0)


def table(*offsets: int) -> bytes:
    return pack("<HHL", 0xFFFE, 0xE000, 4 * len(offsets)) + pack(f"<{len(offsets)}L", *offsets)


def body(frames: list[bytes], fragments: int) -> tuple[bytes, list[int]]:
    value = encapsulate(frames, fragments_per_frame=fragments, has_bot=True)
    size = 4 * len(frames)
    offsets = [int.from_bytes(value[at : at + 4], "little") for at in range(8, 8 + size, 4)]
    return value[8 + size :], offsets


def opened(value: bytes, how: str) -> Any:
    if how == "bytes":
        return value
    if how == "closed bytes":
        return value + END
    file = BytesIO(b"before" + value + END + b"behind")
    file.seek(6)
    return file


def found(value: bytes, how: str, number: int) -> list[bytes | None]:
    """Each frame; None where it is refused."""
    frames: list[bytes | None] = []
    for index in range(number):
        try:
            frames.append(aiodimse.EncapsulatedFrames(opened(value, how), number)[index])
        except aiodimse.DatasetDecodeError:
            frames.append(None)
    return frames


HOW = pytest.mark.parametrize("how", ["bytes", "closed bytes", "file"])
MANY = pytest.mark.parametrize("many", [0, 1024], ids=["by its entry", "by all"])


@HOW
@MANY
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_by_a_sound_table(how: str, many: int, fragments: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encapsulated, "_MANY", many)
    rest, offsets = body(FRAMES, fragments)
    assert found(table(*offsets) + rest, how, 4) == FRAMES
    assert list(aiodimse.EncapsulatedFrames(opened(table(*offsets) + rest, how), 4)) == FRAMES


DAMAGED: list[Any] = [
    [],
    [0, 0, 0, 0],
    "swapped",
    "later",
    "off by two",
    "first",
    [0, 1 << 31, (1 << 31) + 2, 0xFFFFFFFF],
    [0, 8, 16, 24],
    [8, 16, 24, 32],
    [0, 1, 2, 3],
    [0],
    [0, 22, 44, 66, 88],
]


@HOW
@MANY
@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_a_damaged_table_is_not_used(
    how: str, many: int, fragments: int, damage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encapsulated, "_MANY", many)
    rest, offsets = body(FRAMES, fragments)
    damaged = {
        "swapped": [offsets[0], offsets[2], offsets[1], offsets[3]],
        "later": [*offsets[1:], len(rest)],
        "off by two": [0, *(offset + 2 for offset in offsets[1:])],
        "first": [2, *offsets[1:]],
    }
    value = table(*(damage if isinstance(damage, list) else damaged[damage])) + rest
    assert found(value, how, 4) == FRAMES, "their fragments and markers separate them all the same"


@given(offsets=st.lists(st.integers(0, 120), min_size=4, max_size=4), fragments=st.integers(1, 3))
def test_any_table(offsets: list[int], fragments: int) -> None:
    rest, sound = body(FRAMES, fragments)
    starts = _starts(rest)
    grouped = sorted(set(offsets)) == offsets and not offsets[0] and set(offsets) <= starts
    if fragments > 1 and grouped and offsets != sound:
        return  # a sound table of other frames, whose fragments are whole
    assert found(table(*offsets) + rest, "bytes", 4) == FRAMES


def _starts(rest: bytes) -> set[int]:
    starts, at = set[int](), 0
    while at < len(rest):
        starts.add(at)
        at += 8 + int.from_bytes(rest[at + 4 : at + 8], "little")
    return starts


@pytest.mark.parametrize("number", [2, 5])
@pytest.mark.parametrize("offsets", [(), (0, 2), (0, 0), (0, 22, 44, 66)])
def test_frames_that_nothing_separates_are_refused(number: int, offsets: tuple[int, ...]) -> None:
    rest = encapsulate([b"\1" * 8, b"\2" * 8, b"\3" * 8], has_bot=False)[8:]
    assert found(table(*offsets) + rest, "bytes", number) == [None] * number


@HOW
@pytest.mark.parametrize("value", [b"", b"\xfe\xff", table() + b"\xfe\xff\x00\xe0\xff\xff\xff\x7f\1\2", b"\1" * 40])
def test_no_fragments(value: bytes, how: str) -> None:
    assert found(value, how, 2) == [None] * 2


def test_no_such_frame() -> None:
    frames = aiodimse.EncapsulatedFrames(encapsulate(FRAMES), 4)
    assert len(frames) == 4
    for index in (-1, 4):
        with pytest.raises(IndexError):
            frames[index]
