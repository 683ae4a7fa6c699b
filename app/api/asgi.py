"""API process. What the ASGI server loads: `granian --interface asgi app.api.asgi:application`."""

from app import logs
from app.config import load
from app.monitoring.counts.directory import share

_settings = load().settings
logs.configure(_settings.logging, "api")
share(_settings)

# What this imports looks for the directory that was just chosen.
from app.api import create_front  # noqa: E402

application = create_front(_settings)
