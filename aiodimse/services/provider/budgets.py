"""What all associations of a server share on one event loop, so that one cannot take it from the others."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias

from aiodimse.aio.clock import Clock
from aiodimse.config import Limits

_Address: TypeAlias = tuple[str, int]


class Budgets:
    """The budgets of one server."""

    def __init__(self, limits: Limits) -> None:
        """limits: those of the server."""
        self.destinations: Destinations = Destinations(limits.associations_per_destination)
        """Associations to move destinations."""


class Destinations:
    """Counts associations by the address that they go to."""

    def __init__(self, most: int) -> None:
        """most: so many to one address at once."""
        self._most = most
        self._held: dict[_Address, int] = {}
        self._waiting: dict[_Address, deque[Place]] = {}

    def place(self, host: str, port: int) -> Place:
        """Make a place for an association to this address; it counts once it has been entered."""
        return Place(self, (host.lower(), port))

    def has_place(self, address: _Address) -> bool:
        """Whether one more association may be opened now."""
        return address not in self._waiting and self._held.get(address, 0) < self._most

    def take(self, place: Place) -> bool:
        """Give the place now, or put it in line."""
        if self.has_place(place.address):
            self._held[place.address] = self._held.get(place.address, 0) + 1
            return True
        self._waiting.setdefault(place.address, deque()).append(place)
        return False

    def give_up(self, place: Place) -> None:
        """Take a place out of the line."""
        if (line := self._waiting.get(place.address)) is not None and place in line:
            line.remove(place)
            if not line:
                del self._waiting[place.address]

    def free(self, address: _Address) -> None:
        """An association has ended: its place is the next one's in line."""
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
    """One association to a destination, or one that waits for it."""

    def __init__(self, destinations: Destinations, address: _Address) -> None:
        self._destinations = destinations
        self.address: _Address = address
        self._is_held = False
        self._turn: asyncio.Future[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether `enter` would not wait."""
        return self._destinations.has_place(self.address)

    async def enter(self, clock: Clock, timeout: float | None) -> bool:
        """Wait until the association may be opened; False where that takes longer than so many seconds.

        Cancellation: the place has to be left all the same.
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
        """It is its turn. Who has been cancelled at the same moment leaves it."""
        self._is_held = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def leave(self) -> None:
        """The association has ended, or is not wanted any more."""
        if self._is_held:
            self._is_held = False
            self._destinations.free(self.address)
        else:
            self._destinations.give_up(self)
