"""Worker process. Commands of `celery -A tasks inspect|control`, also sent by the CLI.

Handlers run in the thread that takes messages from Redis: they look or set a flag, and return.
"""

from typing import Any

import msgspec
from celery.worker.control import control_command, inspect_command

from tasks import running


@inspect_command()
def models(state: Any) -> list[dict[str, Any]]:
    """Model versions that this worker holds or could not load."""
    return [msgspec.to_builtins(model) for model in running.host().registry.held()]


@control_command()
def reconcile(state: Any) -> dict[str, str]:
    """Look at the models directory now: load what is new, drop what is gone."""
    running.host().nudge()
    return {"ok": "looking at the models directory"}
