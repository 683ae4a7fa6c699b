"""API process. What the WSGI server loads: `granian --interface wsgi app.api.wsgi:application`."""

from app import logs
from app.api import create_app
from app.settings import load

_settings = load().settings
logs.configure(_settings.logging, "api")
application = create_app(_settings)
