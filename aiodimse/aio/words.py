"""Addresses, texts of peers and exceptions, in a form that a log may show."""

from __future__ import annotations

import errno
import os
import re
import socket
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


def unreachable(error: OSError) -> str:
    """Say why a connection could not be opened, without the address, which asyncio repeats in its texts."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    # A host with several addresses: asyncio joins the errors into one text.
    numbers = [error.errno] if error.errno else [int(n) for n in re.findall(r"\[Errno (\d+)\]", str(error))]
    if errno.ECONNREFUSED in numbers:
        return "connection refused; nothing listens there"
    return os.strerror(numbers[0]).lower() if numbers else str(error)


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
