"""Searches of an archive take turns, so that many of one peer cost the others next to nothing.

An index works on a search in short slices. For each slice a search waits for its turn: a few slices at once, one
association after the other, however many searches each has. Between two slices a search holds nothing that others wait
for, so that a peer which reads its matches slowly keeps nobody waiting.
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
"""An index in SQL has four threads that read: who stores looks things up meanwhile."""
SEARCHES_OF_ONE = 4
"""Searches of one association that are under way at once."""


class Turns:
    """Turns of owners who wait: one owner after the other, and of each one its first in line.

    Args:
        at_once: How many have their turn at once.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._lines: dict[object, deque[asyncio.Future[None]]] = {}
        """The owner whose turn is next comes first. While there are lines, nothing is free."""

    async def take(self, owner: object) -> None:
        """Wait for a turn; `leave` ends it.

        Args:
            owner: On whose behalf; it is hashed.

        Cancellation: there is no turn.
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
                self.leave()  # it came at the same moment
            raise

    def leave(self) -> None:
        """End a turn: the next owner in line has one."""
        while self._lines:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            turn = line.popleft()
            if line:
                self._lines[owner] = line
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                return
        self._free += 1


class Searches:
    """The searches of one archive.

    Args:
        slices_at_once: How many slices are worked on at once.
        of_one: How many searches of one association are under way at once; the rest waits in line.
    """

    def __init__(self, slices_at_once: int = SLICES_AT_ONCE, of_one: int = SEARCHES_OF_ONE) -> None:
        self._of_one = of_one
        self.turns: Turns = Turns(slices_at_once)
        """For the slices of all."""
        self._places: WeakKeyDictionary[object, asyncio.Semaphore] = WeakKeyDictionary()

    def search(self, request: aiodimse.Request, server: aiodimse.Server, status: int = 0xA700) -> Search:
        """Make a place for the search that a request asks for.

        Args:
            request: Who asks.
            server: Its `Limits.search_responses` bounds what is found, its `Timeouts.search` how long it takes.
            status: Out of resources, as the service has it.
        """
        place = self._places.setdefault(request.association, asyncio.Semaphore(self._of_one))
        return Search(request, place, self.turns, server.limits.search_responses, server.timeouts.search, status)


class Search:
    """One search. As a context manager it is under way; `slice` is what the index enters for each slice of it.

    Args:
        request: Who asks.
        place: Of the association.
        turns: For the slices of all searches.
        most: So many matches at most.
        seconds: So long at most, counting the slices alone; None, however long.
        status: What the request is answered with where it is more or longer.
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
        """Entered for each slice."""

    async def __aenter__(self) -> Self:
        await self._place.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._place.release()

    def found(self) -> None:
        """Count one match.

        Raises:
            aiodimse.DIMSEFailure: There are more than there may be.
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
    """A turn to work on a search, again and again.

    Args:
        turns: Where to wait for it.
        owner: On whose behalf.
        worked: Told after each slice how many seconds it took; what it raises ends the search.
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
