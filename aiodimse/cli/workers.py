"""serve --workers N: processes that listen on one port, and a parent that keeps so many of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from aiodimse.cli import reloading, signals
from aiodimse.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError, system_words
from aiodimse.cli.output import Output

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before a worker that died is started again: longer each time while it does not come to serve."""


async def run(options: Namespace, output: Output) -> int:
    """Start the workers, and end them on SIGTERM and Ctrl-C; what runs in them may end."""
    if options.index == "memory:":
        raise CommandError("--workers needs an index that processes share: not memory:", USAGE)
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CommandError("--workers needs SO_REUSEPORT, which this system has not", USAGE)
    try:
        reserved = _reserve(options.host, options.port)
    except OSError as error:
        raise CommandError(f"cannot listen on {options.host}:{options.port}: {system_words(error)}", FAILED) from None
    with reserved:
        parent = _Parent(options, reserved.getsockname()[1], output)
        hangup = signals.HANGUP if options.config is not None else ()
        with signals.heard(parent.stop, signal.SIGTERM, signal.SIGINT), signals.heard(parent.reload, *hangup):
            await parent.run()
    output.event({"event": "ended", **parent.numbers})
    output.line(f"ended; associations: {parent.numbers.get('associations', 0)}")
    return INTERRUPTED if parent.number == signal.SIGINT else 0


def _reserve(host: str, port: int) -> socket.socket:
    """Keep the port for the workers: bound, not listening, and so it gets no connections."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    reserved = socket.socket(family, kind, protocol)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except BaseException:
        reserved.close()
        raise
    return reserved


class _Parent:
    """Keeps the workers.

    Args:
        options: Of serve.
        port: That the workers listen on.
        output: Where it is told that they do.
    """

    def __init__(self, options: Namespace, port: int, output: Output) -> None:
        self._options, self._port, self._output = options, port, output
        self._stopping = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready = 0
        self._version = 0
        """Of the configuration: how often it was read again."""
        self._read: Namespace | None = None
        """The configuration that the workers of `_to_confirm` are still reading."""
        self._to_confirm: set[int] = set()
        self._serving: set[int] = set()
        """Places of the workers that have said that they serve, and hear signals."""
        self.number: int | None = None
        """The signal that ended it."""
        self.numbers: dict[str, Any] = {}
        """What all workers say of themselves, added up."""

    def stop(self, number: int) -> None:
        """Pass a signal on; the second one too, which aborts what still runs."""
        if self.number is None:
            self.number = number
            self._stopping.set()
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def reload(self, number: int) -> None:
        """Read the configuration again; where it is right, all workers do so too."""
        try:
            options = reloading.again(self._options)
        except CommandError as error:
            reloading.not_taken(self._options, error, self._output)
            return
        self._version += 1
        self._read, self._to_confirm = options, set(self._serving)
        for place in self._serving:
            self._pass_on(place)
        self._confirmed()

    def _confirmed(self, *places: int) -> None:
        """Workers have read the configuration again, or died; the last one says so for all."""
        if self._read is not None:
            self._to_confirm.difference_update(places)
            if not self._to_confirm:
                reloading.taken(self._options, self._read, self._output)
                self._read = None

    def _pass_on(self, place: int) -> None:
        with suppress(ProcessLookupError):
            self._processes[place].send_signal(signal.SIGHUP)

    async def run(self) -> None:
        """Run until stopped and all workers have ended."""
        # The first one reads what the folder holds; the others find an index that is complete.
        first_ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(0, first_ready))
            await first_ready.wait()
            for place in range(1, self._options.workers):
                group.create_task(self._keep(place, asyncio.Event()))

    async def _keep(self, place: int, ready: asyncio.Event) -> None:
        """Keep one worker, started again when it dies."""
        wait = _FIRST_WAIT
        try:
            while not self._stopping.is_set():
                came_to_serve = await self._one(place, ready)
                if self._stopping.is_set():
                    return
                if not ready.is_set():
                    raise CommandError("a worker ended before it served", FAILED)
                wait = _FIRST_WAIT if came_to_serve else min(2 * wait, _LONGEST_WAIT)
                self._output.note(f"{self._options.prog}: worker {place} died, and is started again in {wait:g} s")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
        finally:
            ready.set()

    async def _one(self, place: int, ready: asyncio.Event) -> bool:
        """One worker from its start to its end; whether it came to serve."""
        words = [*self._options.argv, "--workers", "1", "--port", str(self._port), "--worker", str(place), "--json"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aiodimse", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which passes it on
        )  # fmt: skip
        self._processes[place] = process
        came_to_serve, version = False, self._version
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                with suppress(ValueError):
                    event = json.loads(line)
                    if event.get("event") == "ready":
                        came_to_serve = True
                        self._serving.add(place)
                        if version != self._version:  # it may have read the configuration before that changed
                            self._pass_on(place)
                        self._tell_ready(event, place, is_again=ready.is_set())
                        ready.set()
                    elif event.get("event") == "configuration":
                        self._confirmed(place)
                    elif event.get("event") == "ended":
                        _add(self.numbers, {name: value for name, value in event.items() if name != "event"})
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            del self._processes[place]
            self._serving.discard(place)
            self._confirmed(place)
        return came_to_serve

    def _tell_ready(self, event: Mapping[str, Any], place: int, *, is_again: bool) -> None:
        if is_again:
            self._output.line(f"worker {place} serves again")
            self._output.event({"event": "worker", "worker": place})
            return
        self._ready += 1
        if self._ready == self._options.workers:
            options = self._options
            where = f"{options.host}:{self._port} with {self._ready} workers"
            self._output.line(f"{options.ae_title} serves {options.directory} on {where} (Ctrl-C ends it)")
            self._output.event({**event, "workers": self._ready})
            self._output.goes_on = True


@contextmanager
def bound_to_parent(stop: Callable[[int], None]) -> Iterator[None]:
    """In a worker, while the body runs: end as on SIGTERM when the parent is gone, and with it the other end of
    standard input."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop(signal.SIGTERM)

    loop.add_reader(0, readable)
    try:
        yield
    finally:
        loop.remove_reader(0)


def _add(total: dict[str, Any], numbers: Mapping[str, Any]) -> None:
    """Add numbers up, those in mappings too."""
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, (int, float)):
            total[name] = total.get(name, 0) + value
