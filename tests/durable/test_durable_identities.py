"""Stores under faults: what was acknowledged is found and retrieved under its own identity, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from durable.identities import FAULTS, stores_under_faults

STORES = int(os.environ.get("AIODIMSE_STORES", "250"))


@pytest.mark.timeout(900)
async def test_no_acknowledged_instance_is_lost_or_swapped(
    tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    tally = await stores_under_faults(tmp_path, STORES)
    assert (tally.lost, tally.swapped) == ([], []), tally
    assert tally.acknowledged
    assert set(tally.faults) == set(FAULTS)
    for what, number in (
        ("stores under faults", tally.stores),
        ("kills of serve", tally.kills),
        ("instances acknowledged", len(tally.acknowledged)),
        ("lost", len(tally.lost)),
        ("swapped", len(tally.swapped)),
    ):
        record_property(what, number)
