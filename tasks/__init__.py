"""Worker process. The Celery app of `celery -A tasks worker`, and of inspect, control and Flower.

Import is cheap: models and numeric libraries come in when a worker starts.
"""

import os
import sys

from app import config
from app.broker import make_celery
from app.errors import ConfigError
from app.models.threads import ONE_NATIVE_THREAD
from tasks import control  # noqa: F401 - registers its commands
from tasks.lifecycle import Lifecycle

# Nothing that reads them is imported yet.
for variable, value in ONE_NATIVE_THREAD.items():
    os.environ.setdefault(variable, value)

try:
    settings = config.load().settings
except ConfigError as error:
    sys.exit(f"mlserve: {error}")

app = make_celery(settings, "worker")
Lifecycle(settings).connect()
