"""The provider that the scoreboard measures: a Server in a separate process, with handlers that cost next to nothing.

It prints its port. For every line on standard input it prints its state as JSON (scoreboard/process.py).

    python -m scoreboard.provider                    C-STORE discards; C-FIND gives one match, C-GET fifty instances
    python -m scoreboard.provider --archive FOLDER   aiodimse.archive over a folder, with an index in memory
    --sql                                            an index in SQLite
    --log                                            log warnings to standard error
    --give FILE                                      C-GET gives this file instead
    --no-collector                                   without Python's garbage collector
    --save FOLDER                                    C-STORE saves, with the default limits of a Server
    --hang                                           fsync never returns
    --move-to PORT ...                               the ports to which C-MOVE sends small instances: the first, or
                                                     that of the number at which the Move Destination ends
    --moved NUMBER                                   how many it sends; 1 if not given
    --response SECONDS                               how long it waits for a response
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class, tls
from aiodimse.archive import Archive, MemoryIndex, provide

_PAGE = 4096
_BEAT = 0.01
"""Seconds between two measurements of the delay of the event loop."""
_HUNG: list[object] = []
"""The file descriptors whose fsync hangs."""
INSTANCES = 50
"""How many instances a C-GET gives, of 40 KB each."""


class Heart:
    """Measures the longest time for which the event loop did not turn."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._is_disturbed = False

    async def beat(self) -> None:
        """Measure until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_BEAT)
            if not self._is_disturbed:
                self.longest = max(self.longest, time.perf_counter() - before - _BEAT)
            self._is_disturbed = False

    def disturb(self) -> None:
        """Exclude the current turn, which the measurement itself has delayed."""
        self._is_disturbed = True

    def take(self) -> float:
        """Return the longest time since the last call."""
        longest, self.longest = self.longest, 0.0
        return longest


def held(heart: Heart) -> dict[str, float]:
    """Return used memory, its peak, open files, tasks, processor time and the longest stall."""
    stall = heart.take()
    if gc.isenabled():
        gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # returns the free memory of the heaps of the threads
    heart.disturb()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "peak": int(status["VmHWM"].split()[0]) * 1024,
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
        "hung": len(_HUNG),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "tasks": len(asyncio.all_tasks()),
        "processor": time.process_time(),
        "stall": stall,
    }


def image(number: int) -> Dataset:
    """Make a small instance."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class.CTImageStorage, f"1.2.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID = "1.2.3", "1.2.3.0", "1"
    made.Rows = made.Columns = 140
    made.BitsAllocated = made.BitsStored = 16
    made.PixelData = bytes(2 * 140 * 140)
    return made


def with_handlers(server: aiodimse.Server, chosen: argparse.Namespace) -> None:
    """Register handlers that need nothing, or a folder, or a file."""
    folder, given, move_to = chosen.save, chosen.give, chosen.move_to
    instances: list[Dataset | Path] = [image(number) for number in range(INSTANCES)] if given is None else [given]

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await (request.discard() if folder is None else request.save(folder))
        return 0x0000

    @server.on_c_find
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield 0xFF00, request.identifier

    @server.on_c_get
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield len(instances)
        for instance in instances:
            yield instance

    @server.on_c_move
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        last = request.move_destination[-1:]
        yield None if not move_to else ("127.0.0.1", move_to[int(last) if last.isdigit() else 0])
        yield chosen.moved
        for instance in instances[: chosen.moved]:
            yield instance


def options() -> argparse.Namespace:
    """Parse the options of this program."""
    parser = argparse.ArgumentParser(prog="python -m scoreboard.provider")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--sql", action="store_true")
    parser.add_argument("--move-to", type=int, nargs="+")
    parser.add_argument("--moved", type=int, default=1)
    parser.add_argument("--response", type=float)
    parser.add_argument("--give", type=Path)
    parser.add_argument("--no-collector", action="store_true")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--log", action="store_true", help="to standard error, what it warns of")
    parser.add_argument("--tls", type=Path, help="a folder with server.pem, a certificate and its key")
    return parser.parse_args()


def hang(fd: object) -> None:
    """Hang, as a disk that does not answer."""
    _HUNG.append(fd)
    threading.Event().wait()


async def main() -> None:
    """Serve until standard input ends or SIGTERM comes."""
    chosen = options()
    if chosen.log:
        logging.basicConfig(level=logging.WARNING)
    else:
        logging.getLogger("aiodimse").setLevel(logging.CRITICAL)
    if chosen.no_collector:
        gc.disable()
    if chosen.hang:
        os.fsync = hang
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    limits = aiodimse.Limits(max_associations=2000, max_pending_connections=2000)
    if chosen.save is not None:
        limits = aiodimse.Limits()
    timeouts = aiodimse.Timeouts() if chosen.response is None else aiodimse.Timeouts(response=chosen.response)
    server = aiodimse.Server(ae_title="SCORED", limits=limits, timeouts=timeouts)
    if chosen.archive is not None:
        provide(server, await Archive.open(chosen.archive, index=None if chosen.sql else MemoryIndex()))
    else:
        with_handlers(server, chosen)
    ssl = None if chosen.tls is None else tls.server_context(chosen.tls / "server.pem", verify_client=False)
    heart, reader = Heart(), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    beating = asyncio.create_task(heart.beat())
    async with server.listen("127.0.0.1", 0, ssl=ssl) as listening:
        gc.collect()
        gc.freeze()  # as `aiodimse serve` does, and this:
        sys.setswitchinterval(0.001)
        print(listening.port, flush=True)
        while await reader.readline():
            print(json.dumps(held(heart)), flush=True)
    beating.cancel()


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
