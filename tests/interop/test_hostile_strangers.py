"""python -m aiodimse.testing.hostile against strangers: it runs to its end, and its expectations are not ours alone."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

ONLY = "A-RELEASE-RQ when"


@pytest.mark.parametrize("name", ["storescp", "orthanc"])
def test_another_implementation_under_the_hostile_cases(name: str, request: pytest.FixtureRequest) -> None:
    stranger: Any = request.getfixturevalue(name)
    if name == "storescp":
        stranger = stranger("--fork")
    words = ["-m", "aiodimse.testing.hostile", "127.0.0.1", stranger.port, "--called", stranger.title, "--only", ONLY]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)
    *lines, summary, good = done.stdout.splitlines()
    assert done.stderr == ""
    assert re.match(r"ok   A-RELEASE-RQ when associated ", next(line for line in lines if "associated" in line))
    assert summary.startswith(f"{len(lines)} cases, ")
    assert good.endswith(" 0 failed")
