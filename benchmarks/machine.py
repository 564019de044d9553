"""What the figures were taken on and with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.processes import ROOT, run


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


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def description() -> dict[str, str]:
    """Versions and machine."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _first_line("git", "describe", "--always", "--dirty", "--tags"),
        "python": sys.version.split()[0],
        **{name: _version(name) for name in ("aiodimse", "pydicom", "pynetdicom", "uvloop")},
        "dcmtk": _first_line("storescp", "--version"),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
    }
