"""How the connections of one event loop share its turns (docs/topics/flow.md).

A connection that has little to do does it at once, and nobody counts its time. One that has more than that waits in
line after its share, and reads nothing meanwhile; so a flood of tiny messages, or of fragments, delays the others by
a few milliseconds, whatever their sizes and however many connections send it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

SHARE = 0.002
"""Seconds of one turn that one connection may take."""
TURN = 0.008
"""Seconds of one turn that all connections which wait in line may take together."""
SLICE = 16
"""Fragments and PDUs that a connection may read without a look at the clock, and once a turn without waiting in line.
The most expensive is a request that is refused: 16 of them take about 1 ms."""
SLICE_WRITTEN = 1024
"""The same for what is written: fragments, and pages of `PAGE` bytes."""
PAGE = 4096
"""Bytes that cost about as much to write as a fragment's header."""


class Turns:
    """The line of those who have more to do than one share, on one event loop."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Begin with nobody in line.

        Args:
            now: Tells the time in seconds: that of the machine, for what is shared is its processor.
        """
        self.now: Callable[[], float] = now
        self._line: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._turn_end = 0.0

    def end_of_share(self) -> float:
        """Say until when a connection that has used up its slice may go on in this turn.

        Returns:
            A time of `now`; in the past, where the others have used this turn up.
        """
        now = self.now()
        if not self._is_scheduled:  # The first in this turn that has more than a slice to do.
            self._schedule()
            self._turn_end = now + TURN
        return min(now + SHARE, self._turn_end)

    def wait(self, go_on: Callable[[], None]) -> None:
        """Stand in line.

        Args:
            go_on: Called in a later turn, when those before it have been called. It has a share of its own, and may
                stand in line again.
        """
        self._line.append(go_on)
        if not self._is_scheduled:
            self._schedule()

    async def next_share(self) -> None:
        """Stand in line, as a task that has used up its share.

        Cancellation: the place in line is lost.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wait(lambda: None if turn.done() else self._wake(turn))
        await turn

    def _wake(self, turn: asyncio.Future[None]) -> None:
        turn.set_result(None)
        self._turn_end -= SHARE  # What the task will take runs behind us, in this turn or the next.

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        """Serve the line for as long as a turn may take; then come again, for as long as somebody is in line."""
        self._is_scheduled = False
        if not self._line:
            return
        self._schedule()
        self._turn_end = self.now() + TURN
        for _ in range(len(self._line)):  # Who stands in line again has had its share of this turn.
            self._line.popleft()()
            if self.now() >= self._turn_end:
                break


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the one line of an event loop, which every connection on it shares."""
    turns = _of_loops.get(loop)
    if turns is None:
        turns = _of_loops[loop] = Turns()
    return turns


async def in_shares(items: Iterable[T]) -> list[T]:
    """Take all items of an iterable whose items take some microseconds each, one share after the other.

    Threads would be no help to the others: a thread that computes keeps the interpreter for 5 ms, and the event loop
    waits for it after each call of the system, of which a turn has one for each connection that is read.

    Args:
        items: What is taken; a few items are taken at once.

    Returns:
        The items.

    Raises:
        Exception: What the iterable raises.

    Cancellation: what was taken is dropped.
    """
    turns = turns_of(asyncio.get_running_loop())
    found: list[T] = []
    end = turns.now() + SHARE
    for number, item in enumerate(items, 1):
        found.append(item)
        if number % SLICE == 0 and turns.now() >= end:
            await turns.next_share()
            end = turns.now() + SHARE
    return found
