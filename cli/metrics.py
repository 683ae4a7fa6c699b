"""CLI. Serves the metrics of all processes of `mlserve serve` on `monitoring.port`."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.errors import PortTaken
from app.models.catalog import Catalog
from app.monitoring.feedback_metrics import FeedbackCollector
from app.monitoring.fleet_metrics import FleetCollector
from app.settings import Settings
from cli.inventory import look_at_fleet


class LiveCollector(MultiProcessCollector):
    """The sum over all processes; gauges of processes that are gone are dropped first."""

    def __init__(self, registry: CollectorRegistry, directory: Path) -> None:
        self._directory = directory
        super().__init__(registry, path=str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """The merged metrics."""
        forget_dead(self._directory)
        collected: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return collected


def serve_metrics(settings: Settings, directory: Path) -> Callable[[], None]:
    """Serve `directory` until the returned function is called; `PortTaken` where it cannot."""
    registry = CollectorRegistry()
    LiveCollector(registry, directory)
    catalog = Catalog(settings.models_dir, settings.default_model)
    registry.register(FleetCollector(catalog, lambda: look_at_fleet(settings)))
    if settings.monitoring.feedback:
        registry.register(FeedbackCollector(settings, catalog))
    host, port = settings.server.host, settings.monitoring.port
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise PortTaken("monitoring.port", port, host, str(error), "choose another") from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def empty_directory(directory: Path) -> None:
    """Forget the counts of an earlier run: those of its processes would be added to ours."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


def forget_dead(directory: Path) -> None:
    """Drop the live gauges of processes that are gone."""
    pids = {int(file.stem.rpartition("_")[2]) for file in directory.glob("gauge_live*_*.db")}
    for pid in pids:
        if not psutil.pid_exists(pid):
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
