"""What the debug mode of asyncio says of a callback that took long: of a busy machine, and not of the program."""

from __future__ import annotations

import re

_SLOW = re.compile(r"^Executing <.*? took \d+\.\d+ seconds\n", re.DOTALL | re.MULTILINE)


def without_slowness(errors: bytes | str) -> str:
    """What a program has printed on standard error, but for that."""
    return _SLOW.sub("", errors.decode() if isinstance(errors, bytes) else errors)
