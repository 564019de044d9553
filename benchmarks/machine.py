"""The machine and the versions of a run."""

from __future__ import annotations

import contextlib
import os
import platform
import ssl
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, TypeVar

from benchmarks.processes import ROOT, run

T = TypeVar("T")


def _first_line(*command: str) -> str:
    try:
        trial, output = run(command, done=1, output=True, cwd=ROOT)
    except (OSError, subprocess.SubprocessError):
        return "not installed"
    if trial.problem:
        return "unknown"
    lines = output.strip().splitlines()
    return lines[0].strip(" $") if lines else ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _optimized() -> str:
    """Return whether this Python has profile-guided optimization; without it, it is slower by some tenths."""
    return "" if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")) else " (not PGO)"


def load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def pace(folder: Path) -> dict[str, str]:
    """Return how long a new file and the flush of 40 KB take: medians of a hundred.

    On ext4 a new file takes thirty times as long for six minutes after many files were deleted, because their inodes
    are passed over one by one.
    """
    with tempfile.TemporaryDirectory(prefix="pace-", dir=folder) as name, contextlib.ExitStack() as opened:
        paths = [Path(name, str(number)) for number in range(100)]
        files: list[BinaryIO] = []

        def make(path: Path) -> None:
            files.append(opened.enter_context(path.open("xb", buffering=0)))

        def flush(file: BinaryIO) -> None:
            file.write(bytes(40_000))
            os.fsync(file.fileno())

        return {"new file": _median(make, paths), "40 KB flushed": _median(flush, files)}


def _median(do: Callable[[T], object], things: Sequence[T]) -> str:
    took = []
    for thing in things:
        started = time.perf_counter()
        do(thing)
        took.append(time.perf_counter() - started)
    return f"{statistics.median(took) * 1e6:.0f} us"


def description() -> dict[str, str]:
    """Return versions and machine."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _first_line("git", "describe", "--always", "--dirty", "--tags"),
        "python": f"{sys.version.split()[0]}{_optimized()}",
        "openssl": ssl.OPENSSL_VERSION.removeprefix("OpenSSL "),
        **{name: _version(name) for name in ("aiodimse", "pydicom", "pynetdicom", "uvloop")},
        "dcmtk": _first_line("storescp", "--version"),
        "orthanc": _first_line("Orthanc", "--version"),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
    }
