"""When a study is complete, as far as anybody can know: DICOM has no message for it."""

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
    """A key of which instances may still come."""

    since: float
    """When the last instance came, or the last association that brought some ended."""
    associations: set[ProviderAssociation] = field(default_factory=set)
    """Those that are open and have brought some."""
    timer: TimerHandle | None = None


class Completeness(Generic[K]):
    """Tells which studies are complete: `async for study in completeness`.

    A study, or whatever the key stands for, is taken for complete when no instance of it has come for `quiet` seconds.
    Once every association that brought some of it has ended, `quiet_after_end` seconds are enough. An instance that
    comes later makes it incomplete again, and it is given once more.

    It keeps a few hundred bytes for each key, and no bound of its own: a handler compares `waiting` with what the
    program can take, and refuses more.

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
        """Begin with nothing.

        Args:
            quiet: Seconds without an instance while an association that brought some is open.
            quiet_after_end: Seconds without an instance, and since the end of the last association that brought some.
            environment: Its clock tells the time.

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
        """How many keys have come and have not been given yet, complete or not."""
        return len(self._arriving) + len(self._complete)

    def arrived(self, key: K, association: ProviderAssociation | None = None) -> None:
        """Note that an instance has come.

        Args:
            key: The Study Instance UID, for example.
            association: What brought it: `request.association`. None: nobody knows, as after a restart; then
                `quiet_after_end` counts at once.
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
            self._look(key, arriving)

    def ended(self, association: ProviderAssociation) -> None:
        """Note that an association is over; for `Server.on_association_end`.

        Args:
            association: The association. One that brought nothing changes nothing.
        """
        for key, arriving in self._arriving.items():
            if association in arriving.associations:
                arriving.associations.remove(association)
                arriving.since = self._clock.now()
                if not arriving.associations and arriving.timer is not None:
                    arriving.timer.cancel()
                    self._set(key, arriving, arriving.since + self.quiet_after_end)

    def close(self) -> None:
        """Take everything for complete now; the iteration ends when all has been given.

        For the end of a program, when no instance comes any more.
        """
        for key, arriving in self._arriving.items():
            if arriving.timer is not None:
                arriving.timer.cancel()
            self._complete.append(key)
        self._arriving.clear()
        self._is_closed = True
        self._changed.wake()

    def _look(self, key: K, arriving: _Arriving) -> None:
        """The timer of a key, which an instance does not move: is it complete by now, and if not, when?"""
        due = arriving.since + (self.quiet if arriving.associations else self.quiet_after_end)
        if arriving.timer is None or due > self._clock.now():
            self._set(key, arriving, due)
            return
        del self._arriving[key]
        self._complete.append(key)
        self._changed.wake()

    def _set(self, key: K, arriving: _Arriving, due: float) -> None:
        arriving.timer = self._clock.call_at(due, lambda: self._look(key, arriving))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> K:
        """The key that has been complete for the longest time; several tasks may wait for the next one.

        Raises:
            StopAsyncIteration: After `close`, when all has been given.

        Cancellation: Nothing is lost.
        """
        while not self._complete:
            if self._is_closed:
                raise StopAsyncIteration
            await self._changed.wait()
        return self._complete.popleft()
