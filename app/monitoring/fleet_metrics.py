"""Shared. Metrics of the fleet: made when somebody reads them, from the last look at Redis.

They are the same whichever process answers, so they need no counting and no multiprocess files.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.fleet import Fleet
from app.models.base import Ref
from app.models.catalog import Catalog


class FleetCollector(Collector):
    """What `look` sees; nothing while Redis cannot be reached."""

    def __init__(self, catalog: Catalog, look: Callable[[], Fleet]) -> None:
        self._catalog = catalog
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """The metric families."""
        seen = self._look()
        if not seen.reachable:
            return
        self._catalog.follow(seen.desired)
        yield _held(seen)
        yield _memory(seen)
        yield _active(self._catalog)
        yield _info(self._catalog)
        yield _refused(seen)
        yield _invalid(self._catalog)
        yield _rollouts(self._catalog, seen)
        yield from _generations(seen)
        yield from _workers(seen)


def _held(seen: Fleet) -> Metric:
    family = GaugeMetricFamily(
        "mlserve_model_hosts",
        "Live workers by what they say of a version: ready, retiring or failed; code is that of"
        " the error.",
        labels=("model", "version", "status", "code"),
    )
    said = Counter(
        (*Ref.parse(model.ref), model.status, model.code or "")
        for host in seen.hosts
        for model in host.models
    )
    for labels, hosts in sorted(said.items()):
        family.add_metric(labels, hosts)
    return family


def _memory(seen: Fleet) -> Metric:
    family = GaugeMetricFamily(
        "mlserve_model_memory_bytes",
        "What a version takes in all live workers together, as they measured it when it was"
        " loaded.",
        labels=("model", "version"),
    )
    taken: Counter[tuple[str, ...]] = Counter()
    for host in seen.hosts:
        for model in host.models:
            taken[tuple(Ref.parse(model.ref))] += model.memory_bytes
    for labels, memory_bytes in sorted(taken.items()):
        family.add_metric(labels, memory_bytes)
    return family


def _active(catalog: Catalog) -> Metric:
    family = InfoMetricFamily(
        "mlserve_model_active", "The version that a bare name stands for.", labels=()
    )
    for name in sorted({ref.name for ref in catalog.entries()}):
        if active := catalog.active(name):
            family.add_metric((), {"model": active.name, "version": active.version})
    return family


def _info(catalog: Catalog) -> Metric:
    family = InfoMetricFamily(
        "mlserve_model",
        "Valid versions on disk: their format, and the digest of all that decides an answer.",
        labels=(),
    )
    for ref, entry in catalog.entries().items():
        if entry.manifest is not None:
            made = {"sha256": entry.manifest.digest, "format": entry.manifest.format}
            family.add_metric((), {"model": ref.name, "version": ref.version} | made)
    return family


def _refused(seen: Fleet) -> Metric:
    family = InfoMetricFamily(
        "mlserve_model_refused", "Versions whose last swap or load failed.", labels=()
    )
    for ref, refused in sorted(seen.refused.items()):
        name, version = Ref.parse(ref)
        family.add_metric((), {"model": name, "version": version, "code": refused.code or ""})
    return family


def _invalid(catalog: Catalog) -> Metric:
    family = InfoMetricFamily(
        "mlserve_model_invalid", "Versions on disk that no worker is asked to load.", labels=()
    )
    for ref, entry in catalog.entries().items():
        if entry.error is not None:
            labels = {"model": ref.name, "version": ref.version, "code": entry.error.code}
            family.add_metric((), labels)
    return family


def _rollouts(catalog: Catalog, seen: Fleet) -> Metric:
    family = CounterMetricFamily(
        "mlserve_rollouts",
        "Swaps and loads that have ended, by how: done or failed.",
        labels=("model", "kind", "outcome"),
    )
    names = {ref.name for ref in catalog.entries()}
    # Also those of which there were none: a rate begins with the first value that is seen.
    none = dict.fromkeys(product(names, ("swap", "load"), ("done", "failed")), 0)
    for labels, ended in sorted((none | seen.rollouts).items()):
        family.add_metric(labels, ended)
    return family


def _generations(seen: Fleet) -> Iterator[Metric]:
    if seen.desired is not None:
        yield GaugeMetricFamily(
            "mlserve_model_generation",
            "Changes of what should be held and serve.",
            value=seen.desired.generation,
        )
    if seen.hosts:
        yield GaugeMetricFamily(
            "mlserve_model_generation_reached",
            "The same, as far as every live worker has worked through it.",
            value=min(host.generation for host in seen.hosts),
        )


def _workers(seen: Fleet) -> Iterator[Metric]:
    live = GaugeMetricFamily("mlserve_workers", "Live workers.", labels=("device",))
    memory = GaugeMetricFamily(
        "mlserve_worker_resident_memory_bytes",
        "Resident memory of all live workers together.",
        labels=("device",),
    )
    for device in sorted({host.device for host in seen.hosts}):
        hosts = [host for host in seen.hosts if host.device == device]
        live.add_metric((device,), len(hosts))
        memory.add_metric((device,), sum(host.memory_bytes for host in hosts))
    yield live
    yield memory
