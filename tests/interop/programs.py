"""Starting and stopping strangers: a deadline on everything, no fixed sleeps, their output kept for messages."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

READY = 60.0
PATIENCE = 60.0


def missing(program: str) -> NoReturn:
    """Skip, saying how to install it; in CI a missing peer is a failure."""
    message = f"{program} is not installed; as root: .ci/peers"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def need(program: str) -> str:
    """The path of a program. Debian keeps Orthanc in /usr/sbin, which is not on every PATH."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/bin")
    return found or missing(program)


def wait_for_port(port: int, provider: Provider, deadline: float = READY) -> None:
    """Return once the provider accepts connections; it is the process that is waited on, so its death is seen."""
    for _ in range(int(deadline / 0.02)):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            provider.process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"nobody listens on port {port}\n{provider.describe()}")


class Provider:
    """A process that listens, and where its output goes. stop() ends exactly this process."""

    def __init__(self, command: Sequence[str], port: int, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.command, self.port, self.folder = list(command), port, folder
        self._log = folder / f"{Path(command[0]).name}-{port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **(env or {})},
            )
        try:
            wait_for_port(port, self)
        except BaseException:
            self.stop()
            raise

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def describe(self) -> str:
        code = self.process.poll()
        return f"$ {' '.join(self.command)}\n[{'running' if code is None else f'ended {code}'}]\n{self.output[-3000:]}"

    def stop(self, deadline: float = 10.0) -> int:
        """Terminate, wait, kill past the deadline. Returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


RUNNING: list[Provider] = []
"""Every provider that runs now: a failed test shows what they printed."""


class Keeper:
    """Starts providers, each in a folder of its own, and stops them all at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mine: list[Provider] = []

    def start(self, kind: Callable[..., Any], *args: Any, **more: Any) -> Any:
        folder = self.folder / f"{kind.__name__.lower()}-{len(self._mine)}"
        folder.mkdir()
        provider = kind(folder, *args, **more)
        self._mine.append(provider)
        RUNNING.append(provider)
        return provider

    def stop(self) -> None:
        for provider in reversed(self._mine):
            provider.stop()
            RUNNING.remove(provider)


@dataclass(frozen=True)
class Finished:
    """What a program left behind: exit status and all it printed (stdout and stderr as they came)."""

    command: tuple[str, ...]
    code: int
    output: str

    def __str__(self) -> str:
        return f"$ {' '.join(self.command)}\n[exit {self.code}]\n{self.output}"

    def check(self, code: int = 0) -> Finished:
        assert self.code == code, str(self)
        return self


async def run(
    *command: str | Path,
    patience: float = PATIENCE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    merge: bool = True,
) -> Finished:
    """Run a program to its end while our own loop goes on serving it. merge False keeps stderr out of .output."""
    words = tuple(str(word) for word in command)
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(patience):
            stdout, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        stdout, _ = await process.communicate()
        output = stdout.decode("utf-8", "replace")
        raise AssertionError(f"$ {' '.join(words)}\n[not finished after {patience} s]\n{output}") from None
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(words, process.returncode, stdout.decode("utf-8", "replace"))
