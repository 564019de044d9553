"""The interface of the parts of an association."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Part:
    """One side or aspect of an association. It registers with its Channel, which tells it what happens.

    A part overrides the methods that concern it. None of them may raise, and none may wait.
    """

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        """The kinds of engine events that this part takes, each with the function that takes it."""
        return {}

    def connected(self) -> None:
        """The transport connection is open, TLS included."""

    def paused(self) -> None:
        """Reading has paused. Consumers have to take what there is."""

    def resumed(self) -> None:
        """Reading goes on. Deadlines of the peer start anew, since it could not be heard meanwhile."""

    def unread(self) -> list[str]:
        """Return what has arrived and is not read, and what may wait for messages behind it, in words."""
        return []

    def ended(self, error: BaseException) -> None:
        """The association is over; `error` says how."""

    def disconnected(self) -> None:
        """The transport connection is gone. No more calls follow."""
