"""Addresses, texts of peers and exceptions, in a form that a log may show."""

from __future__ import annotations

import errno
import os
import ssl
import traceback
from typing import Any


def address_words(address: tuple[Any, ...]) -> str:
    """Return the host and the port of a socket address."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kind(error: BaseException) -> str:
    """Describe an exception without its text, which may quote patient data.

    Returns:
        Its type, and of a system's error its number in words, but not the file that it is about:
        `OSError ENOSPC (No space left on device)`.
    """
    name = type(error).__qualname__
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    if number is None or number not in errno.errorcode:
        return name
    return f"{name} {errno.errorcode[number]} ({os.strerror(number)})"


def frames(error: BaseException) -> str:
    """Format a traceback without the texts of its exceptions, which may quote patient data: places and types."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{lines}{type(current).__module__}.{kind(current)}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nraised from:\n".join(parts)
