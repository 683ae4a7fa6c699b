"""Shared. The directory in which the processes of one machine count together.

`share` comes before the first metric is made, in every process that is a service of its own.
`mlserve serve` has chosen it already for what it starts.
"""

import os
from pathlib import Path

from app.settings import Settings

MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_DIR = "metrics"


def share(settings: Settings) -> None:
    """Have this process count in `metrics` below `state_dir`, unless the variable says where."""
    if not settings.monitoring.enabled:
        return
    chosen = os.environ.setdefault(MULTIPROC_VARIABLE, str(own_directory(settings)))
    Path(chosen).mkdir(mode=0o700, parents=True, exist_ok=True)
    from prometheus_client import values

    if not values.ValueClass._multiprocess:
        # It looked for the variable when it was imported, perhaps long ago: with Flower installed
        # the `celery` command does that itself.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def own_directory(settings: Settings) -> Path:
    """The one below `state_dir`; absolute, for a process may change where it is."""
    return Path(settings.state_dir).absolute() / METRICS_DIR


def shared_directory() -> Path | None:
    """Where this process counts; None where it counts for itself alone."""
    chosen = os.environ.get(MULTIPROC_VARIABLE)
    return None if chosen is None else Path(chosen)
