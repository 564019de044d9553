"""python -m worklist worklist.toml, or python -m worklist worklist.toml add step.json"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pydicom.config
from sqlalchemy.exc import SQLAlchemyError

import aiodimse

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
    if not sys.argv[1:]:
        sys.exit(f"usage: python -m {__package__} FILE.toml")
    try:
        config = msgspec.toml.decode(Path(sys.argv[1]).read_bytes(), type=Config)
    except (OSError, ValueError) as error:  # no such file, a key or a value that is wrong
        sys.exit(f"{sys.argv[1]}: {error}")
    command, files = sys.argv[2:3], sys.argv[3:]
    if command not in ([], ["add"]) or bool(command) != bool(files):
        sys.exit(f"usage: python -m {__package__} FILE.toml [add STEP.json ...]")
    try:
        with closing(Tables(config.database)) as tables:
            if command:
                tables.add(json.loads(Path(path).read_text("utf-8")) for path in files)
            else:
                asyncio.run(serve(config, tables))
    except (OSError, ValueError, SQLAlchemyError, aiodimse.AiodimseError) as error:  # a file, a port or the database
        sys.exit(f"{getattr(error, 'orig', None) or error}")


# pydicom would log invalid values in full, and they are patient data.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
main()
