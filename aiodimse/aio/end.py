"""The end of an association, as everything sees it that must not outlive it."""

from __future__ import annotations

from types import TracebackType

from aiodimse.aio.interrupt import Interrupt
from aiodimse.aio.signals import Signal
from aiodimse.errors import AssociationError


class End:
    """Whether and how an association has ended, and who waits for it."""

    __slots__ = ("_interrupts", "_signal", "error")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """How the association ended, once it has."""
        self._interrupts: set[WhileOpen] = set()
        self._signal = Signal()

    def come(self, error: BaseException) -> None:
        """The association has ended: interrupt what is awaited for it, and wake who waits for the end."""
        self.error = error
        for interrupt in tuple(self._interrupts):
            interrupt.fire(error)
        self._signal.wake()

    async def wait(self) -> BaseException:
        """Wait for the end, and return how it came.

        Cancellation: changes nothing.
        """
        while self.error is None:
            await self._signal.wait()
        return self.error

    def while_open(self) -> WhileOpen:
        """A context manager, `with end.while_open():`, for what the application gives us to wait for.

        Where the association ends, what is awaited inside is cancelled in the task that awaits it, and what ended the
        association is raised. It is raised as well when the block is entered too late, and when the block comes to its
        end after the association did. An exception of the block stays.
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
        interrupted = self._leave(kind)
        if (ended_by := self._end.error) is None:
            return
        if interrupted or kind is None or issubclass(kind, StopAsyncIteration):
            raise _unsent(ended_by)


def _unsent(error: BaseException) -> BaseException:
    """The same for an operation whose request was not wholly sent: what it is made of was still being waited for."""
    return error.unsent() if isinstance(error, AssociationError) else error
