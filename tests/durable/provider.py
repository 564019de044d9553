"""A provider in a process of its own that saves what comes: python provider.py FOLDER [PORT]. It prints port and
process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiodimse

TITLE = "DURABLE"


async def main(folder: Path, port: int = 0) -> None:
    server = aiodimse.Server(ae_title=TITLE)

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(folder)
        return 0x0000

    await aiodimse.remove_unfinished(folder, older_than=0)
    async with server.listen("127.0.0.1", port) as listening:
        print(listening.port, os.getpid(), flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
