"""Our user: each command is one association, timed from connect() to its release."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class
from benchmarks.peers import answers
from benchmarks.peers.commands import files_in, go, options, run_commands

OPTIONS = options()
_BEAT = 0.005
"""Seconds between two measurements of the delay of the event loop."""
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet


async def echo(port: int, times: int, window: int = 1, called: str = "ANY-SCP") -> dict[str, Any]:
    """Send a number of C-ECHOs, as many at once as the window allows."""
    started, successes = time.perf_counter(), 0
    async with aiodimse.connect(
        "127.0.0.1", port, contexts=[sop_class.Verification], called_ae_title=called, operations_window=window
    ) as association:

        async def some(count: int) -> int:
            good = 0
            for _ in range(count):
                good += (await association.c_echo()).status == 0
            return good

        if window == 1:
            successes = await some(times)
        else:
            shares = [times // window + (n < times % window) for n in range(window)]
            successes = sum(await asyncio.gather(*map(some, shares)))
        agreed = association.negotiated.invoked_window
    return {"seconds": time.perf_counter() - started, "done": successes, "window": agreed}


async def store(port: int, folder: str, called: str = "ANY-SCP") -> dict[str, Any]:
    """Send every file of a folder by C-STORE, one after the other."""
    started = time.perf_counter()
    paths = files_in(Path(folder))
    statuses: Counter[int] = Counter()
    async with aiodimse.connect(
        "127.0.0.1", port, contexts=aiodimse.contexts_for(paths), called_ae_title=called
    ) as association:
        for path in paths:
            statuses[int((await association.c_store(path)).status)] += 1
    return {"seconds": time.perf_counter() - started, "done": statuses[0]}


async def pool(port: int, folder: str, size: int, called: str = "ANY-SCP") -> dict[str, Any]:
    """Send every file of a folder over a pool; also measure the longest time for which the event loop did not turn."""
    started = time.perf_counter()
    statuses: Counter[int] = Counter()
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_BEAT)
            longest = max(longest, time.perf_counter() - before - _BEAT)

    beating = asyncio.create_task(beat())
    paths = files_in(Path(folder))
    contexts = aiodimse.contexts_for(paths[:1])
    async with aiodimse.Pool("127.0.0.1", port, contexts=contexts, called_ae_title=called, max_size=size) as shared:
        async for result in shared.c_store_many(paths):
            result.raise_for_status()
            assert result.response is not None
            statuses[int(result.response.status)] += 1
    seconds = time.perf_counter() - started
    beating.cancel()
    return {"seconds": seconds, "done": statuses[0], "stall": longest}


async def find(port: int, called: str = "ANY-SCP") -> dict[str, Any]:
    """Send a C-FIND, and check every match."""
    started, right = time.perf_counter(), 0
    async with (
        aiodimse.connect("127.0.0.1", port, contexts=[FIND], called_ae_title=called) as association,
        association.c_find(answers.identifier(), FIND) as matches,
    ):
        number = 0
        async for match in matches:
            right += answers.is_right(match, number)
            number += 1
    return {"seconds": time.perf_counter() - started, "done": right if right == number else -1}


async def get(port: int, study: str, folder: str, called: str = "ANY-SCP") -> dict[str, Any]:
    """Retrieve a study into a folder by C-GET."""
    started, saved = time.perf_counter(), 0
    target = Path(folder)
    identifier = aiodimse_identifier(study)
    async with (
        aiodimse.connect(
            "127.0.0.1", port, contexts=[GET], called_ae_title=called, storage=[sop_class.CTImageStorage]
        ) as association,
        association.c_get(identifier, GET) as retrieval,
    ):
        async for instance in retrieval:
            await instance.save(target, durable=False)
            saved += 1
    return {"seconds": time.perf_counter() - started, "done": saved, "status": int(retrieval.status or 0)}


def aiodimse_identifier(study: str) -> Any:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study
    return query


async def main() -> None:
    await run_commands({"echo": echo, "store": store, "pool": pool, "find": find, "get": get})


if __name__ == "__main__":
    go(main, OPTIONS.get("loop", "asyncio"))
