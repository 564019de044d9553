"""kill -9 during stores. A few kills here; AIODIMSE_KILLS=50 is what the scoreboard asks for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from durable.kills import kill_during_stores

KILLS = int(os.environ.get("AIODIMSE_KILLS", "4"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.timeout(120 + 60 * KILLS)
async def test_no_acknowledged_instance_is_lost_and_no_file_is_half(
    tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    tally = await kill_during_stores(tmp_path, KILLS)
    assert (tally.kills, tally.lost, tally.half, tally.left) == (KILLS, [], [], 0), str(tally)
    assert len(tally.acknowledged) > KILLS
    record_property("kills", tally.kills)
    record_property("instances acknowledged", len(tally.acknowledged))
    record_property("lost", len(tally.lost))
    record_property("half files", len(tally.half))
