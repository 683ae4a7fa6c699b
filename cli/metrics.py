"""CLI. Serves the metrics of all processes of `mlserve serve` on `monitoring.port`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from app.errors import PortTaken
from app.models.catalog import Catalog
from app.monitoring.folding import MergedCollector
from app.monitoring.looks import Looks
from app.monitoring.port import listen
from app.settings import Settings
from cli.inventory import look_at_fleet


def serve_metrics(settings: Settings, directory: Path) -> Callable[[], None]:
    """Serve `directory` until the returned function is called; `PortTaken` where it cannot."""
    registry = CollectorRegistry()
    catalog = Catalog(settings.models_dir, settings.default_model)
    looks = Looks.of(settings, catalog, lambda: look_at_fleet(settings))
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
