"""Detects when a study is complete, as far as that is possible: DICOM has no message for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.environment import Environment
from aiodimse.aio.signals import Signal
from aiodimse.services.association import ProviderAssociation

K = TypeVar("K", bound=Hashable)


@dataclass(eq=False, slots=True)
class _Arriving:
    """A key whose instances may still come."""

    since: float
    """The time of the last instance, or of the end of the last association that brought one."""
    associations: set[ProviderAssociation] = field(default_factory=set)
    """The open associations that have brought an instance."""
    timer: TimerHandle | None = None


class Completeness(Generic[K]):
    """Finds out which studies are complete: `async for study in completeness`.

    A study, or whatever the key stands for, counts as complete when no instance of it has come for `quiet` seconds.
    Once every association that brought some of it has ended, `quiet_after_end` seconds are enough. An instance that
    comes later makes it incomplete again, and the iteration yields it once more.

    It needs a few hundred bytes for each key, and has no limit: a handler compares `waiting` with what the program
    can process, and refuses more.

    Example:
        ```python
        completeness = aiodimse.Completeness(quiet=60, quiet_after_end=5)

        @server.on_c_store
        async def store(request):
            path = await request.save(folder)
            completeness.arrived(study_of(path), request.association)

        @server.on_association_end
        async def ended(association, error):
            completeness.ended(association)

        async for study in completeness:
            await process(study)
        ```
    """

    def __init__(
        self, *, quiet: float = 60.0, quiet_after_end: float = 5.0, environment: Environment | None = None
    ) -> None:
        """Start without any key.

        Args:
            quiet: Seconds without an instance while an association that brought some is open.
            quiet_after_end: Seconds without an instance, and since the end of the last association that brought some.
            environment: The environment whose clock is used.

        Raises:
            ValueError: A time is negative.
        """
        if not (quiet >= 0 and quiet_after_end >= 0):
            raise ValueError(f"quiet and quiet_after_end are not negative, but {quiet!r} and {quiet_after_end!r}")
        self.quiet: float = quiet
        self.quiet_after_end: float = quiet_after_end
        self._clock = (environment or Environment()).clock
        self._arriving: dict[K, _Arriving] = {}
        self._complete: deque[K] = deque()
        self._changed = Signal()
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many keys have come and have not been yielded yet, complete or not."""
        return len(self._arriving) + len(self._complete)

    def arrived(self, key: K, association: ProviderAssociation | None = None) -> None:
        """Record that an instance has come.

        Args:
            key: The Study Instance UID, for example.
            association: The association that brought it, `request.association`. None: it is unknown, as after a
                restart; `quiet_after_end` then applies at once.
        """
        arriving = self._arriving.get(key)
        if arriving is None:
            if key in self._complete:
                self._complete.remove(key)
            arriving = self._arriving[key] = _Arriving(self._clock.now())
        arriving.since = self._clock.now()
        if association is not None and association.is_open:
            arriving.associations.add(association)
        if arriving.timer is None:
            self._check(key, arriving)

    def ended(self, association: ProviderAssociation) -> None:
        """Record that an association has ended, in a hook of `Server.on_association_end`.

        Args:
            association: The association. It has no effect if the association brought nothing.
        """
        for key, arriving in self._arriving.items():
            if association in arriving.associations:
                arriving.associations.remove(association)
                arriving.since = self._clock.now()
                if not arriving.associations and arriving.timer is not None:
                    arriving.timer.cancel()
                    self._set(key, arriving, arriving.since + self.quiet_after_end)

    def close(self) -> None:
        """Consider every key complete now. The iteration ends when it has yielded all of them.

        Call it at the end of a program, when no instance comes any more.
        """
        for key, arriving in self._arriving.items():
            if arriving.timer is not None:
                arriving.timer.cancel()
            self._complete.append(key)
        self._arriving.clear()
        self._is_closed = True
        self._changed.wake()

    def _check(self, key: K, arriving: _Arriving) -> None:
        """Make the key complete if its time has come, or else set its timer again, which no instance moves."""
        due = arriving.since + (self.quiet if arriving.associations else self.quiet_after_end)
        if arriving.timer is None or due > self._clock.now():
            self._set(key, arriving, due)
            return
        del self._arriving[key]
        self._complete.append(key)
        self._changed.wake()

    def _set(self, key: K, arriving: _Arriving, due: float) -> None:
        arriving.timer = self._clock.call_at(due, lambda: self._check(key, arriving))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> K:
        """Return the key that has been complete for the longest time. Several tasks may wait for the next one.

        Raises:
            StopAsyncIteration: After `close`, when all keys have been yielded.

        Cancellation: Nothing is lost.
        """
        while not self._complete:
            if self._is_closed:
                raise StopAsyncIteration
            await self._changed.wait()
        return self._complete.popleft()
