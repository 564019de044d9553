"""The name that an object is saved under: two levels of folders, 16 in each, so that none grows without end.

A folder that is new has to be made, and the one above it flushed to the disk: 1 ms or more. With 256 folders that is
soon over, and a million objects are 3,900 in each. With 65,536 nearly every store of the first 50,000 would pay for it.
"""

from __future__ import annotations

import re
from hashlib import sha256

_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
"""A UID that is a file name of its own (PS3.5 9.1)."""


def hashed_name(sop_instance_uid: str) -> str:
    """Return the location of an instance: never a path that leads out, whatever the peer calls a UID."""
    digest = sha256(sop_instance_uid.encode("utf-8", "surrogatepass")).hexdigest()
    is_plain = len(sop_instance_uid) <= 64 and _PLAIN.fullmatch(sop_instance_uid)
    name = sop_instance_uid if is_plain else f"invalid-uid-{digest[:40]}"
    return f"{digest[0]}/{digest[1]}/{name}.dcm"
