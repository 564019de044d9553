"""What all associations of a server share on one event loop, so that no association can take all of it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary

from aiodimse.aio.clock import Clock
from aiodimse.aio.descriptors import Descriptors
from aiodimse.config import Limits

_Address: TypeAlias = tuple[str, int]


class Budgets:
    """The budgets of one server."""

    def __init__(self, limits: Limits) -> None:
        """Take the limits of the server."""
        self.destinations: Destinations = Destinations(limits.associations_per_destination)
        """Counts associations to move destinations."""
        self.payloads: Payloads = Payloads(limits.payloads_in_memory)
        """Counts the bytes of data sets that are in memory to be sent."""
        self.descriptors: Descriptors = Descriptors()
        """Counts the file descriptors of the process."""
        self.files_per_association: int = limits.files_per_association
        """The number of file descriptors that the requests of one association may need at a time."""


class Destinations:
    """Counts associations by the address of their destination."""

    def __init__(self, most: int) -> None:
        """Allow `most` associations to one address at a time."""
        self._most = most
        self._held: dict[_Address, int] = {}
        self._waiting: dict[_Address, deque[Place]] = {}

    def place(self, host: str, port: int) -> Place:
        """Make a place for an association to this address. It counts after it has been entered."""
        return Place(self, (host.lower(), port))

    def has_place(self, address: _Address) -> bool:
        """Return whether one more association may be opened."""
        return self._held.get(address, 0) < self._most  # As long as others wait, there is none.

    def take(self, place: Place) -> bool:
        """Give the place now and return True, or add it to the queue."""
        if self.has_place(place.address):
            self._held[place.address] = self._held.get(place.address, 0) + 1
            return True
        self._waiting.setdefault(place.address, deque()).append(place)
        return False

    def give_up(self, place: Place) -> None:
        """Remove a place from the queue."""
        if (line := self._waiting.get(place.address)) is not None and place in line:
            line.remove(place)
            if not line:
                del self._waiting[place.address]

    def free(self, address: _Address) -> None:
        """Give the place of an association that has ended to the next one in the queue."""
        line = self._waiting.get(address)
        if line:
            following = line.popleft()
            if not line:
                del self._waiting[address]
            following.given()
        elif self._held[address] > 1:
            self._held[address] -= 1
        else:
            del self._held[address]


class Place:
    """The place of one association to a destination, which is given or waits."""

    def __init__(self, destinations: Destinations, address: _Address) -> None:
        self._destinations = destinations
        self.address: _Address = address
        self._is_held = False
        self._turn: asyncio.Future[None] | None = None

    @property
    def is_free(self) -> bool:
        """Return whether `enter` would not have to wait."""
        return self._destinations.has_place(self.address)

    async def enter(self, clock: Clock, timeout: float | None) -> bool:
        """Wait until the association may be opened. Return False if that takes longer than `timeout` seconds.

        Cancellation: the place must still be left.
        """
        if self._destinations.take(self):
            self._is_held = True
            return True
        self._turn = asyncio.get_running_loop().create_future()
        try:
            async with clock.deadline(clock.after(timeout), TimeoutError):
                await self._turn
        except TimeoutError:
            self.leave()
            return False
        return True

    def given(self) -> None:
        """Note that the place was given. If its task was cancelled at the same moment, the task leaves it."""
        self._is_held = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def leave(self) -> None:
        """Give up the place: the association has ended, or is no longer wanted."""
        if self._is_held:
            self._is_held = False
            self._destinations.free(self.address)
        else:
            self._destinations.give_up(self)


class NoRoom(Exception):
    """A data set did not get room in memory in time."""


class Payloads:
    """Counts the bytes of data sets in memory. It is a semaphore in bytes that serves its queue in order."""

    def __init__(self, most: int) -> None:
        """Allow `most` bytes at a time."""
        self._most = self._free = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._owners: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()

    def share(self, owner: object) -> Share:
        """Make a share for an owner, an association. It has one share at a time, as it writes one message at a time."""
        return Share(self, self._owners.setdefault(owner, asyncio.Lock()))

    async def take(self, size: int) -> int:
        """Wait for `size` bytes, or for all bytes if there are fewer. Return how many were taken.

        Cancellation: no bytes are taken.
        """
        size = min(size, self._most)
        if not self._waiting and size <= self._free:
            self._free -= size
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                with suppress(ValueError):  # give_back has passed it over already
                    self._waiting.remove((size, turn))
                self.give_back(0)  # the next one in the queue may need less
            raise
        return size

    def give_back(self, size: int) -> None:
        """Give bytes back. Those in the queue that now have enough continue."""
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():  # otherwise its task was cancelled, and has not run since
                self._free -= wanted
                turn.set_result(None)


class Share:
    """The bytes that one association has taken."""

    def __init__(self, payloads: Payloads, owner: asyncio.Lock) -> None:
        self._payloads, self._owner = payloads, owner
        self._size: int | None = None

    async def take(self, size: int, clock: Clock, timeout: float | None) -> None:
        """Wait until the association has no other share and there is room. 0 bytes need no room.

        What this share had before is given back first: who held some while waiting for more could wait for another who
        does the same.

        Args:
            size: The number of bytes.
            clock: The clock of the association.
            timeout: The time limit in seconds.

        Raises:
            NoRoom: It took too long.

        Cancellation: no bytes are taken.
        """
        self.give_back()
        if not size:
            return
        try:
            async with clock.deadline(clock.after(timeout), TimeoutError):
                await self._owner.acquire()
                try:
                    self._size = await self._payloads.take(size)
                except BaseException:
                    self._owner.release()
                    raise
        except TimeoutError:
            raise NoRoom(f"no room for {size} bytes in memory within {timeout} s") from None

    def give_back(self) -> None:
        """Give back what was taken, if anything was."""
        if self._size is not None:
            size, self._size = self._size, None
            self._payloads.give_back(size)
            self._owner.release()
