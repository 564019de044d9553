"""The end of an association, for everything that must not outlive the association."""

from __future__ import annotations

from types import TracebackType

from aiodimse.aio.interrupt import Interrupt
from aiodimse.aio.signals import Signal
from aiodimse.errors import AssociationError


class End:
    """Whether and how an association has ended, and the tasks that wait for that."""

    __slots__ = ("_interrupts", "_signal", "error")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """How the association ended, once it has."""
        self._interrupts: set[WhileOpen] = set()
        self._signal = Signal()

    def come(self, error: BaseException) -> None:
        """Note that the association has ended: interrupt the awaits that depend on it, and wake the tasks that wait for
        its end."""
        self.error = error
        for interrupt in tuple(self._interrupts):
            interrupt.fire(error)
        self._signal.wake()

    async def wait(self) -> BaseException:
        """Wait for the end, and return how it came.

        Cancellation: Nothing changes.
        """
        while self.error is None:
            await self._signal.wait()
        return self.error

    def while_open(self) -> WhileOpen:
        """Make a context manager for awaits of what the application has given us.

        If the association ends, what is awaited inside is cancelled, in the task that awaits it, and the end of the
        association is raised. It is also raised if the association had ended before the block was entered, or before
        the block is left. An exception of the block itself goes on to the caller.
        """
        return WhileOpen(self)


class WhileOpen(Interrupt):
    """See `End.while_open`."""

    __slots__ = ("_end",)

    def __init__(self, end: End) -> None:
        super().__init__()
        self._end = end

    def __enter__(self) -> None:
        if self._end.error is not None:
            raise _unsent(self._end.error)
        super().__enter__()
        self._end._interrupts.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end._interrupts.discard(self)
        was_interrupted = self._leave(kind) is not None
        if (ended_by := self._end.error) is None:
            return
        if was_interrupted or kind is None or issubclass(kind, StopAsyncIteration):
            raise _unsent(ended_by)


def _unsent(error: BaseException) -> BaseException:
    """Make the error of an operation whose request was not wholly sent, since its data set was still awaited."""
    return error.unsent() if isinstance(error, AssociationError) else error
