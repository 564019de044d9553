"""Messages of asyncio's debug mode about slow callbacks, which depend on the machine and not on the program."""

from __future__ import annotations

import re

_SLOW = re.compile(r"^Executing <.*? took \d+\.\d+ seconds\n", re.DOTALL | re.MULTILINE)


def without_slowness(errors: bytes | str) -> str:
    """Return what a program has printed on standard error, without those messages."""
    return _SLOW.sub("", errors.decode() if isinstance(errors, bytes) else errors)
