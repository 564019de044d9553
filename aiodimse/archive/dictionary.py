"""What the dictionary of PS3.6 says of an attribute.

The VR in a data set only determines the length of the value, so that no peer can turn matching off with another one.
"""

from __future__ import annotations

from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword


@lru_cache(maxsize=8192)
def keyword_and_vr(tag: int) -> tuple[str, str] | None:
    """Return keyword and VR of an attribute; None if it is private, unknown or a group length."""
    keyword = keyword_for_tag(tag) if tag & 0xFFFF else ""
    return (keyword, dictionary_VR(tag).partition(" ")[0]) if keyword else None  # "US or SS"


@lru_cache(maxsize=1024)
def tag_and_vr(keyword: str) -> tuple[int, str | None]:
    """Return tag and VR of an attribute; 0 and None if there is none of that keyword."""
    tag = tag_for_keyword(keyword) or 0
    return tag, vr_of(tag) if tag else None


def vr_of(tag: int) -> str | None:
    """Return the VR of an attribute; None if it is private or unknown."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return vr if len(vr) == 2 else vr.partition(" ")[0]  # "US or SS"
