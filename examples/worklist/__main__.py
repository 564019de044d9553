"""python -m worklist worklist.toml, or python -m worklist worklist.toml add step.json"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from .config import Config
from .service import server
from .tables import Tables


async def serve(config: Config, tables: Tables) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run may then finish."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server(config.ae_title, tables).listen(config.host, config.port) as listening:
        print(f"{config.ae_title} listens on port {listening.port}", flush=True)
        await stop.wait()


def main() -> None:
    """Serve, or add a step to the worklist."""
    config = Config.load(sys.argv[1] if sys.argv[1:] else sys.exit(f"usage: python -m {__package__} FILE.toml"))
    tables = Tables(config.database)
    try:
        if sys.argv[2:3] == ["add"]:
            tables.add(json.loads(Path(path).read_text("utf-8")) for path in sys.argv[3:])
        else:
            asyncio.run(serve(config, tables))
    finally:
        tables.close()


main()
