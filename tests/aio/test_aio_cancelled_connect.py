"""connect() cancelled at every round of the event loop, on asyncio's and on uvloop: a CancelledError alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from loops import on_each_loop

import aiodimse
from aiodimse import sop_class

ROUNDS = 40


async def cancelled_everywhere() -> int:
    server, finished = aiodimse.Server(accept_called=True), 0
    async with server.listen("127.0.0.1", 0) as listening:

        async def connect() -> None:
            async with aiodimse.connect("127.0.0.1", listening.port, contexts=[sop_class.Verification]) as association:
                await association.c_echo()

        for rounds in range(ROUNDS):
            task = asyncio.create_task(connect())
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                finished += 1
            except asyncio.CancelledError:
                pass
    return finished


@on_each_loop
def test_a_cancelled_connect(run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    assert run(cancelled_everywhere()) < ROUNDS
