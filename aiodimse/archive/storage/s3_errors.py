"""What goes wrong with an object store, as everybody else understands it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from .interface import StorageAway

_ADDRESS = re.compile(r"\b[A-Z]+ (https?://[^\s?]+).* - (?:HTTP error: |Server returned non-2xx status code: )?(.+)")
"""An error of obstore: the method, the address, how often it tried for how long, and what went wrong."""
_METADATA = "//169.254.169.254/"
"""Where the machines of a cloud ask for the keys of their role. obstore asks there if it is given no key."""
_ENDPOINT = re.compile(r"https?://[!-~]+")


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise what obstore raises as StorageAway, an OSError, which says of a folder, too, that it does not answer.

    The text of an error has the key of the object in it, so only its type is given.

    Raises:
        StorageAway: The store fails, or does not answer.
    """
    try:
        yield
    except (BaseError, TimeoutError) as error:
        raise StorageAway(errno.EIO, f"the bucket does not answer ({type(error).__name__})") from None


def check_endpoint(option: str | None) -> None:
    """Refuse an address of the store that is none. obstore panics at the first request to one.

    Args:
        option: The address that was given; None: that of the environment.

    Raises:
        ValueError: It is none.
    """
    names = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL")
    given = {"endpoint": option} if option else {name: os.environ.get(name) for name in names}
    for name, value in given.items():
        if value and not _ENDPOINT.fullmatch(value):
            raise ValueError(
                f"the bucket cannot be used: {name} is not an address like https://store.example: {value!r}"
            )


def first_line(error: BaseError) -> str:
    """Return the first line of what obstore says; what follows is of Rust."""
    return str(error).partition("\n")[0]


def why(error: BaseError) -> str:
    """Return the address and what went wrong, without what obstore says of its tries, and the XML of the store."""
    line = first_line(error).partition(": <")[0]
    found = _ADDRESS.search(line)
    where = f"{found[1]}: {found[2]}" if found else line
    if _METADATA in where:
        return f"AWS_ACCESS_KEY_ID is not set, and no cloud has a key for this machine ({where})"
    return where
