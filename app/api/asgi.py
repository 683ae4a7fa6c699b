"""API process. What the ASGI server loads: `granian --interface asgi app.api.asgi:application`."""

import sys

from app import logs
from app.api import create_front
from app.config import load
from app.errors import ConfigError
from app.monitoring.counts.directory import share

try:
    _settings = load().settings
    logs.configure(_settings.logging, "api")
    # Before a metric is made.
    share(_settings)
except (ConfigError, OSError) as error:
    sys.exit(f"mlserve: {error}")

application = create_front(_settings)
