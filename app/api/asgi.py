"""API process. What the ASGI server loads: `granian --interface asgi app.api.asgi:application`."""

from app import logs
from app.api import create_front
from app.config import load
from app.monitoring.counts.directory import share

_settings = load().settings
logs.configure(_settings.logging, "api")
# Before a metric is made.
share(_settings)

application = create_front(_settings)
