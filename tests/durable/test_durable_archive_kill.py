"""kill -9 of workers, PostgreSQL and the object store: a few kills here, AIODIMSE_KILLS=20 for the scoreboard."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from archive.databases import PROGRAMS
from durable.archive_kills import TARGETS, kills

KILLS = int(os.environ.get("AIODIMSE_KILLS", "2"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.timeout(120 + 60 * KILLS)
@pytest.mark.parametrize("target", TARGETS)
async def test_nothing_acknowledged_is_lost_and_nothing_is_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, record_property: Callable[[str, int], None]
) -> None:
    if target == "workers" and not Path("/proc/self").exists():
        pytest.skip("who the workers are is read in /proc")
    if target != "workers" and not (PROGRAMS / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not here: apt-get install postgresql-15 (.ci/peers does it)")
    if target == "store":
        pytest.importorskip("obstore", reason="the extra s3 is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "")
    tally = await kills(target, tmp_path, KILLS)
    # Before it may fail: the scoreboard prints what was lost.
    record_property(f"kills of {target}", tally.kills)
    record_property("instances acknowledged", len(tally.acknowledged))
    record_property("lost", len(tally.lost))
    record_property("half done", len(tally.half))
    assert (tally.kills, tally.lost, tally.half) == (KILLS, [], []), str(tally)
    assert len(tally.acknowledged) > KILLS
