"""Worker process. The Celery app of `celery -A tasks worker`, and of inspect, control and Flower.

Import is cheap: models and numeric libraries come in when a worker starts.
"""

import os
import sys

from app import config
from app.broker import make_celery
from app.errors import ConfigError
from tasks import control  # noqa: F401 - registers its commands
from tasks.lifecycle import Lifecycle

# A worker process is one core's worth of work: more native threads would only compete with the
# other workers. Read when numpy is imported, which is later; torch may be given more than one
# (app/models/threads.py).
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# The same for tokenizers, which has threads of its own.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

try:
    settings = config.load().settings
except ConfigError as error:
    sys.exit(f"mlserve: {error}")

app = make_celery(settings, "worker")
Lifecycle(settings).connect()
