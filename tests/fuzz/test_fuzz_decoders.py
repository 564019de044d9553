"""The fuzzer's inputs, a few of them with every run; the scoreboard tries a million."""

from __future__ import annotations

import pytest
from fuzz import decoders


def test_mutated_captures():
    for data in decoders.mutations(3000):
        try:
            decoders.try_all(data)
        except Exception as error:
            pytest.fail(f"{type(error).__name__} from {data.hex()}")
