"""A handler is asked for no more once its association has ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aiodimse.errors import AssociationAborted
from aiodimse.services.provider.handler_run import HandlerRun


class Counted:
    """Yields for ever, and counts how often it was asked."""

    asked = 0

    def __aiter__(self) -> Counted:
        return self

    def __anext__(self) -> asyncio.Future[int]:
        self.asked += 1
        step: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        step.set_result(self.asked)
        return step


async def test_no_step_is_made_that_nobody_takes() -> None:
    """Of one that is made and not awaited Python 3.13 warns."""
    performed, request = SimpleNamespace(on_cancel=None, on_end=None), SimpleNamespace(is_cancelled=False)
    handler = Counted()
    async with HandlerRun(cast(Any, performed), cast(Any, request), None) as run:
        await run.begin(lambda _: handler)
        assert await run.step() == 1
        cast(Any, performed.on_end)(AssociationAborted(0, 0))
        with pytest.raises(asyncio.CancelledError):
            await run.step()
        assert handler.asked == 1
