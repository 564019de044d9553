"""Dates, times and date-times as text that sorts, and ranges of them (PS3.4 C.2.2.2.5, PS3.5 6.2).

A moment is padded to its full length, so comparing strings compares moments. A moment with less precision stands for a
period: as a key, "1030" finds everything from 10:30:00 to before 10:31. As a value it stands for the start of that.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

_DATE = re.compile(r"(\d{4})(?:(\d\d)(\d\d)|\.(\d\d)\.(\d\d))\Z", re.ASCII)  # the second form: ACR-NEMA, PS3.5 6.2
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?\Z", re.ASCII)
_OFFSET = r"[+-](?:0\d|1[0-4])[0-5]\d"
_DATETIME = re.compile(
    rf"(\d{{4}})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{{1,6}}))?)?)?)?)?)?({_OFFSET})?\Z", re.ASCII
)
_DATETIME_RANGE = re.compile(rf"([\d.]*(?:{_OFFSET})?)\s*-\s*([\d.]*(?:{_OFFSET})?)\Z", re.ASCII)

_FIRST = ("", "01", "01", "00", "00", "00", "000000")
_LAST = ("", "12", "31", "23", "59", "59", "999999")


@dataclass(frozen=True, slots=True)
class Moment:
    """The first and the last instant that a text stands for, as digits.

    `offset` is in minutes from UTC; None if the text has no offset.
    """

    first: str
    last: str
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A key of VR DA, TM or DT: the first and the last moment that match. None: the range is open at that end."""

    start: Moment | None
    end: Moment | None
    is_range: bool
    """Whether the key is a range; False: it is a single moment."""

    @property
    def low(self) -> str | None:
        """The first instant, as digits; None if the range is open there."""
        return None if self.start is None else self.start.first

    @property
    def high(self) -> str | None:
        """The last instant, as digits; None if the range is open there."""
        return None if self.end is None else self.end.last

    @property
    def form(self) -> tuple[bool, bool]:
        """Which ends of the range are given."""
        return self.start is not None, self.end is not None

    def holds(self, moment: Moment | None) -> bool:
        """Return whether the start of a value is in the range."""
        if moment is None:
            return False
        return (self.start is None or _compare(self.start.first, self.start.offset, moment) <= 0) and (
            self.end is None or _compare(self.end.last, self.end.offset, moment) >= 0
        )


def parse_range(vr: str, text: str) -> Range:
    """Read a key of VR DA, TM or DT. Raises ValueError if it is neither a moment nor a range of moments."""
    text = text.strip()
    if (single := parse(vr, text)) is not None:
        return Range(single, single, is_range=False)
    if vr == "DT":
        # "-" may also begin an offset from UTC. "2020-0500" is a year with an offset, so it is a single moment (above).
        # "2019-2020" is a range, since there is no offset of 20:20.
        match = _DATETIME_RANGE.match(text)
        first, last = match.groups() if match else ("", "")
    else:
        first, _, last = text.partition("-")
    low, high = parse(vr, first), parse(vr, last)
    if (low is None and high is None) or (first.strip() and low is None) or (last.strip() and high is None):
        raise ValueError(f"neither a value of VR {vr} nor a range of them")
    return Range(low, high, is_range=True)


def parse(vr: str, text: str) -> Moment | None:
    """Read one value of VR DA, TM or DT; None: it is not valid."""
    text = text.strip()
    if vr == "DA":
        day = normal_date(text)
        return None if day is None else Moment(day, day)
    match = (_TIME if vr == "TM" else _DATETIME).match(text)
    if match is None:
        return None
    if vr == "TM":
        return Moment(_padded(match.groups(), _FIRST[3:], "0"), _padded(match.groups(), _LAST[3:], "9"))
    *parts, offset = match.groups()
    return Moment(_padded(parts, _FIRST, "0"), _padded(parts, _LAST, "9"), None if offset is None else _minutes(offset))


def normal_date(text: str) -> str | None:
    """Return a date as YYYYMMDD, also if it is in the form YYYY.MM.DD of ACR-NEMA; None: it is not a date."""
    match = _DATE.match(text.strip())
    return None if match is None else "".join(part for part in match.groups() if part)


def _padded(parts: Sequence[str | None], filler: tuple[str, ...], digit: str) -> str:
    *whole, fraction = parts
    filled = [part or fill for part, fill in zip(whole, filler, strict=False)]
    return "".join(filled) + ((fraction or "").ljust(6, digit) if fraction else filler[-1])


def _minutes(offset: str) -> int:
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return -minutes if offset[0] == "-" else minutes


def _compare(bound: str, bound_offset: int | None, moment: Moment) -> int:
    """Compare two moments.

    Offsets count only if both moments have one (PS3.4 C.2.2.2.5.3). Otherwise both are taken as the same local time.
    """
    value = moment.first
    if bound_offset is not None and moment.offset is not None and bound_offset != moment.offset:
        bound, value = _utc(bound, bound_offset), _utc(value, moment.offset)
    return (bound > value) - (bound < value)


def _utc(digits: str, offset: int) -> str:
    year, month, day, hour, minute, second = (int(digits[a:b]) for a, b in pairwise((0, 4, 6, 8, 10, 12, 14)))
    try:
        day = min(day, monthrange(year, month)[1])  # the last instant of "202002" was padded to the 31st
        moment = datetime(year, month, day, hour, minute, min(second, 59)) - timedelta(minutes=offset)
    except (ValueError, OverflowError):  # not a date of the calendar
        return digits
    return f"{moment.year:04d}{moment:%m%d%H%M%S}{digits[14:]}"
