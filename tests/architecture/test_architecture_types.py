"""What users' type checkers know of the public names: the share that pyright --verifytypes counts, which only grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LEAST_SHARE = 0.98
"""Of the symbols, those whose type is known without inference. Raise it when it has grown."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What pyright says of the types of the package, as installed."""
    pytest.importorskip("pyright")
    # With --verifytypes pyright looks for the package where the first Python on the path has it.
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "pyright", "--verifytypes", "aiodimse", "--ignoreexternal", "--outputjson"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    if not run.stdout.startswith("{"):
        pytest.skip(f"pyright does not run here: {run.stderr[-200:]}")
    report: dict[str, Any] = json.loads(run.stdout)["typeCompleteness"]
    return report


def _words(symbol: dict[str, Any]) -> str:
    first = next((note["message"] for note in symbol["diagnostics"] if note["severity"] == "error"), "")
    return f"{symbol['name']}: {first}"


def test_the_types_of_public_names_are_known(report: dict[str, Any]) -> None:
    unknown = [
        _words(symbol)
        for symbol in report["symbols"]
        if symbol["isExported"] and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"])
    ]
    share = report["completenessScore"]
    assert share >= LEAST_SHARE, "\n".join([f"{share:.1%} of the symbols have a known type; without:", *unknown])


def test_all_of_the_package_was_looked_at(report: dict[str, Any]) -> None:
    assert sum(report["exportedSymbolCounts"].values()) > 3000
