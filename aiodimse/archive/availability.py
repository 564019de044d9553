"""Requests that come while the index does not answer, because its database is away: they are refused, and it is logged
once."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from time import monotonic
from typing import TypeVar

import aiodimse

from .index import Index

_log = logging.getLogger(__name__)

T = TypeVar("T")

_DISK_FULL = ("SQLITE_FULL", "53100")
"""The codes of SQLite and PostgreSQL for a full disk."""

_SELDOM = 60.0
"""The least time in seconds between two lines of the log about the same state."""


class Seldom:
    """Says once in a while that it is time to log a state that lasts.

    Args:
        now: Tells the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._said_at = -_SELDOM

    def __call__(self) -> bool:
        """Whether the last time was long ago. That counts as the last time then."""
        if self._now() - self._said_at < _SELDOM:
            return False
        self._said_at = self._now()
        return True


class Availability:
    """Whether the index of an archive answers.

    Args:
        now: Tells the time in seconds.
        index: The index; None: it is never damaged.
    """

    def __init__(self, now: Callable[[], float] = monotonic, index: Index | None = None) -> None:
        self._is_time_to_say, self._is_time_to_say_full = Seldom(now), Seldom(now)
        self._is_time_to_say_read_only, self._is_time_to_say_away = Seldom(now), Seldom(now)
        self._index = index
        self._is_damaged = False
        self._has_to_say = False
        self.is_up: bool = True
        """Whether it answered what it was last asked; False for good where it is damaged."""
        self.is_closing: bool = False
        """Whether the archive is being closed: that the index does not answer then is not logged."""

    def asked(self, status: int, *others: type[Exception]) -> AbstractContextManager[None]:
        """Turn whatever the index raises in the body into a failure status. It may be entered any number of times.

        Args:
            status: What the request is answered with: the status Out of Resources of its service.
            others: What the body raises that is no fault of the index.

        Raises:
            aiodimse.DIMSEFailure: The index did not answer, or the body raised it.
        """
        return _Asked(status, others, self._answered, self._failed)

    def locking(self, status: int, *others: type[Exception]) -> AbstractContextManager[None]:
        """Do the same where a lock is taken, which is in the database of the index or elsewhere. See `asked`."""
        return _Asked(status, others, None, self._failed)

    async def stream(self, found: AsyncGenerator[T, None], status: int) -> AsyncGenerator[T, None]:
        """Yield what the index finds. See `asked`; what the consumer raises is not the index's.

        Args:
            found: What the index finds; it is closed at the end.
            status: What the request is answered with where the index does not answer.
        """
        async with aclosing(found):
            while True:
                with self.asked(status):
                    try:
                        each = await anext(found)
                    except StopAsyncIteration:
                        break
                yield each

    def disk_is_full(self, code: str) -> None:
        """Log that a disk is full, whether the storage or the index met that first.

        Args:
            code: The error of the system or of the database.
        """
        if not self.is_closing and self._is_time_to_say_full():
            _log.error("the disk is full (%s): C-STORE is refused until there is room", code)

    def disk_is_read_only(self, code: str) -> None:
        """Log that nothing can be written to the storage.

        Args:
            code: The error of the system.
        """
        if not self.is_closing and self._is_time_to_say_read_only():
            _log.error("the storage cannot be written to (%s): C-STORE is refused until it can", code)

    def storage_is_away(self, why: str) -> None:
        """Log that the storage does not answer.

        Args:
            why: What the storage says of it, without a location.
        """
        if not self.is_closing and self._is_time_to_say_away():
            _log.error("%s: C-STORE is refused until it does", why)

    def _failed(self, error: Exception) -> str:
        """Log an error of the index once in a while, and return the comment for the peer."""
        if (code := _code(error)) in _DISK_FULL:
            self.disk_is_full(code)
            return "disk full"
        self.is_up = False
        if not self._is_damaged and self._index is not None and self._index.is_damaged_by(error):
            self._is_damaged = True
            self._index.mark_damaged()
            _log.error("the index is damaged (%s): the next start makes a new one from the files", _kind(error))
        elif not self._is_damaged and not self.is_closing and self._is_time_to_say():
            self._has_to_say = True
            _log.error("the index does not answer (%s): requests are refused until it does", _kind(error))
        return "the index does not answer"

    def _answered(self) -> None:
        if self._is_damaged:
            return
        self.is_up = True
        if self._has_to_say:
            self._has_to_say = False
            _log.warning("the index answers again")


class _Asked:
    """A body that asks the index. It is a class, so that a store need not make the three that it enters.

    Args:
        status: What the request is answered with where the index does not answer.
        others: What the body raises that is no fault of the index.
        answered: Called where the body does not raise.
        failed: Called with what the index raised. It returns the comment for the peer.
    """

    __slots__ = ("_answered", "_failed", "_others", "_status")

    def __init__(
        self,
        status: int,
        others: tuple[type[Exception], ...],
        answered: Callable[[], None] | None,
        failed: Callable[[Exception], str],
    ) -> None:
        self._status, self._others, self._answered, self._failed = status, others, answered, failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            if self._answered is not None:
                self._answered()
        # An index raises what its driver raises; a search that found too much raises DIMSEFailure.
        elif isinstance(error, Exception) and not isinstance(error, (aiodimse.DIMSEFailure, *self._others)):
            raise aiodimse.DIMSEFailure(self._status, self._failed(error)) from error


def _kind(error: Exception) -> str:
    """Name an error. The text of a driver quotes statements with their values, so it is left out."""
    code = _code(error)
    return type(error).__name__ + (f" {code}" if code else "")


def _code(error: Exception) -> str:
    """Return the code that the database gave an error; "": none."""
    original = getattr(error, "orig", None) or error  # of SQLAlchemy: the error of the driver
    return getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None) or ""
