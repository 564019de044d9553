"""The processes in which frames are decoded and encoded, and what one of them does.

Codecs run in processes because they hold the interpreter for milliseconds, during which the event loop would stop, and
because data that a peer compressed may crash them. multiprocessing is not used: a spawned process imports the main
module of the program, which runs a script without a guard a second time; and if one process of a ProcessPoolExecutor
ends, the work of all others is lost. Each process here has one frame at a time, so a crash costs only that frame.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from struct import pack, unpack
from threading import Lock, Timer
from typing import IO, Any, Final

from aiodimse.datasets.pixels.jobs import Frame, FrameJob, PixelFormat
from aiodimse.errors import DatasetEncodeError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_START: Final = (
    "import sys, json; sys.path[:] = json.loads(open(0, 'rb', buffering=0, closefd=False).readline()); "
    "from aiodimse.datasets.pixels.processes import serve; serve()"
)
_HEADER: Final = "<LQ"
_HEADER_SIZE: Final = 12
_LONGEST_WORDS: Final = 1 << 16
_EXIT_WITHIN: Final = 2.0
_SPARE: Final = 1 << 30
_STATM: Final = Path("/proc/self/statm")


class Processes:
    """Processes that are started when they are needed, and then wait for the next frame.

    It may be used from several threads. There are at most as many processes as threads that convert.
    """

    def __init__(self) -> None:
        """Start no process yet."""
        self._idle: deque[_Process] = deque()
        self._all: set[_Process] = set()
        self._lock = Lock()

    def convert(self, job: FrameJob, data: bytes, *, timeout: float | None) -> Frame:
        """Convert a frame in an idle process. The calling thread waits for it.

        Args:
            job: What to do.
            data: The frame.
            timeout: Seconds after which the process is ended; None: no limit.

        Raises:
            DatasetEncodeError: The frame cannot be converted, that took too long, or the process crashed.
        """
        process = self._take()
        try:
            frame = process.convert(job, data, timeout)
        except BaseException:
            self._give_back(process)
            raise
        self._give_back(process)
        return frame

    def _take(self) -> _Process:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                self._all.discard(process)  # it was ended from outside
                process.kill()
        try:
            process = _Process()
        except OSError as error:
            raise DatasetEncodeError(f"no process for codecs can be started ({type(error).__name__})") from error
        with self._lock:
            self._all.add(process)
        return process

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            if process.is_sound:
                self._idle.append(process)
                return
            self._all.discard(process)
        process.kill()

    def close(self) -> None:
        """End all processes, those that are idle and those that work."""
        with self._lock:
            processes, self._all, self._idle = self._all, set(), deque()
        for process in processes:
            process.end()

    def forget(self) -> None:
        """Forget the processes after a fork: they belong to the parent, and our copies of the pipes keep them alive."""
        for process in self._all:
            process.forget()
        self._idle, self._all, self._lock = deque(), set(), Lock()


class _Process:
    """One process, and the pipes to it."""

    def __init__(self) -> None:
        if not sys.executable:
            raise FileNotFoundError("there is no Python interpreter to start")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # codecs print warnings about frames
            start_new_session=True,  # Ctrl-C is for the program
        )
        self.is_sound: bool = False
        """Whether the process waits for a frame."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout
        self._path: bytes | None = json.dumps(sys.path).encode() + b"\n"

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def convert(self, job: FrameJob, data: bytes, timeout: float | None) -> Frame:
        self.is_sound, late = False, False

        def end() -> None:
            nonlocal late
            late = True
            self._process.kill()

        timer = Timer(timeout, end) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            if self._path is not None:
                self._to.write(self._path)
                self._path = None
            _send(self._to, {"source": job.source, "target": job.target, "format": asdict(job.format)}, data)
            words, frame = _receive(self._from, most=4 * job.format.frame_size + (1 << 20))
        except (OSError, EOFError, ValueError):
            raise DatasetEncodeError(
                f"a frame took over {timeout:g} s" if late and timeout else "a codec crashed at a frame"
            ) from None
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()  # otherwise it might end the process during the next frame
        if late:
            raise DatasetEncodeError(f"a frame took over {timeout:g} s")
        self.is_sound = True
        if "error" in words:
            raise DatasetEncodeError(f"pixels that cannot be converted: {words['error']}")
        return Frame(frame, str(words["photometric"]), int(words["bits"]), int(words["stored"]))

    def kill(self) -> None:
        self._process.kill()
        self.let_go()
        self._process.wait()

    def end(self) -> None:
        """Close the pipes, which ends the process. After two seconds it is killed."""
        self.let_go()
        try:
            self._process.wait(_EXIT_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Close our copies of the pipes. Buffered data belongs to the parent process, so it is not written."""
        for pipe in (self._to, self._from):
            raw: Any = pipe
            raw.raw.close()
        self._process.returncode = 0  # the process is not our child, so it must not be waited for

    def let_go(self) -> None:
        for pipe in (self._to, self._from):
            with suppress(OSError):  # data that can no longer be written
                pipe.close()


def _send(pipe: IO[bytes], words: dict[str, Any], data: bytes) -> None:
    encoded = json.dumps(words).encode()
    pipe.write(pack(_HEADER, len(encoded), len(data)) + encoded)
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes], *, most: int) -> tuple[dict[str, Any], bytes]:
    """Receive a message. Raises EOFError at the end, and ValueError if it is not a message."""
    header = pipe.read(_HEADER_SIZE)
    if len(header) < _HEADER_SIZE:
        raise EOFError
    length, size = unpack(_HEADER, header)
    if length > _LONGEST_WORDS or size > most:
        raise ValueError("a message that is too long")
    words, data = json.loads(pipe.read(length)), pipe.read(size)
    if len(data) < size or not isinstance(words, dict):
        raise EOFError
    return words, data


processes: Final = Processes()
"""The processes of this program."""
atexit.register(processes.close)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=processes.forget)


# --- in the process ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Convert frames until the end of standard input. This is the main function of a worker process."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # some codecs print to standard output
    from aiodimse.datasets.pixels.codecs import convert

    while True:
        try:
            words, data = _receive(requests, most=1 << 62)
        except EOFError:
            return
        job = FrameJob(words["source"], words["target"], PixelFormat(**words["format"]))
        try:
            with _BoundedMemory(8 * job.format.frame_size + len(data)):
                frame = convert(job, data)
        except DatasetEncodeError as error:
            _send(answers, {"error": str(error)}, b"")
        except Exception as error:  # its text may quote values
            _send(answers, {"error": type(error).__name__}, b"")
        else:
            told = {
                "photometric": frame.photometric_interpretation,
                "bits": frame.bits_allocated,
                "stored": frame.bits_stored,
            }
            _send(answers, told, frame.data)


class _BoundedMemory:
    """Limits the memory of a conversion, since a code stream with wrong dimensions makes a codec ask for too much."""

    def __init__(self, size: int) -> None:
        """Take the number of bytes that an honest frame may need, in addition to a constant."""
        self._size = size

    def __enter__(self) -> None:
        if resource is not None and _STATM.exists():
            now = int(_STATM.read_text().split()[0]) * resource.getpagesize()
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            most = now + self._size + _SPARE
            resource.setrlimit(resource.RLIMIT_AS, (most if hard == -1 else min(most, hard), hard))

    def __exit__(self, *_: object) -> None:
        if resource is not None and _STATM.exists():
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
