"""python -m dicomweb_gateway gateway.toml"""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pydicom.config
import uvicorn

import aiodimse

from .app import create
from .config import Config


async def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    async with create(config) as app:
        # URLs name patients and studies, so there is no access log.
        web = uvicorn.Config(app, config.host, config.port, access_log=False, timeout_graceful_shutdown=30)
        server = uvicorn.Server(web)
        # After a signal has ended it, uvicorn raises the signal again, for the handlers that it found. The default ones
        # would end the process before the block is left.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        await server.serve()


if not sys.argv[1:]:
    sys.exit(f"usage: python -m {__package__} FILE.toml")
# pydicom would log invalid values in full, and they are patient data.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
try:
    asyncio.run(serve(msgspec.toml.decode(Path(sys.argv[1]).read_bytes(), type=Config)))
# A mistake in the file, a port that is taken, a viewer that is not there.
except (OSError, ValueError, RuntimeError, aiodimse.AiodimseError) as error:
    sys.exit(f"{sys.argv[1]}: {error}")
