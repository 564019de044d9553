"""The provider that is scored: a Server of its own process that discards what it is sent.

Prints its port; on every line it reads from standard input it prints, as JSON, what it holds: resident memory in
bytes, open files and tasks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from pathlib import Path

import aiodimse

_PAGE = 4096


def held() -> dict[str, int]:
    """Resident memory, open files, tasks."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return {
        "memory": resident,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "tasks": len(asyncio.all_tasks()),
    }


async def main() -> None:
    """Serve until standard input ends."""
    logging.getLogger("aiodimse").setLevel(logging.CRITICAL)
    limits = aiodimse.Limits(max_associations=2000, max_pending_connections=2000)
    server = aiodimse.Server(ae_title="SCORED", limits=limits)

    @server.on_c_store
    async def store(request):  # type: ignore[no-untyped-def]
        await request.discard()
        return 0x0000

    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with server.listen("127.0.0.1", 0) as listening:
        print(listening.port, flush=True)
        while await reader.readline():
            print(json.dumps(held()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
