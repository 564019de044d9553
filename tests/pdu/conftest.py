from __future__ import annotations

from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[1] / "data" / "captures"

Capture = list[tuple[str, bytes]]


@pytest.fixture(scope="session")
def captures() -> dict[str, Capture]:
    """By name: the PDUs of a conversation, each with ">" from the requestor or "<" from the acceptor."""
    return {
        path.stem: [(line[0], bytes.fromhex(line[1:])) for line in path.read_text().splitlines()]
        for path in sorted(CAPTURES.glob("*.dul"))
    }
