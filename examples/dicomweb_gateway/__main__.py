"""python -m dicomweb_gateway gateway.toml"""

import sys

import pydicom.config
import uvicorn

from .app import create
from .config import Config

if not sys.argv[1:]:
    sys.exit(f"usage: python -m {__package__} FILE.toml")
try:
    config = Config.load(sys.argv[1])
except (OSError, TypeError, ValueError) as error:  # no such file, a key that is unknown or missing, a wrong value
    sys.exit(f"{sys.argv[1]}: {error}")
# pydicom would log invalid values in full, and they are patient data.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
# URLs name patients and studies, so there is no access log.
uvicorn.run(create(config), host=config.host, port=config.port, access_log=False, timeout_graceful_shutdown=30)
