"""python -m router router.toml [dead | retry]"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from aiodimse.outbox import Outbox

from .config import Config
from .router import Router


async def main(config: Config, words: list[str]) -> None:
    """Route until SIGTERM, or list the dead letters, or list them and send them again."""
    if words:
        async with Outbox(config.folder) as outbox:
            for letter in await outbox.dead():
                print(*letter, sep="\t")
            if words == ["retry"]:
                await outbox.retry()
        return
    router = asyncio.create_task(Router(config).run(lambda port: print(f"routes on port {port}", flush=True)))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, router.cancel)
    await asyncio.wait({router})
    if not router.cancelled():
        router.result()


logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
config = Config.load(sys.argv[1] if sys.argv[1:] else sys.exit(f"usage: python -m {__package__} FILE.toml"))
asyncio.run(main(config, sys.argv[2:]))
