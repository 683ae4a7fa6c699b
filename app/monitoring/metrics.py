"""Shared. Every metric that a process counts, declared once: name, unit, help, labels, buckets.

A process makes one `Metrics`. In a shared directory (`app.monitoring.counts.directory`) values live
in files and `readable` sums those of all processes; gauges then need a `multiprocess_mode`. What is
read from Redis is in `fleet_metrics` and `redis_metrics`. No label may take a value that a caller
chooses freely: every new value is a new time series. docs/monitoring.md explains each.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.registry import Collector

from app.models.base import Ref
from app.monitoring.counts.deferred import Deferred
from app.monitoring.counts.directory import MULTIPROC_VARIABLE, shared_directory
from app.monitoring.counts.folding import LOST_HELP, LOST_NAME, MergedCollector, Process, claim

__all__ = ["LATENCY_BUCKETS_S", "MULTIPROC_VARIABLE", "Distribution", "Metrics"]

# A small model answers in 1-20 ms; the last bucket is above the default request_timeout_ms.
LATENCY_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05),
    *(0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
# Parts of the above; the shortest are the reply and the features of one text.
STAGE_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SIZE_BUCKETS_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
LOAD_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
PADDING_BUCKETS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Distribution(Histogram):
    """A histogram that is cheap to observe: one look for the bucket, two writes."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Observe one amount; exemplars are not kept, as with several processes."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe many amounts, with one write for each bucket that is hit."""
        hits: dict[int, int] = {}
        for amount in amounts:
            at = bisect_left(self._upper_bounds, amount)
            hits[at] = hits.get(at, 0) + 1
        for at, times in hits.items():
            self._buckets[at].inc(times)
        if hits:
            self._sum.inc(sum(amounts))


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self, process: Process = "api") -> None:
        # A second series for every counter, with the time at which it began: nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._merged = CollectorRegistry()
        self.deferred = Deferred()
        self._directory = shared_directory()
        self._owner = claim(self._directory, process) if self._directory else None
        if self._directory:
            # It knows from one scrape what helps it with the next.
            self._merged.register(MergedCollector(self._directory))
        self._declare_processes()
        self._declare_requests()
        self._declare_predictions()
        self._declare_stages()
        self._declare_work()
        self.started.set(time.time())
        self.starts.labels(process).inc()
        # A rate begins with the first value that is seen: nobody would see the first loss.
        self.lost.labels(process)

    def _declare_processes(self) -> None:
        self.started = Gauge(
            "mlserve_start_time_seconds",
            "When counting began, in seconds since the epoch.",
            multiprocess_mode="min",
            registry=self.registry,
        )
        counter = partial(Counter, registry=self.registry)
        self.starts = counter(
            "mlserve_process_starts_total",
            "Processes that were started, by what they are: api or worker.",
            ("process",),
        )
        # Counted by whoever finds them (`app.monitoring.counts.folding`).
        self.lost = counter(LOST_NAME, LOST_HELP, ("process",))

    def _declare_requests(self) -> None:
        counter = partial(Counter, registry=self.registry)
        self.requests = counter(
            "mlserve_http_requests_total", "HTTP requests answered.", ("method", "route", "code")
        )
        self.request_seconds = Distribution(
            "mlserve_http_request_duration_seconds",
            "From the arrival of a request in the API process to its answer.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.errors = counter(
            "mlserve_errors_total", "Errors answered, by the code in their body.", ("code",)
        )
        self.rejected = counter(
            "mlserve_rejected_total",
            "Requests refused for want of workers, room or Redis, by the code in their body.",
            ("reason",),
        )

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
        self.confidence = Distribution(
            "mlserve_prediction_confidence_ratio",
            "Probability of the label that a text got, where it was computed.",
            ("model", "version"),
            buckets=CONFIDENCE_BUCKETS,
            registry=self.registry,
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
        self._error_counters: dict[str, Counter] = {}
        self._rejections: dict[str, Counter] = {}
        self._prediction_counters: dict[tuple[str, str], Counter] = {}

    def _declare_stages(self) -> None:
        distribution = partial(Distribution, registry=self.registry)
        self.stage_seconds = distribution(
            "mlserve_request_stage_duration_seconds",
            "Where the time of a chunk went: batch_wait of its oldest text in the API process,"
            " queue, preprocess, inference, reply.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
        )
        self.batch_texts = distribution(
            "mlserve_batch_size_texts",
            "Texts that a worker computed together: a chunk of requests (predict), or a batch of a"
            " job.",
            ("kind",),
            buckets=SIZE_BUCKETS_TEXTS,
        )
        self.padding = distribution(
            "mlserve_batch_padding_ratio",
            "Share of padding in the tokens that were computed, of each chunk of a model that takes"
            " tokens.",
            ("model", "version"),
            buckets=PADDING_BUCKETS,
        )
        self.flushes = Counter(
            "mlserve_batch_flush_total",
            "Chunks that were answered, by why they were sent when they were: full (max_batch_size"
            " texts), cost (more would take workers too long), idle (workers were free for it) or"
            " timer (a text was held for batch_timeout_ms).",
            ("cause",),
            registry=self.registry,
        )

    def _declare_work(self) -> None:
        self.load_seconds = Distribution(
            "mlserve_model_load_duration_seconds",
            "What it took a worker to load a version and check it.",
            ("model", "version"),
            buckets=LOAD_BUCKETS_S,
            registry=self.registry,
        )
        self.webhooks = Counter(
            "mlserve_webhooks_total",
            "Attempts to post a webhook, by what came of it: delivered, failed (to be tried again)"
            " or given_up.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in ("delivered", "failed", "given_up"):
            self.webhooks.labels(outcome)

    def count_texts(self, ref: str, label: str, texts: int = 1) -> None:
        """Count `texts` that the version `ref` gave `label`."""
        # Kept here: `labels()` takes a lock, and costs as much as `inc`.
        counter = self._prediction_counters.get((ref, label))
        if counter is None:
            counter = self.predictions.labels(*Ref.parse(ref), label)
            self._prediction_counters[ref, label] = counter
        self.deferred.add(counter, texts)

    def count_sources(self, texts: int, remembered: int, joined: int) -> None:
        """Count where the outcomes of a request's texts came from."""
        if remembered:
            self.deferred.add(self._hits, remembered)
        if joined:
            self.deferred.add(self._joined, joined)
        if texts > remembered + joined:
            self.deferred.add(self._misses, texts - remembered - joined)

    def count_failures(self, ref: str, code: str, texts: int = 1) -> None:
        """Count `texts` that the version `ref` could not classify."""
        self.prediction_failures.labels(*Ref.parse(ref), code).inc(texts)

    def count_error(self, code: str, is_rejection: bool) -> None:
        """Count one error answer; one that is a rejection says no for want of capacity."""
        counter = self._error_counters.get(code)
        if counter is None:
            counter = self._error_counters[code] = self.errors.labels(code)
        self.deferred.add(counter)
        if is_rejection:
            rejections = self._rejections.get(code)
            if rejections is None:
                rejections = self._rejections[code] = self.rejected.labels(code)
            self.deferred.add(rejections)

    def count_load(self, ref: str, duration_s: float) -> None:
        """The version `ref` was loaded in so many seconds."""
        self.load_seconds.labels(*Ref.parse(ref)).observe(duration_s)

    def include(self, collector: Collector) -> None:
        """Read `collector` together with what is counted, once for all processes."""
        for registry in (self.registry, self._merged):
            registry.register(collector)

    def include_all(self, collectors: Iterable[Collector]) -> None:
        """Read several."""
        for collector in collectors:
            self.include(collector)

    @property
    def is_shared(self) -> bool:
        """Whether other processes count together with this one."""
        return self._directory is not None

    def readable(self) -> CollectorRegistry:
        """The registry to read from: that of all processes together where there are several."""
        self.deferred.write()
        return self.registry if self._directory is None else self._merged

    def leave(self) -> None:
        """This process ends because it was asked to, and is not lost."""
        self.deferred.stop()
        if self._owner is not None:
            self._owner.leave()
