"""Searches of an archive take turns, so that many searches of one peer hardly delay those of others.

An index works on a search in short slices. For each slice the search waits for its turn. A few slices run at a time;
associations take turns, however many searches each of them has. Between two slices a search holds nothing that others
wait for, so a peer that reads its matches slowly delays nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import aiodimse

logger = logging.getLogger(__name__)

SLICES_AT_ONCE = 2
"""How many slices run at a time. An index in SQL has four reading threads; the others are for look-ups of C-STORE."""
SEARCHES_OF_ONE = 4
"""The largest number of searches of one association that run at a time."""


class Turns:
    """Turns for owners that wait. Owners take turns, and each owner's requests are served in their order.

    Args:
        at_once: The number of turns at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._lines: dict[object, deque[asyncio.Future[None]]] = {}
        """The waiting requests by owner; the owner with the next turn comes first. Empty while a turn is free."""

    async def take(self, owner: object) -> None:
        """Wait for a turn. `leave` ends it.

        Args:
            owner: The owner of the turn. It is hashed.

        Cancellation: the turn is given up.
        """
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn was given at the same moment
            raise

    def leave(self) -> None:
        """End a turn, and give it to the next owner."""
        while self._lines:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            turn = line.popleft()
            if line:
                self._lines[owner] = line
            if not turn.done():  # otherwise it was cancelled
                turn.set_result(None)
                return
        self._free += 1


class Searches:
    """The searches of one archive.

    Args:
        slices_at_once: The number of slices that run at a time.
        of_one: The number of searches of one association that run at a time. Further ones wait.
    """

    def __init__(self, slices_at_once: int = SLICES_AT_ONCE, of_one: int = SEARCHES_OF_ONE) -> None:
        self._of_one = of_one
        self.turns: Turns = Turns(slices_at_once)
        """The turns for the slices of all searches."""
        self._places: WeakKeyDictionary[object, asyncio.Semaphore] = WeakKeyDictionary()

    def search(self, request: aiodimse.Request, server: aiodimse.Server, status: int = 0xA700) -> Search:
        """Make the search for a request.

        Args:
            request: The request.
            server: The server. `Limits.search_responses` bounds the matches, `Timeouts.search` the time of the search.
            status: The status of the service for "out of resources".
        """
        place = self._places.setdefault(request.association, asyncio.Semaphore(self._of_one))
        return Search(request, place, self.turns, server.limits.search_responses, server.timeouts.search, status)


class Search:
    """One search. It runs while it is entered as a context manager; the index enters `slice` for each slice of it.

    Args:
        request: The request.
        place: Bounds the searches of the association that run at a time.
        turns: The turns for the slices of all searches.
        most: The largest number of matches.
        seconds: The time limit for all slices together; None: no limit.
        status: The status of the response if one of the limits is exceeded.
    """

    def __init__(
        self,
        request: aiodimse.Request,
        place: asyncio.Semaphore,
        turns: Turns,
        most: int,
        seconds: float | None,
        status: int,
    ) -> None:
        self._request, self._place = request, place
        self._most, self._seconds, self._status = most, seconds, status
        self._found = 0
        self._worked = 0.0
        self.slice: Slice = Slice(turns, request.association, self._work)
        """The context manager that is entered for each slice."""

    async def __aenter__(self) -> Self:
        await self._place.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._place.release()

    def found(self) -> None:
        """Count one match.

        Raises:
            aiodimse.DIMSEFailure: There are more matches than allowed.
        """
        self._found += 1
        if self._found > self._most:
            self._give_up(f"more than {self._most} matches: ask for less")

    def _work(self, seconds: float) -> None:
        self._worked += seconds
        if self._seconds is not None and self._worked > self._seconds:
            self._give_up(f"longer than {self._seconds:g} s: ask for less")

    def _give_up(self, why: str) -> None:
        self._request.logger(logger).warning("%s: the search is ended: %s", self._request.message, why)
        raise aiodimse.DIMSEFailure(self._status, why)


class Slice:
    """A turn to work on a search. It is entered for each slice.

    Args:
        turns: The turns of all searches.
        owner: The owner of the turn.
        worked: Called after each slice with the seconds that it took. What it raises ends the search.
    """

    def __init__(self, turns: Turns, owner: object, worked: Callable[[float], None]) -> None:
        self._turns, self._owner, self._worked = turns, owner, worked
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._turns.take(self._owner)
        self._began = monotonic()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._turns.leave()
        if kind is None:
            self._worked(monotonic() - self._began)
