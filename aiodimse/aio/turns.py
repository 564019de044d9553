"""Divides the turns of one event loop among its connections (docs/topics/flow.md).

A connection that has little to do does it at once. One that has more to do gets a share of the turn, and then waits in
a queue, without reading. A flood of tiny messages or fragments therefore delays other connections by a few
milliseconds, whatever its size and from however many connections it comes.
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
"""The seconds of a turn that one connection may take."""
TURN = 0.008
"""The seconds of a turn that all connections in the queue may take together."""
SLICE = 16
"""The number of fragments and PDUs that a connection may read between two looks at the clock, and once in a turn
without waiting. The most expensive is a request that is refused: 16 of them take about 1 ms."""
SLICE_WRITTEN = 1024
"""The number of fragments, and of pages of `PAGE` bytes, that it may write."""
PAGE = 4096
"""The number of bytes that take about as long to write as the header of a fragment."""


class Turns:
    """The queue of the connections and tasks of one event loop that have more to do than one share."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Begin with an empty queue.

        Args:
            now: Returns the time in seconds. It is real time, because the processor is what is shared.
        """
        self.now: Callable[[], float] = now
        self._line: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._turn_end = 0.0

    def end_of_share(self) -> float:
        """Return the time until which a connection that has used up its slice may go on in this turn.

        It is in the past if others have used this turn up.
        """
        now = self.now()
        if not self._is_scheduled:  # The first in this turn that has more than a slice to do.
            self._schedule()
            self._turn_end = now + TURN
        return min(now + SHARE, self._turn_end)

    def wait(self, go_on: Callable[[], None]) -> None:
        """Add a function to the queue.

        Args:
            go_on: Called in a later turn, after those before it. It has a share of its own, and may call `wait` again.
        """
        self._line.append(go_on)
        if not self._is_scheduled:
            self._schedule()

    async def next_share(self) -> None:
        """Wait for another share, as a task that has used up its own.

        Cancellation: The place in the queue is lost.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wait(lambda: None if turn.done() else self._wake(turn))
        await turn

    def _wake(self, turn: asyncio.Future[None]) -> None:
        turn.set_result(None)
        self._turn_end -= SHARE  # The task runs after this turn of the queue: count its share now.

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        """Call what waits, for as long as a turn may take. Go on in the next turn until the queue is empty."""
        self._is_scheduled = False
        if not self._line:
            return
        self._schedule()
        self._turn_end = self.now() + TURN
        for _ in range(len(self._line)):  # What waits again has had its share of this turn.
            self._line.popleft()()
            if self.now() >= self._turn_end:
                break


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the queue of an event loop."""
    turns = _of_loops.get(loop)
    if turns is None:
        turns = _of_loops[loop] = Turns()
    return turns


async def in_shares(items: Iterable[T]) -> list[T]:
    """Take all items of an iterable that computes some microseconds for each, one share after the other.

    A thread would be worse: one that computes keeps the interpreter for 5 ms, and the event loop waits for it after
    each system call, of which a turn has one for each connection that is read.

    Args:
        items: The iterable.

    Returns:
        The items.

    Raises:
        Exception: What the iterable raises.

    Cancellation: The items are dropped.
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
