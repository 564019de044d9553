"""What takes part in one association."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Part:
    """One side or aspect of an association, registered with its Channel, which tells it what happens.

    A part overrides what concerns it. Nothing here may raise, and nothing may wait.
    """

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        """The events of the engine that this part takes, and by which function."""
        return {}

    def connected(self) -> None:
        """The transport connection is open, TLS included."""

    def paused(self) -> None:
        """Nothing is read from now on: consumers have to take what there is."""

    def resumed(self) -> None:
        """Reading goes on: a peer could not be heard meanwhile, and has its time anew."""

    def ended(self, error: BaseException) -> None:
        """The association is over; error says how."""

    def disconnected(self) -> None:
        """The transport connection is gone; nothing follows."""
