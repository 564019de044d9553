"""What comes of work in a thread survives the waits for it, and is given once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiodimse.aio.outcome import Outcome
from aiodimse.testing.clock import settle


async def test_a_cancelled_wait_leaves_it_for_the_next() -> None:
    outcome = Outcome[str](set())
    first, second = asyncio.create_task(outcome.get()), asyncio.create_task(outcome.wait())
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert not second.done()
    outcome.settle("done")
    await second
    assert await outcome.get() == "done"


async def test_only_the_first_settling_counts() -> None:
    outcome = Outcome[int](set())
    outcome.settle(1)
    outcome.settle(None, OSError("late"))
    assert await outcome.get() == 1


async def test_it_is_among_the_unknown_until_it_is_known_or_dropped() -> None:
    unknown = set[Outcome[Any]]()
    known, dropped, forgotten = (Outcome[int](unknown) for _ in range(3))
    waiting = asyncio.create_task(dropped.wait())
    await settle()
    known.settle(1)
    dropped.drop()
    forgotten.forget()
    assert unknown == set()
    await waiting


async def test_an_error_keeps_nothing_when_it_has_been_raised() -> None:
    """The frames of an exception that an outcome kept would keep the outcome, and the bytes of a data set with it."""
    outcome = Outcome[int](set())
    outcome.settle(None, OSError("no room"))
    with pytest.raises(OSError, match="no room"):
        await outcome.get()
    assert outcome._error is None


def test_a_loop_that_was_closed_is_not_told() -> None:
    unknown = set[Outcome[Any]]()

    async def made() -> Outcome[int]:
        return Outcome(unknown)

    outcome = asyncio.run(made())
    outcome.settle_from_thread(1)
    assert not outcome.is_known
    assert unknown == set()
