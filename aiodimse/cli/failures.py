"""Turn each error into one line of text and an exit status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import aiodimse
from aiodimse import sop_class
from aiodimse.aio import words
from aiodimse.aio.words import address_words
from aiodimse.standard import transfer_syntax

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

# What to try next, by the source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4).
_HINTS = {
    (1, 3): "--ae-title sets our title",
    (1, 7): "--called sets the peer's title",
}
_ANSWERS = 3
"""The most answers to presentation contexts that a line repeats; `explain` prints all of them."""
_UID = re.compile(r"(?:\b(\w+) \()?\b(1\.2(?:\.\d+)+)(?(1)\))")
"""A UID, which may be in parentheses behind its keyword."""


class CommandError(Exception):
    """An error that ends a command with one line on stderr and an exit status."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        self.code = code
        super().__init__(message)


def in_words(error: BaseException, options: Mapping[str, object] = MappingProxyType({})) -> str:
    """Describe an error of the library or the system in one line. `options` are those of the command."""
    if isinstance(error, aiodimse.AssociationRejected):
        hint = _HINTS.get((error.source, error.reason)) if error.result == 1 else None
        return f"{error}; {hint}" if hint and options else str(error)
    if isinstance(error, aiodimse.TLSError) and re.search("issuer|self-signed", str(error)):
        return f"{error}; --tls-ca names the authorities to trust"
    if isinstance(error, aiodimse.NoAcceptedContext) and len(error.answers) > _ANSWERS:
        what, _, answers = str(error).partition(": ")
        some = "; ".join(answers.split("; ")[:_ANSWERS])
        return with_keywords(f"{what}: {some}; and {len(error.answers) - _ANSWERS} more")
    if isinstance(error, aiodimse.AiodimseError):
        return with_keywords(" ".join(str(error).split()))
    if isinstance(error, OSError):
        return system_words(error)
    return f"{type(error).__name__}: {error}"


def with_keywords(text: str) -> str:
    """Replace the UIDs of SOP classes and transfer syntaxes by their keywords, which people can read."""

    def keyword(match: re.Match[str]) -> str:
        row = sop_class.lookup(match[2]) or transfer_syntax.lookup(match[2])
        if row is None:
            return match[0]
        return row.keyword if match[1] in (None, row.keyword) else f"{match[1]} ({row.keyword})"

    return _UID.sub(keyword, text)


def system_words(error: OSError) -> str:
    """Return the text of the operating system, without its number."""
    text = error.strerror or str(error) or type(error).__name__
    if text[1:2].islower():  # the system's texts begin with a capital; a driver's have names in them
        text = text[0].lower() + text[1:]
    return f"{error.filename}: {text}" if error.filename else text


def unreachable(error: OSError, host: str, port: int) -> str:
    """Say why a connection could not be opened."""
    return f"{address_words((host, port))}: {words.unreachable(error)}"
