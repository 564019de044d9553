"""Timeouts and Limits say at once what they cannot be."""

from __future__ import annotations

import math
from typing import Any

import pytest

import aiodimse
from aiodimse import Limits, Timeouts, sop_class

TIMES = sorted(Timeouts.__annotations__)
SIZES = sorted(Limits.__annotations__)
NOT_NONE = {"handler_close", "server_drain"}
MAY_BE_NOTHING = {"min_rate", "empty_fragments", "dataset_depth", "waiting_requests", "max_pdu_length"}


@pytest.mark.parametrize("name", TIMES)
def test_a_timeout_refuses_what_is_no_number_of_seconds(name: str) -> None:
    wrong: list[Any] = [-0.001, -1, math.nan, "30", True, [], b""]
    for value in [*wrong, *([None] if name in NOT_NONE else [])]:
        with pytest.raises(ValueError, match=rf"Timeouts\.{name} is float.* 0 or more: not "):
            Timeouts(**{name: value})
    for value in [0, 0.5, 30, math.inf, *([] if name in NOT_NONE else [None])]:
        assert getattr(Timeouts(**{name: value}), name) == value


@pytest.mark.parametrize("name", SIZES)
def test_a_limit_refuses_what_is_no_number_of_its_kind(name: str) -> None:
    wrong: list[Any] = [-1, 1.5, "100", True, [], math.nan]
    wrong += [] if name in MAY_BE_NOTHING else [0]
    wrong += [] if name == "max_associations_per_peer" else [None]
    wrong += [1, 127] if name in ("max_pdu_length", "max_send_pdu_length") else []
    for value in wrong:
        with pytest.raises(ValueError, match=rf"Limits\.{name} is int.* or more: not "):
            Limits(**{name: value})
    assert getattr(Limits(**{name: 128}), name) == 128
    if name in MAY_BE_NOTHING:
        assert getattr(Limits(**{name: 0}), name) == 0


def test_what_connect_is_given_for_it() -> None:
    with pytest.raises(ValueError, match=r"Limits\.max_pdu_length is int, 128 or more: not 100"):
        aiodimse.connect("localhost", 104, contexts=[sop_class.Verification], max_pdu_length=100)
