"""API process. What the ASGI server loads: `granian --interface asgi app.api.asgi:application`."""

from app import logs
from app.api import create_front
from app.config import load

_settings = load().settings
logs.configure(_settings.logging, "api")
application = create_front(_settings)
