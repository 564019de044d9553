"""python -m router router.toml [dead | retry]"""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

import msgspec
import pydicom.config

import aiodimse
from aiodimse.outbox import Outbox

from .config import Config
from .router import Router


async def main(config: Config, words: list[str]) -> None:
    """Route until SIGTERM, or list the dead letters, or list them and send them again."""
    if words not in ([], ["dead"], ["retry"]):
        sys.exit(f"usage: python -m {__package__} FILE.toml [dead | retry]")
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


# pydicom would log invalid values in full, and they are patient data.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
if not sys.argv[1:]:
    sys.exit(f"usage: python -m {__package__} FILE.toml")
try:
    config = msgspec.toml.decode(Path(sys.argv[1]).read_bytes(), type=Config)
    if not sys.argv[2:]:
        config.check()
except (OSError, ValueError) as error:  # no such file, a key or a value that is wrong
    sys.exit(f"{sys.argv[1]}: {error}")
try:
    asyncio.run(main(config, sys.argv[2:]))
except (OSError, aiodimse.AiodimseError) as error:  # a port that is taken, a folder that cannot be made
    sys.exit(f"{error}")
except sqlite3.DatabaseError as error:  # it was damaged
    sys.exit(f"{config.folder}: {error}")
