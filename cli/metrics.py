"""CLI. Serves the metrics of all processes of `mlserve serve` on `monitoring.port`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from app import fleet
from app.broker import redis_client
from app.errors import PortTaken
from app.models.catalog import Catalog
from app.monitoring.counts.folding import MergedCollector
from app.monitoring.looks import Looks
from app.monitoring.port import listen
from app.monitoring.redis_metrics import TIMEOUT_S
from app.settings import Settings


def serve_metrics(settings: Settings, directory: Path) -> Callable[[], None]:
    """Serve `directory` until the returned function is called; `PortTaken` where it cannot."""
    registry = CollectorRegistry()
    catalog = Catalog(settings.models_dir, settings.default_model)
    client = redis_client(settings, TIMEOUT_S)
    looks = Looks.of(settings, catalog, lambda: fleet.look(client))
    for collector in (MergedCollector(directory), *looks.collectors()):
        registry.register(collector)
    try:
        return listen(settings, registry)
    except OSError as error:
        host, port = settings.server.host, settings.monitoring.port
        raise PortTaken("monitoring.port", port, host, str(error), "choose another") from error


def empty_directory(directory: Path) -> None:
    """Forget the counts of an earlier run: those of its processes would be added to ours."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
