"""CLI. Serves the metrics of all processes of `mlserve serve` on `monitoring.port`."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from app.broker import redis_client
from app.errors import PortTaken
from app.models.catalog import Catalog
from app.monitoring.drift_metrics import DriftCollector
from app.monitoring.feedback_metrics import FeedbackCollector
from app.monitoring.fleet_metrics import FleetCollector
from app.monitoring.folding import MergedCollector
from app.monitoring.port import listen
from app.monitoring.redis_metrics import RedisCollector
from app.settings import Settings
from cli.inventory import look_at_fleet


def serve_metrics(settings: Settings, directory: Path) -> Callable[[], None]:
    """Serve `directory` until the returned function is called; `PortTaken` where it cannot."""
    registry = CollectorRegistry()
    catalog = Catalog(settings.models_dir, settings.default_model)
    for collector in (
        MergedCollector(directory),
        FleetCollector(catalog, lambda: look_at_fleet(settings)),
        RedisCollector(partial(redis_client, settings)),
    ):
        registry.register(collector)
    if settings.monitoring.feedback:
        registry.register(FeedbackCollector(settings, catalog))
    if settings.drift.enabled:
        registry.register(DriftCollector(settings, catalog, lambda: look_at_fleet(settings)))
    try:
        return listen(settings, registry)
    except OSError as error:
        host, port = settings.server.host, settings.monitoring.port
        raise PortTaken("monitoring.port", port, host, str(error), "choose another") from error


def empty_directory(directory: Path) -> None:
    """Forget the counts of an earlier run: those of its processes would be added to ours."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
