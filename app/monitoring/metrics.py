"""Shared. Every metric of mlserve, declared once: name, unit, help, labels and buckets.

A process makes one `Metrics`. Where PROMETHEUS_MULTIPROC_DIR is set before prometheus_client is
imported (`mlserve serve` sets it), values live in files of that directory and `readable` sums those
of all processes; gauges then need a `multiprocess_mode`. No label may take a value that a caller
chooses freely: every new value is a new time series.
"""

import os
import time
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.models.base import Ref

MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# A small model answers in 1-20 ms; the last bucket is above the default request_timeout_ms.
LATENCY_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05),
    *(0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        # A second series for every counter, with the time at which it began: nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._looks: list[Collector] = []
        self._declare_requests()
        self._declare_predictions()

    def _declare_requests(self) -> None:
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.started = gauge(
            "mlserve_start_time_seconds",
            "When counting began, in seconds since the epoch.",
            multiprocess_mode="min",
        )
        self.requests = counter(
            "mlserve_http_requests_total", "HTTP requests answered.", ("method", "route", "code")
        )
        self.request_seconds = histogram(
            "mlserve_http_request_duration_seconds",
            "From the arrival of a request in the API process to its answer.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_S,
        )
        self.errors = counter(
            "mlserve_errors_total", "Errors answered, by the code in their body.", ("code",)
        )
        self.started.set(time.time())

    def _declare_predictions(self) -> None:
        counter = partial(Counter, registry=self.registry)
        self.predictions = counter(
            "mlserve_predictions_total", "Texts that got a label.", ("model", "version", "label")
        )
        self.prediction_failures = counter(
            "mlserve_prediction_failures_total",
            "Texts that got no label although their chunk was answered.",
            ("model", "version", "code"),
        )
        self.cache = counter(
            "mlserve_cache_requests_total",
            "Texts by where their outcome came from: the cache (hit), a computation for another"
            " request (coalesced), or one of their own (miss).",
            ("result",),
        )
        self.expired = counter(
            "mlserve_expired_total",
            "Texts whose time ran out before they were computed, by where they were: held back in"
            " the API process, or on the way to a worker.",
            ("stage",),
        )
        self._hits, self._joined, self._misses = (
            self.cache.labels(result) for result in ("hit", "coalesced", "miss")
        )
        self._prediction_counters: dict[tuple[str, str], Counter] = {}

    def count_texts(self, ref: str, label: str, texts: int = 1) -> None:
        """Count `texts` that the version `ref` gave `label`."""
        # Kept here: `labels()` takes a lock, and costs as much as `inc`.
        counter = self._prediction_counters.get((ref, label))
        if counter is None:
            counter = self.predictions.labels(*Ref.parse(ref), label)
            self._prediction_counters[ref, label] = counter
        counter.inc(texts)

    def count_sources(self, texts: int, remembered: int, joined: int) -> None:
        """Count where the outcomes of a request's texts came from."""
        if remembered:
            self._hits.inc(remembered)
        if joined:
            self._joined.inc(joined)
        if texts > remembered + joined:
            self._misses.inc(texts - remembered - joined)

    def count_failures(self, ref: str, code: str, texts: int = 1) -> None:
        """Count `texts` that the version `ref` could not classify."""
        self.prediction_failures.labels(*Ref.parse(ref), code).inc(texts)

    def include(self, collector: Collector) -> None:
        """Read `collector` together with what is counted, once for all processes."""
        self._looks.append(collector)
        self.registry.register(collector)

    def readable(self) -> CollectorRegistry:
        """The registry to read from: that of all processes together where there are several."""
        if MULTIPROC_VARIABLE not in os.environ:
            return self.registry
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        for collector in self._looks:
            merged.register(collector)
        return merged
