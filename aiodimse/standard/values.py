"""UIDs, AE titles and text of peers: what is valid (PS3.5 6.2, 9.1), how it is read and how it is written to a log."""

from __future__ import annotations

import re

UID_LENGTH = 64
AE_TITLE_LENGTH = 16

_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)


def is_uid(text: object) -> bool:
    """Return whether this is a UID: numbers with dots between them, 64 characters at most (PS3.5 9.1).

    A number may begin with 0, although PS3.5 9.1 forbids it, because some private UIDs have one. See
    `has_leading_zero`.
    """
    return isinstance(text, str) and len(text) <= UID_LENGTH and _UID.fullmatch(text) is not None


def has_leading_zero(uid: str) -> bool:
    """Return whether a number in a UID, other than 0, begins with 0. PS3.5 9.1 forbids such UIDs to their creators."""
    return any(number[0] == "0" != number for number in uid.split("."))


def trimmed_ae_title(title: str) -> str:
    """Return an AE title without spaces at its ends (PS3.8 9.3.2), and without all that follows the first NUL.

    The standard does not allow NUL as padding; some peers send it, with old bytes behind it.
    """
    return title.partition("\0")[0].strip(" ")


def is_ae_title(title: object) -> bool:
    """Return whether this is an AE title: 1 to 16 printable ASCII characters, no backslash, not blank (PS3.5 6.2)."""
    return (
        isinstance(title, str)
        and title.isascii()
        and title.isprintable()
        and "\\" not in title
        and bool(title.strip(" "))
        and len(title) <= AE_TITLE_LENGTH
    )


def escaped(text: str) -> str:
    """Return text of a peer for a log: on one line, without control characters, in ASCII."""
    return ascii(text)[1:-1]
