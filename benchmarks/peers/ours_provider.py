"""Our provider: a Server as a user of the library would write it. provider() describes the options."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import aiodimse
from aiodimse import sop_class
from benchmarks.peers import answers
from benchmarks.peers.commands import go, options, run_commands

OPTIONS = options()


class Counted:
    """The instances and bytes that have arrived."""

    def __init__(self) -> None:
        self.instances = self.bytes = 0


def provider(
    counted: Counted,
    *,
    loop: str = "asyncio",
    store: str = "stream",
    folder: str = "",
    files: str = "",
    destination: int = 0,
    find: int = 0,
    making: bool = False,
    max_associations: int = 6000,
) -> aiodimse.Server:
    """store: stream (read and drop every byte), discard, save or durable. folder: the folder of saved files. files: a
    folder that C-GET and C-MOVE send. destination: the port of the move destination. find: how many matches. making:
    whether each match is made when it is sent."""
    server = aiodimse.Server(
        ae_title="AIODIMSE", accept_called=True, limits=aiodimse.Limits(max_associations=max_associations)
    )
    target = Path(folder)

    @server.on_c_store
    async def on_store(request: Any) -> int:
        counted.instances += 1
        if store == "stream":
            async for piece in request.stream():
                counted.bytes += len(piece)
        elif store == "discard":
            await request.discard()
        else:
            await request.save(target, durable=store == "durable")
        return 0x0000

    paths = sorted(Path(files).iterdir()) if files else []

    @server.on_c_get(sop_class.StudyRootQueryRetrieveInformationModelGet)
    async def on_get(request: Any) -> Any:
        yield len(paths)
        for path in paths:
            yield path

    @server.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
    async def on_move(request: Any) -> Any:
        yield "127.0.0.1", destination
        yield len(paths)
        for path in paths:
            yield path

    matches = [] if making else answers.prepared(find)

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def on_find(request: Any) -> Any:
        for number in range(find):
            yield answers.match(number) if making else matches[number]

    return server


async def main() -> None:
    counted = Counted()
    server = provider(counted, **OPTIONS)

    async def count() -> dict[str, int]:
        """Return what has arrived since the last call."""
        answer = {"instances": counted.instances, "bytes": counted.bytes}
        counted.instances = counted.bytes = 0
        return answer

    async def collect() -> None:
        gc.collect()

    async with server.listen("127.0.0.1", 0) as listening:

        async def associations() -> dict[str, int]:
            await asyncio.sleep(0)
            return {"associations": len(listening.associations)}

        await run_commands({"count": count, "collect": collect, "associations": associations}, port=listening.port)


if __name__ == "__main__":
    go(main, OPTIONS.get("loop", "asyncio"))
