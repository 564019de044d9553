"""One association of a pool."""

from __future__ import annotations

from collections.abc import Sequence

from aiodimse.aio.clock import TimerHandle
from aiodimse.association import PresentationContext
from aiodimse.client import Association
from aiodimse.services.contexts import is_proposed

WINDOW_AT_MOST = 16
"""How many operations may be open on one association if the peer allows any number."""


class Member:
    """An association of the pool."""

    def __init__(self, association: Association) -> None:
        self.association: Association = association
        self.uses = 0
        """How many times it has been handed out."""
        self.users = 0
        """How many tasks have it now."""
        self.is_shared = False
        """Whether each of these tasks needs only one place in its operations window."""
        self.idle_timer: TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether its operations window has a place for another operation; 0 means no limit (PS3.7 D.3.3.3)."""
        window = self.association.negotiated.invoked_window or WINDOW_AT_MOST
        return self.is_shared and self.association.is_open and self.users < window

    def offers(self, wanted: Sequence[PresentationContext]) -> bool:
        """Whether all of these contexts were proposed to the peer, which has accepted them or said why not."""
        return all(is_proposed(self.association.negotiated, context) for context in wanted)

    def lend(self, *, shared: bool) -> None:
        """Count one more task that has it. The first decides whether others may have it at the same time."""
        self.stop_idle_timer()
        if not self.users:
            self.is_shared = shared
        self.uses += 1
        self.users += 1

    def stop_idle_timer(self) -> None:
        """It is idle no more."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
            self.idle_timer = None
