"""An archive in a process of its own, with its index in SQLite: python archive_provider.py FOLDER. It prints port and
process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import aiodimse
from aiodimse.archive import Archive, provide

TITLE = "DURABLE"


async def main(folder: Path) -> None:
    archive = await Archive.open(folder)
    server = aiodimse.Server(ae_title=TITLE)
    provide(server, archive)
    async with server.listen("127.0.0.1", 0) as listening:
        print(listening.port, os.getpid(), flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
