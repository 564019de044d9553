"""Signals of the system, handled in the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

HANGUP = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))
"""SIGHUP, on systems that have it. It tells a service to read its configuration again, or that its terminal was closed,
which a shell and the system may both tell."""


def stopping(options: Namespace) -> tuple[signal.Signals, ...]:
    """Return the signals that end serve: also SIGHUP, if there is no configuration to read again."""
    return (signal.SIGTERM, signal.SIGINT, *(HANGUP if options.config is None else ()))


class Requests:
    """What a signal asks for: `note` is its handler, and `answer` does the work."""

    def __init__(self) -> None:
        self._noted = asyncio.Event()

    def note(self, number: int) -> None:
        """Note a request. Those that come before it is answered are one request."""
        self._noted.set()

    async def answer(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work after each request, until cancelled. A request that comes meanwhile has it done once more."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await work()


@contextmanager
def handled(call: Callable[[int], None], *numbers: int, afterward: signal.Handlers | None = None) -> Iterator[None]:
    """Call `call` with the number of each of these signals that arrives while the body runs.

    Afterward the previous handlers are restored, or `afterward` is set, without a moment between the two.
    loop.add_signal_handler is not used: a loop that closes restores the default of SIGTERM, which kills the process,
    and Windows does not have the method. Outside the main thread Python allows no handlers, so nothing is handled
    there.
    """
    loop, before = asyncio.get_running_loop(), {}

    def handler(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(call, number)

    with suppress(ValueError):  # not the main thread
        for number in numbers:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each if afterward is None else afterward)


def leave_on_ctrl_c(code: int) -> None:
    """Let another Ctrl-C end the process at once, without a traceback."""
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(code))
