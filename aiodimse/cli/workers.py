"""serve --workers N: N processes that listen on one port, and a parent that restarts those that die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiodimse.aio.clock import Clock
from aiodimse.aio.files import read_off_loop
from aiodimse.aio.listener import bound_copies
from aiodimse.archive.index.opening import put_damaged_aside
from aiodimse.cli import beginning, listening, reloading, signals
from aiodimse.cli import options as shared
from aiodimse.cli.ending import longest_end
from aiodimse.cli.failures import FAILED, INTERRUPTED, TERMINATED, USAGE, CommandError, system_words
from aiodimse.cli.folders import ServedFolders
from aiodimse.cli.output import Output
from aiodimse.cli.sharing import InForce, Inherited
from aiodimse.cli.tally import Counts, Tally, report_totals, reported_each_minute

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before a worker that died is started again. The time doubles while the worker dies before it has served."""
_LONGEST_WAIT_OF_READY = 5.0
"""The same for a worker that came to serve: what ended it may have come from outside."""
_HAS_SERVED = 1.0
"""Seconds that a worker has to live from the moment that it is ready. One that dies earlier cannot serve at all."""
_ENDED = (0, TERMINATED, -signal.SIGTERM)
"""Exit statuses of a worker that ended when it was asked to, before or after it served."""
_SIGN = 10.0
"""Seconds between two signs of life of a worker that serves."""
_MISSED = 6
"""How many of them may fail to come before a worker is killed: it was stopped, or its event loop hangs, and it may hold
locks that the others wait for. They are counted, so that a pause of the whole machine is one of them."""
_MORE = 5.0
"""Seconds after which a worker that does not end is killed, and after that the parent, if killing does not help."""


async def run(options: Namespace, output: Output) -> int:
    """Start the workers, and end them on SIGTERM and Ctrl-C. Operations that run in them may finish."""
    if options.index == "memory:":
        raise CommandError("--workers needs an index that processes share: not memory:", USAGE)
    if sys.platform == "win32":
        raise CommandError("--workers needs sockets that processes inherit, which Windows does not have", USAGE)
    async with ServedFolders(by_workers=True) as folders:
        for folder in beginning.folders(options):
            await folders.take(folder)
        await read_off_loop(_put_damaged_aside, options)
        return await _run(options, output, folders)


async def _run(options: Namespace, output: Output, folders: ServedFolders) -> int:
    with Inherited(bound_copies(await listening.bound(options)), options.workers, options.words) as inherited:
        parent = _Parent(options, inherited, output, folders)
        hangup = signals.HANGUP if options.config is not None else ()
        with (
            signals.handled(parent.stop, *signals.stopping(options)),
            signals.handled(parent.requests.note, *hangup),
            reported_each_minute(parent.tally, output, Clock()),
        ):
            try:
                await parent.run()
            except ExceptionGroup as group:
                errors, others = group.split(CommandError)
                if errors is None or others is not None:
                    raise
                raise errors.exceptions[0] from None
    report_totals(parent.ended, output)
    if parent.has_failed:
        return FAILED
    return INTERRUPTED if parent.number == signal.SIGINT else 0


def _put_damaged_aside(options: Namespace) -> None:
    """Put indexes aside that were found to be damaged. A worker cannot, since others may have them open. Blocks."""
    places = [(options.index, options.directory), *((None, folder) for _, folder in options.called if folder)]
    for index, place in places:
        try:
            put_damaged_aside(index, place if isinstance(place, Path) else None)
        except OSError as error:
            raise CommandError(system_words(error), FAILED) from None
        except (ValueError, ModuleNotFoundError) as error:
            raise CommandError(str(error), USAGE) from None


class _Parent:
    """Starts the workers, and starts each of them again when it dies.

    Args:
        options: The options of serve.
        inherited: What the workers inherit.
        output: Where starts, deaths and the end are reported.
        folders: The folders that the workers serve.
    """

    def __init__(self, options: Namespace, inherited: Inherited, output: Output, folders: ServedFolders) -> None:
        self._options, self._inherited, self._output, self._folders = options, inherited, output, folders
        self._stopping = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready = 0
        self._version = 0
        """How often the configuration was read again."""
        self._read: Namespace | None = None
        """The configuration that the workers of `_to_confirm` are still reading."""
        self._to_confirm: set[int] = set()
        self._refused = False
        """Whether one of them could not apply it."""
        self._words: tuple[str, ...] = tuple(options.words)
        """The words of the configuration that all workers have applied."""
        self._serving: set[int] = set()
        """Places of the workers that have reported that they serve. These handle signals."""
        self.requests = signals.Requests()
        """Those to read the configuration again."""
        self.number: int | None = None
        """The signal that ended the service."""
        self.has_failed = False
        """Whether a worker ended otherwise than it was told to."""
        self.tally: Tally = Tally()
        """What the workers reported of each minute, added up."""
        self.ended: Counts = Counts()
        """What the workers reported at their ends, added up. Of one that was killed: what it reported each minute."""
        self._minutes: dict[int, Counts] = {}
        """By place of a worker, what it reported each minute."""

    def stop(self, number: int) -> None:
        """Pass a signal on to the workers. A second signal, unless it is SIGHUP, aborts what still runs."""
        if self.number is not None and number in signals.HANGUP:
            return
        if self.number is None:
            self.number = number
            self._stopping.set()
            self._inherited.stop_listening()
            within = longest_end(shared.timeouts(self._options)) + _MORE
            asyncio.get_running_loop().call_later(within, self._kill)
            self._options.ending.within(within + _MORE, FAILED)
        for process in self._processes.values():
            self._end_worker(process)

    def _end_worker(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        for place, process in self._processes.items():
            self._output.note(f"{self._options.prog}: worker {place} does not end, and is killed")
            with suppress(ProcessLookupError):
                process.kill()

    async def reload(self) -> None:
        """Read the configuration again. If it is right, have all workers apply it."""
        try:
            options = reloading.read_again(self._options)
            await self._folders.take_all(beginning.folders(reloading.in_force(self._options, options)))
            self._put_in_force(options.words)
        except Exception as error:  # the next request is heard, too
            reloading.report_rejected(self._options, error, self._output)
        else:
            self._read, self._to_confirm, self._refused = options, set(self._serving), False
            self._confirmed()

    def _put_in_force(self, words: Sequence[str]) -> None:
        """Have all workers apply a configuration, those that are started later too. Raises OSError."""
        in_force = InForce(self._version + 1, tuple(self._options.words), tuple(words))
        self._inherited.configuration.write(in_force)
        self._version = in_force.version
        for place in self._serving:
            self._pass_on(place)

    def _confirmed(self, *places: int, refused: bool = False) -> None:
        """Note workers that have applied the configuration, or refused it, or died. After the last, report it once.

        One that was refused by some workers is in force in none: those that applied it go back to the one before.
        """
        if self._read is None:
            return
        self._to_confirm.difference_update(places)
        self._refused |= refused
        if self._to_confirm:
            return
        read, self._read = self._read, None
        if not self._refused:
            self._words = tuple(read.words)
            reloading.report_applied(self._options, read, self._output)
            return
        with suppress(OSError):  # it has room: that of the one before is kept
            self._put_in_force(self._words)
        self._output.event({"event": "configuration", "taken": False})  # the workers say why

    def _pass_on(self, place: int) -> None:
        with suppress(ProcessLookupError):
            self._processes[place].send_signal(signal.SIGHUP)

    async def run(self) -> None:
        """Run until stopped and all workers have ended."""
        # The first worker reads the files of the folder, so the others find a complete index.
        first_ready = asyncio.Event()
        rereading = asyncio.create_task(self.requests.answer(self.reload))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(0, first_ready))
                await first_ready.wait()
                for place in range(1, self._options.workers):
                    group.create_task(self._keep(place, asyncio.Event()))
        finally:
            rereading.cancel()

    async def _keep(self, place: int, ready: asyncio.Event) -> None:
        """Run one worker, and start it again when it dies, until stopped."""
        wait = _FIRST_WAIT / 2
        try:
            while not self._stopping.is_set():
                served: float | None = None
                try:
                    process = await self._started(place)
                except OSError as error:  # the system has no memory or no process to spare
                    what = f"cannot be started: {listening.why_not(error)}"
                else:
                    served, how = await self._one(place, process, ready)
                    what = f"died ({how})" if ready.is_set() else f"ended before it served ({how})"
                if self._stopping.is_set():
                    return
                if place == 0 and not ready.is_set():  # the others would not begin either
                    raise CommandError(f"a worker {what}", FAILED)
                longest = _LONGEST_WAIT if served is None else _LONGEST_WAIT_OF_READY
                wait = _FIRST_WAIT if served is not None and served >= _HAS_SERVED else min(2 * wait, longest)
                self._output.note(f"{self._options.prog}: worker {place} {what}; it is started again in {wait:g} s")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
        finally:
            ready.set()

    async def _started(self, place: int) -> asyncio.subprocess.Process:
        """Start the process of one worker. Raises OSError."""
        inherited = self._inherited
        words = ["serve", "--inherited", inherited.words(place)]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aiodimse", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            pass_fds=inherited.descriptors,
            start_new_session=True,  # Ctrl-C reaches only the parent, which passes it on
        )  # fmt: skip

    async def _one(
        self, place: int, process: asyncio.subprocess.Process, ready: asyncio.Event
    ) -> tuple[float | None, str]:
        """Follow one worker from its start to its end. Return for how many seconds it served, and how it ended."""
        loop = asyncio.get_running_loop()
        self._processes[place], self._minutes[place] = process, Counts()
        ready_at: float | None = None
        version = self._version
        try:
            if self._stopping.is_set():  # while the worker was being started
                self._end_worker(process)
            while line := await self._next_line(place, process):
                with suppress(ValueError):
                    event = json.loads(line)
                    if event.get("event") == "ready":
                        ready_at = loop.time()
                        self._serving.add(place)
                        if version != self._version:  # the worker may have read the configuration before it changed
                            self._pass_on(place)
                        self._tell_ready(event, place, is_again=ready.is_set())
                        ready.set()
                    else:
                        self._told(event, place)
            await process.wait()
            self.has_failed |= self._stopping.is_set() and process.returncode not in _ENDED
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            del self._processes[place]
            self._left(place)
        return None if ready_at is None else loop.time() - ready_at, _how(process.returncode)

    def _left(self, place: int) -> None:
        """Note that there is no worker in this place any more."""
        self._inherited.counts.leave(place)
        minutes = self._minutes.pop(place)
        self.ended.add(minutes.associations, minutes.document())
        self._serving.discard(place)
        self._confirmed(place)

    async def _next_line(self, place: int, process: asyncio.subprocess.Process) -> bytes:
        """Return the next line that a worker prints, b"" after the last. Kill one that serves without signs of life."""
        assert process.stdout is not None
        missed = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SIGN):
                    return await process.stdout.readline()
            missed += 1
            if missed == _MISSED and place in self._serving and not self._stopping.is_set():
                silent = f"has given no sign of life for {missed * _SIGN:g} s, and is killed"
                self._output.note(f"{self._options.prog}: worker {place} {silent}")
                with suppress(ProcessLookupError):
                    process.kill()

    def _told(self, event: Mapping[str, Any], place: int) -> None:
        """Take what a worker reports while it serves, and at its end."""
        match event.get("event"):
            case "configuration" if event["version"] == self._version:  # it may have applied an earlier one before
                self._confirmed(place, refused=not event["taken"])
            case "scan":
                self._output.line(event["found"])
            case "minute":
                self.tally.add(event, self._inherited.counts.connections)
                self._minutes[place].add(event["associations"]["new"], event)
            case "ended":
                self.ended.add(event["associations"], event)
                self._minutes[place] = Counts()  # which the event counts too

    def _tell_ready(self, event: Mapping[str, Any], place: int, *, is_again: bool) -> None:
        if is_again:
            self._output.line(f"worker {place} serves again")
            self._output.event({"event": "worker", "worker": place})
            return
        self._ready += 1
        if self._ready == self._options.workers:
            options = self._options
            where = f"{options.host}:{self._inherited.port} with {self._ready} workers"
            self._output.line(f"{options.ae_title} serves {options.directory} on {where} (Ctrl-C ends it)")
            self._output.event({**event, "workers": self._ready})
            self._output.goes_on = True


@contextmanager
def bound_to_parent(stop: Callable[[int], None], output: Output) -> Iterator[None]:
    """End a worker as SIGTERM does if its parent ends while the body runs, and give the parent signs of life.

    The parent holds the other end of the worker's standard input, which is closed when the parent ends.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def give_sign() -> None:
        nonlocal timer
        output.event({"event": "alive"})
        timer = loop.call_later(_SIGN, give_sign)

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop(signal.SIGTERM)

    loop.add_reader(0, readable)
    timer = loop.call_later(_SIGN, give_sign)
    try:
        yield
    finally:
        timer.cancel()
        loop.remove_reader(0)


def _how(status: int | None) -> str:
    """Say how a process ended, by its exit status as of asyncio."""
    with suppress(ValueError):
        return signal.Signals(-(status or 0)).name
    return f"exit status {status}"
