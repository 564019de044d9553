"""Chooses the media type of a response by what the client accepts (PS3.18 8.7.5, RFC 9110 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_BETWEEN_COMMAS: Final = re.compile(r'(?:"[^"]*"|[^",])+')
_BETWEEN_SEMICOLONS: Final = re.compile(r'(?:"[^"]*"|[^";])+')
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True)
class _MediaType:
    """A media type or a media range, and its parameters, all in lower case."""

    name: str
    parameters: dict[str, str]


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str | None:
    """Choose the media type of a response.

    Args:
        accept: The Accept header or the accept query parameter of the request, such as
            `multipart/related; type="application/dicom"; q=0.5, application/dicom`. None or empty: any is accepted.
        offered: The media types that the response can have, the default first.

    Returns:
        The one that the client prefers, and the earlier one of two; None if it accepts none of them: the answer is 406.
        A media range that is not valid is ignored, and so is a parameter that the media type does not have.

    Example:
        ```python
        offered = ["application/dicom+json", "application/json"]
        assert dicomweb.choose_media_type("application/json, */*;q=0.1", offered) == "application/json"
        assert dicomweb.choose_media_type("application/dicom+xml", offered) is None
        ```
    """
    if not accept:
        return offered[0]
    ranges = list(_weighted_ranges(accept))
    weights = [_weight_of(_parsed(media_type), ranges) for media_type in offered]
    best = max(weights)
    return offered[weights.index(best)] if best > 0 else None


def _parsed(text: str) -> _MediaType:
    name, *parameters = _BETWEEN_SEMICOLONS.findall(text.lower()) or [""]
    pairs = (each.partition("=")[::2] for each in parameters)
    return _MediaType(name.strip(), {key.strip(): value.strip().strip('"') for key, value in pairs})


def _weighted_ranges(accept: str) -> Iterator[tuple[_MediaType, float]]:
    for text in _BETWEEN_COMMAS.findall(accept):
        found = _parsed(text)
        weight = found.parameters.pop("q", "1")
        if _WEIGHT.fullmatch(weight):
            yield found, float(weight)


def _weight_of(media_type: _MediaType, ranges: list[tuple[_MediaType, float]]) -> float:
    """Return the weight of the most specific range that the media type is in (RFC 9110 12.5.1); 0 if there is none."""
    fitting = [
        (precision, weight) for each, weight in ranges if (precision := _precision(each, media_type)) is not None
    ]
    return max(fitting, default=(0, 0.0))[1]


def _precision(media_range: _MediaType, media_type: _MediaType) -> int | None:
    """Return how precisely the range names the media type; None if the media type is not in it."""
    if not _is_in(media_type.name, media_range.name):
        return None
    precision = 2 - media_range.name.count("*")
    for name, wanted in media_range.parameters.items():
        if name in media_type.parameters:
            if not _is_in(media_type.parameters[name], wanted):
                return None
            precision += "*" not in wanted
    return precision


def _is_in(value: str, wanted: str) -> bool:
    """Return whether a value is the wanted one, which may be "*", "*/*" or "image/*"."""
    return wanted in (value, "*", "*/*") or (wanted.endswith("/*") and value.startswith(wanted[:-1]))
