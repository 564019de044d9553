"""python -m dicomweb_gateway gateway.toml"""

import sys

import uvicorn

from .app import create
from .config import Config

config = Config.load(sys.argv[1] if sys.argv[1:] else sys.exit("usage: python -m examples.dicomweb_gateway FILE.toml"))
# URLs name patients and studies: they stay out of the log.
uvicorn.run(create(config), host=config.host, port=config.port, access_log=False, timeout_graceful_shutdown=30)
