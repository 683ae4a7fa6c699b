"""API process. The figures behind `GET /stats`, read from the metrics and the fleet."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from app.fleet import READY, RETIRING, Fleet
from app.monitoring.drift.verdict import Verdict
from app.monitoring.health import Health
from app.monitoring.looks import Looks
from app.monitoring.metrics import Metrics

PERCENTILES = (0.5, 0.95, 0.99)
Bucket = tuple[float, float]


class Latency(msgspec.Struct, frozen=True):
    """Percentiles of one route in milliseconds, estimated from histogram buckets."""

    route: str
    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class PredictionCount(msgspec.Struct, frozen=True):
    """How often a version gave a label."""

    model: str
    version: str
    label: str
    texts: int


class WorkerState(msgspec.Struct, frozen=True):
    """A live host, from its last heartbeat."""

    hostname: str
    pid: int
    device: str
    queues: list[str]
    ready: list[str]
    retiring: list[str]
    failed: dict[str, str]
    memory_bytes: int
    chunks: int
    generation: int
    started_at: float


class Counts(msgspec.Struct, frozen=True):
    """What was counted since `uptime_s` seconds ago, over all processes of the machine."""

    uptime_s: float
    requests: int
    responses: dict[str, int]
    errors: dict[str, int]
    latency: list[Latency]
    predictions: list[PredictionCount]
    cache: dict[str, int]


class Stats(msgspec.Struct, frozen=True):
    """`GET /stats`; `counts` is None where monitoring is disabled.

    Without Redis `jobs`, `queue_age_s` and `drift` are; the last also where drift is disabled.
    """

    health: Health
    counts: Counts | None
    redis_reachable: bool
    queues: dict[str, int]
    queue_age_s: dict[str, float] | None
    drift: dict[str, Verdict] | None
    workers: list[WorkerState]
    jobs: list[dict[str, Any]] | None


def collect(
    metrics: Metrics | None,
    fleet: Fleet,
    health: Health,
    looks: Looks,
    jobs: list[dict[str, Any]] | None,
) -> Stats:
    """One look at everything; `jobs` are those that have not ended, as `GET /jobs` tells them."""
    # A Redis that is known to be away would only be waited for.
    queues = looks.redis.look() if fleet.reachable else None
    drift = looks.drift.verdicts() if looks.drift and fleet.reachable else None
    return Stats(
        health=health,
        counts=counts(metrics.readable()) if metrics else None,
        redis_reachable=fleet.reachable,
        queues=fleet.queues,
        queue_age_s=queues.ages_s if queues else None,
        drift=drift,
        workers=_workers(fleet),
        jobs=jobs,
    )


def counts(registry: CollectorRegistry) -> Counts:
    """Sum up the samples of `registry`."""
    samples = _samples(registry)
    requests = samples["mlserve_http_requests_total"]
    started_at = [sample.value for sample in samples["mlserve_start_time_seconds"]]
    return Counts(
        uptime_s=round(time.time() - min(started_at, default=time.time()), 3),
        requests=round(sum(sample.value for sample in requests)),
        responses=_sum_by(requests, "code"),
        errors=_sum_by(samples["mlserve_errors_total"], "code"),
        latency=_latencies(samples["mlserve_http_request_duration_seconds_bucket"]),
        predictions=_predictions(samples["mlserve_predictions_total"]),
        cache=_sum_by(samples["mlserve_cache_requests_total"], "result"),
    )


def quantile(q: float, buckets: Sequence[Bucket]) -> float:
    """The `q`-quantile of (upper bound, cumulative count) pairs sorted by bound, the last `inf`.

    As PromQL's histogram_quantile: values are taken to be spread evenly inside a bucket, the lowest
    bucket begins at 0, and a quantile in the last bucket is the highest finite bound. The error is
    therefore at most the width of one bucket. 0.0 where nothing was counted.
    Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    rank = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, cumulative in buckets:
        if cumulative >= rank and cumulative > below:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (rank - below) / (cumulative - below)
        lower, below = upper, cumulative
    return 0.0


def _samples(registry: CollectorRegistry) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for family in registry.collect():
        for sample in family.samples:
            found[sample.name].append(sample)
    return found


def _sum_by(samples: Iterable[Sample], label: str) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for sample in samples:
        sums[sample.labels[label]] += round(sample.value)
    return dict(sorted(sums.items()))


def _latencies(samples: Iterable[Sample]) -> list[Latency]:
    routes: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for sample in samples:
        routes[sample.labels["route"]][float(sample.labels["le"])] += sample.value
    return [_latency(route, sorted(buckets.items())) for route, buckets in sorted(routes.items())]


def _latency(route: str, buckets: Sequence[Bucket]) -> Latency:
    p50, p95, p99 = (round(quantile(q, buckets) * 1000, 3) for q in PERCENTILES)
    return Latency(route, round(buckets[-1][1]), p50, p95, p99)


def _predictions(samples: Iterable[Sample]) -> list[PredictionCount]:
    rows = [PredictionCount(**sample.labels, texts=round(sample.value)) for sample in samples]
    return sorted(rows, key=lambda row: (row.model, row.version, row.label))


def _workers(fleet: Fleet) -> list[WorkerState]:
    return [
        WorkerState(
            hostname=host.hostname,
            pid=host.pid,
            device=host.device,
            queues=host.queues,
            ready=[model.ref for model in host.models if model.status == READY],
            retiring=[model.ref for model in host.models if model.status == RETIRING],
            failed={model.ref: model.error for model in host.models if model.error},
            memory_bytes=host.memory_bytes,
            chunks=host.chunks,
            generation=host.generation,
            started_at=host.started_at,
        )
        for host in fleet.hosts
    ]
