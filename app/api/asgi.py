"""API process. What the ASGI server loads: `granian --interface asgi app.api.asgi:application`."""

import multiprocessing
import sys

from app import logs
from app.api import create_front
from app.config import load
from app.errors import ConfigError
from app.monitoring.counts.directory import share
from app.parent import EndWithParent

try:
    _settings = load().settings
    logs.configure(_settings.logging, "api")
    # Before a metric is made.
    share(_settings)
except (ConfigError, OSError) as error:
    sys.exit(f"mlserve: {error}")

application = create_front(_settings)

# granian starts this process from its main thread. The old one would go on listening beside the
# next: the port is shared.
if (_parent := multiprocessing.parent_process()) is not None and _parent.pid is not None:
    EndWithParent(_parent.pid)()
