"""The addresses on which serve listens, and the errors of listening."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from aiodimse.aio.words import address_words
from aiodimse.cli.failures import FAILED, CommandError, system_words


@contextmanager
def errors(options: Namespace) -> Iterator[None]:
    """Raise CommandError for what listening on the address raises in the body."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = why_not(error) if isinstance(error, OSError) else "not a host name"
        raise CommandError(f"cannot listen on {address_words((options.host, options.port))}: {why}", FAILED) from None


async def bound(options: Namespace) -> asyncio.Server:
    """Bind the addresses of the options. Nobody can connect to them before they listen.

    Raises:
        CommandError: Listening on them fails.
    """
    with errors(options):
        loop = asyncio.get_running_loop()
        return await loop.create_server(asyncio.Protocol, options.host, options.port, start_serving=False)


def why_not(error: OSError) -> str:
    """Return the text of the operating system."""
    # The text of asyncio repeats the address, and since Python 3.13 the error number, so the text of the system is
    # used. An error of name resolution has a negative number and a text of its own.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return system_words(OSError(error.errno, error.strerror))
