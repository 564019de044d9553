"""python -m dicomweb_gateway gateway.toml"""

import sys

import uvicorn

from .app import create
from .config import Config

config = Config.load(sys.argv[1] if sys.argv[1:] else sys.exit(f"usage: python -m {__package__} FILE.toml"))
# URLs name patients and studies, so there is no access log.
uvicorn.run(create(config), host=config.host, port=config.port, access_log=False, timeout_graceful_shutdown=30)
