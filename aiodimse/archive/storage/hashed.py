"""The name that an object is saved under: in two levels of folders, 16 in each, so that no folder grows too large.

A new folder has to be made, and the folder above it flushed to the disk, which takes 1 ms or more. 256 folders are soon
made, and with a million objects each holds 3,900. With 65,536 folders, nearly every one of the first 50,000 stores
would have to make one.
"""

from __future__ import annotations

import re
from hashlib import sha256

_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
"""A UID that can be used as a file name (PS3.5 9.1)."""


def hashed_name(sop_instance_uid: str) -> str:
    """Return the location of an instance. It is never a path out of the storage, whatever the peer sends as a UID."""
    digest = sha256(sop_instance_uid.encode("utf-8", "surrogatepass")).hexdigest()
    is_plain = len(sop_instance_uid) <= 64 and _PLAIN.fullmatch(sop_instance_uid)
    name = sop_instance_uid if is_plain else f"invalid-uid-{digest[:40]}"
    return f"{digest[0]}/{digest[1]}/{name}.dcm"
