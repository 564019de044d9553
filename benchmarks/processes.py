"""Processes of the bench: our own workers, which take commands in JSON lines, and the programs of the peers.

Each process is stopped by its own id at the end. Everything has a deadline, and nothing waits by sleeping.
"""

from __future__ import annotations

import json
import os
import resource
import select
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Incomplete, Trial

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
NODELAY = {"TCP_NODELAY": "1"}
"""Turns Nagle's algorithm off in DCMTK. Without it in the environment, DCMTK uses its default, which is on."""
READY = 30.0
_NOT_OURS = ("TCP_NODELAY", "PYTHONDONTWRITEBYTECODE")


def free_port() -> int:
    """Return a port on which nobody listens now, for programs that cannot report which port they got."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def need(program: str) -> str:
    """Return the path of a program. Debian keeps Orthanc in /usr/sbin."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        raise Incomplete(f"{program} is not installed: apt-get install -y dcmtk orthanc")
    return found


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with the path of the benchmarks, without variables that would change one of the sides."""
    env = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    return {**env, **(more or {})}


class Process:
    """A process that serves until it is stopped. received: the folder to which a program writes."""

    port: int
    received: Path

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self._log = name, folder / f"{name}.log"
        self._log_file = self._log.open("wb")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if isinstance(self, Worker) else self._log_file,
            stderr=self._log_file,
            cwd=folder,
            env=environment(env),
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise Incomplete if the process has died."""
        if (code := self.process.poll()) is not None:
            raise Incomplete(f"{self.name} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-300:]

    def wait_for_port(self, port: int) -> None:
        """Return when the process accepts connections."""

        def accepts() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((HOST, port)) == 0

        self._wait(accepts, f"does not listen on {port}")

    def wait_for_words(self, words: str) -> None:
        """Return when the process has printed these words."""
        self._wait(lambda: words in self._log.read_text(encoding="utf-8", errors="replace"), f"did not say {words!r}")

    def _wait(self, is_ready: Callable[[], bool], why_not: str) -> None:
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            if is_ready():
                return
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            break
        self.check()
        raise Incomplete(f"{self.name} {why_not}")

    def stop(self) -> None:
        """Terminate the process, wait, and kill it after the deadline."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._log_file):
            if stream is not None:
                stream.close()

    # --- values from the kernel ---------------------------------------------------------------------------------------

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    @property
    def rss(self) -> int:
        """The resident bytes now."""
        return self._status("VmRSS")

    @property
    def peak_rss(self) -> int:
        """The most resident bytes since reset_peak."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Set the high water mark to the resident memory. On Linux, 5 in clear_refs does so (proc(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    @property
    def cpu_seconds(self) -> float:
        """The user and system time so far, without children."""
        return _cpu_seconds(self.pid)

    @property
    def cpu_seconds_with_children(self) -> float:
        """The user and system time so far, with that of the running children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        return self.cpu_seconds + sum(_cpu_seconds(int(each)) for each in children)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker(Process):
    """`python -m benchmarks.peers.NAME`: prints {"port": ...} when it is ready, then one JSON line per command."""

    def __init__(self, module: str, folder: Path, name: str | None = None, /, **options: Any) -> None:
        command = [sys.executable, "-m", f"benchmarks.peers.{module}", json.dumps(options, default=str)]
        self.module = module
        super().__init__(name or module, command, folder)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)
        self.port = int(self._answer(READY).get("port") or 0)

    def ask(self, command: str, patience: float = 120.0, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer. Raise Incomplete if it fails, dies or takes too long."""
        self.check()
        assert self.process.stdin is not None
        line = json.dumps({"command": command, **arguments}, default=str)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer(patience)
        if "error" in answer:
            raise Incomplete(f"{self.name}: {answer['error']}")
        return answer

    def _answer(self, patience: float) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                self.process.kill()
                self.process.wait()
                raise Incomplete(f"{self.name} took more than {patience:.0f} s")
            chunk = self.process.stdout.read(65536)
            if not chunk:
                self.process.wait()
                self.check()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        self._selector.close()
        super().stop()


def run(
    command: Sequence[str | Path],
    *,
    done: int,
    env: Mapping[str, str] | None = None,
    patience: float = 120.0,
    cwd: Path | None = None,
    output: bool = False,
) -> tuple[Trial, str]:
    """Run a program to its end. Return its wall time and, with `output`, what it printed, which takes some time."""
    words = [str(word) for word in command]
    sink = subprocess.PIPE if output else subprocess.DEVNULL
    started = time.perf_counter()
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment(env), cwd=cwd
    )
    ends = os.pidfd_open(process.pid)  # A wait of `subprocess` with a timeout looks every 50 ms.
    try:
        if not output and not select.select([ends], [], [], patience)[0]:
            raise subprocess.TimeoutExpired(words, patience)
        printed, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Trial(0, patience, f"{Path(words[0]).name} took more than {patience:.0f} s"), ""
    finally:
        os.close(ends)
    seconds = time.perf_counter() - started
    problem = f"{Path(words[0]).name} ended with {process.returncode}" if process.returncode else ""
    return Trial(done, seconds, problem), (printed or b"").decode("utf-8", "replace")


def raise_open_files(wanted: int = 16384) -> str:
    """Raise RLIMIT_NOFILE as far as needed and allowed; our workers inherit it. Return a sentence about the change."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < goal:
        resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
        return f"RLIMIT_NOFILE raised from {soft} to {goal}"
    return f"RLIMIT_NOFILE is {soft}: not raised"
