"""Rows that are made from tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from scoreboard.row import Row

ROOT = Path(__file__).resolve().parents[1]


def counted(figure: str, target: str, paths: Sequence[str], least: Mapping[str, int], **variables: str) -> Row:
    """Make a row from tests: the numbers that they record by record_property, how many ran, and whether all passed.

    least: the least sum of the recorded numbers whose names begin with these words. With CI set, no test is skipped
    because something is missing.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *paths]
    variables = {"CI": "true", **variables}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command.append(f"--junitxml={report}")
        run = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
        numbers = _numbers(report)
    if run.returncode != 0:
        print(run.stdout[-5000:], run.stderr[-5000:], sep="\n", file=sys.stderr)
    last = (run.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    words = ", ".join(f"{number:,} {what}" for what, number in numbers.items())
    enough = all(
        sum(number for what, number in numbers.items() if what.startswith(start)) >= wanted
        for start, wanted in least.items()
    )
    return Row(figure, target, f"{words}: {last}" if words else last, enough and run.returncode == 0)


def _numbers(report: Path) -> Counter[str]:
    """Return the sum of each number that tests have recorded."""
    numbers: Counter[str] = Counter()
    if report.exists():
        for each in ElementTree.parse(report).iter("property"):
            if (value := each.attrib["value"]).isdigit():  # hypothesis records statistics that are not numbers
                numbers[each.attrib["name"]] += int(value)
    return numbers
