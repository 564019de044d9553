"""UIDs and AE titles: what they may be (PS3.5 6.2, 9.1), how they are read, and how text of a peer looks in a log."""

from __future__ import annotations

import re

UID_LENGTH = 64
AE_TITLE_LENGTH = 16

_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)


def is_uid(text: object) -> bool:
    """Whether this is a UID: numbers with dots between them, 64 characters at most (PS3.5 9.1).

    A number that begins with 0 is let pass, against PS3.5 9.1: there are private UIDs that have one. See
    `has_leading_zero`.
    """
    return isinstance(text, str) and len(text) <= UID_LENGTH and _UID.fullmatch(text) is not None


def has_leading_zero(uid: str) -> bool:
    """Whether a number in a UID begins with 0 and is not 0, which PS3.5 9.1 forbids to whoever makes one."""
    return any(number[0] == "0" != number for number in uid.split("."))


def trimmed_ae_title(title: str) -> str:
    """An AE title without what is not significant: spaces at both ends (PS3.8 9.3.2), and all from the first NUL on.

    NUL is padding against the standard; some peers leave old bytes behind it.
    """
    return title.partition("\0")[0].strip(" ")


def is_ae_title(title: object) -> bool:
    """Whether this is an AE title: 1 to 16 printable ASCII characters, no backslash, not only spaces (PS3.5 6.2)."""
    return (
        isinstance(title, str)
        and title.isascii()
        and title.isprintable()
        and "\\" not in title
        and bool(title.strip(" "))
        and len(title) <= AE_TITLE_LENGTH
    )


def escaped(text: str) -> str:
    """Text of a peer for a log: on one line, without control characters, nothing but ASCII."""
    return ascii(text)[1:-1]
