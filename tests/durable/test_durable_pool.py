"""A peer that is killed while a pool sends to it. Few instances here; the scoreboard asks for AIODIMSE_POOL=10000."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from durable import pool_kills

INSTANCES = int(os.environ.get("AIODIMSE_POOL", "300"))
KILLS = 10 if INSTANCES >= 1000 else 3


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.timeout(120 + INSTANCES // 10)
@pytest.mark.parametrize("command", [pool_kills.ours, pool_kills.storescp], ids=lambda command: command.__name__)
async def test_every_instance_arrives_and_none_is_reported_that_is_not_there(
    tmp_path: Path, command: pool_kills.Command, record_property: Callable[[str, int], None]
) -> None:
    if command is pool_kills.storescp:
        assert shutil.which("storescp"), "apt-get install -y dcmtk"
    tally = await pool_kills.kill_while_sending(command, tmp_path, INSTANCES, KILLS)
    assert (tally.kills, len(tally.stored), tally.missing) == (KILLS, INSTANCES, []), str(tally)
    record_property("instances sent by a pool", INSTANCES)
    record_property("kills of the peer", tally.kills)
