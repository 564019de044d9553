"""Reads runs of plain elements: whole ones, in order, in Explicit VR Little Endian, of defined length.

Nearly all elements of most headers are plain, and the objects of a series have the same ones, with values of the same
lengths for the most part. So a run that was read an element at a time is remembered, and the next one like it is read
and compared at once, which takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

# PS3.5 Tables 7.1-1 and 7.1-2: VRs with a length of two bytes, and with two reserved bytes and a length of four.
SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
DELIMITERS: Final = 0xFFFE0000
"""The first tag of items and delimiters (PS3.5 7.5)."""

_HEADER: Final = Struct("<HH2sH").unpack_from
"""Reads tag, VR and a length of two bytes."""
_LONG_LENGTH: Final = Struct("<8xL").unpack_from
"""Reads a length of four bytes."""
_LONGEST: Final = 128
"""The most elements of a run."""
_MOST: Final = 512
"""The most runs that are remembered, of some kilobytes each. A peer that sends others makes them forgotten, which costs
time and nothing else."""


class Place(NamedTuple):
    """How far a data set has been read."""

    at: int
    """The position of the next element in the data."""
    reached: int
    """The tag of the last element."""
    left: int
    """How many more elements may be read."""


class _Run:
    """What is known of elements that were next to each other.

    Args:
        headers: Tag, VR and length of each element, encoded.
        wanted: The tags of the elements that are kept.
    """

    __slots__ = ("count", "first", "headers", "headers_in", "kept", "last", "size", "values_in")

    def __init__(self, headers: Sequence[bytes], wanted: Collection[int]) -> None:
        elements = [(*_tag_and_length(header), len(header)) for header in headers]
        of_headers = Struct("".join(f"{size}s{length}x" for _, length, size in elements))
        of_values = Struct("".join(f"{size}x{length}{'s' if tag in wanted else 'x'}" for tag, length, size in elements))
        self.headers, self.count = tuple(headers), len(headers)
        self.headers_in, self.values_in = of_headers.unpack_from, of_values.unpack_from
        self.kept = tuple(tag for tag, _, _ in elements if tag in wanted)
        self.size = of_headers.size
        self.first, self.last = elements[0][0], elements[-1][0]


def _tag_and_length(header: bytes) -> tuple[int, int]:
    group, element, _, length = _HEADER(header, 0)
    return group << 16 | element, length if len(header) == 8 else _LONG_LENGTH(header, 0)[0]


def _common(headers: Sequence[bytes], others: Sequence[bytes]) -> Sequence[bytes]:
    """Return what two runs begin with. What follows differs from one object to the next."""
    differ = (number for number, (one, other) in enumerate(zip(headers, others, strict=True)) if one != other)
    return headers[: next(differ)]


class PlainElements:
    """Reads the plain elements that one kind of reader keeps, and remembers their runs. Threads may share it.

    Args:
        wanted: The tags of the elements that are kept.
        is_behind: Whether no wanted tag follows this tag.
    """

    def __init__(self, wanted: Collection[int], is_behind: Callable[[int], bool]) -> None:
        self.wanted: Collection[int] = wanted
        self.is_behind: Callable[[int], bool] = is_behind
        self._runs: dict[bytes, _Run | None] = {}
        """By the first eight bytes; None: these begin an element that is not plain, or behind the last one."""

    def read(self, data: bytes, place: Place, values: MutableMapping[int, Any]) -> Place:
        """Read to the first element that is not plain, not in order, or behind the last one that is kept.

        Args:
            data: The encoded elements.
            place: Where to begin.
            values: Gets the values that are kept.

        Returns:
            The place of that element.
        """
        at, reached, left = place
        while True:
            first = data[at : at + 8]
            run = self._runs.get(first)
            if run is None and first in self._runs:
                return Place(at, reached, left)
            headers: tuple[bytes, ...] = ()
            if run is not None and run.first > reached and run.count <= left and at + run.size <= len(data):
                headers = run.headers_in(data, at)
                if headers == run.headers:
                    values.update(zip(run.kept, run.values_in(data, at), strict=True))
                    at, reached, left = at + run.size, run.last, left - run.count
                    continue
            if run is not None and headers[:1] == run.headers[:1]:
                self._remember_run(_common(headers, run.headers))
                continue
            # No such run is known. The length of its first element may also be in the four bytes behind the eight.
            start, (at, reached, left) = at, self._read_one_by_one(data, Place(at, reached, left), values)
            if at == start:
                return Place(at, reached, left)

    def _read_one_by_one(self, data: bytes, place: Place, values: MutableMapping[int, Any]) -> Place:
        """Read the elements of one run, to where a run begins that is known, and remember it."""
        at, reached, left = place
        headers: list[bytes] = []
        while len(headers) < min(left, _LONGEST) and at + 12 <= len(data):
            group, element, vr, length = _HEADER(data, at)
            tag, start = group << 16 | element, at + 8
            is_long = vr in LONG_VRS and tag not in self.wanted
            if not (is_long or vr in SHORT_VRS) or tag >= DELIMITERS or self.is_behind(tag):
                self._remember(data[at : at + 8], None)
                break
            if is_long:
                (length,), start = _LONG_LENGTH(data, at), at + 12
            end = start + length
            if tag <= reached or end > len(data):
                break
            header = data[at:start]
            if headers and header[:8] in self._runs:
                break
            if tag in self.wanted:
                values[tag] = data[start:end]
            headers.append(header)
            reached, at = tag, end
        if headers:
            self._remember_run(headers)
        return Place(at, reached, left - len(headers))

    def _remember_run(self, headers: Sequence[bytes]) -> None:
        self._remember(headers[0][:8], _Run(headers, self.wanted))

    def _remember(self, first: bytes, run: _Run | None) -> None:
        if len(self._runs) >= _MOST:
            self._runs.clear()
        self._runs[first] = run
