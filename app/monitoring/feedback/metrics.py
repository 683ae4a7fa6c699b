"""Shared. Metrics of feedback: made when somebody reads them, from the counts in Redis.

They are the same whichever process answers. Redis is asked three times, and has `MAX_WAIT_S` each;
where it does not answer in time, the scrape goes on without them, and it is left alone for a while.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.broker import redis_client
from app.models import reference
from app.models.base import Manifest, Ref
from app.models.catalog import Catalog, Entry
from app.models.tally import Tally
from app.monitoring.feedback.counts import FeedbackCounts
from app.monitoring.feedback.quality import Figure, compared_accuracy
from app.settings import Settings

MAX_WAIT_S = 0.2
PAUSE_S = 5.0
# They are read together.
MAX_VERSIONS = 50


class FeedbackCollector(Collector):
    """What feedback says of the versions on disk."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._now = catalog, now
        self._not_before = float("-inf")
        limits = settings.monitoring
        self._min_texts = limits.feedback_min_texts
        self._redis = redis_client(settings, MAX_WAIT_S)
        self._counts = FeedbackCounts(
            self._redis, limits.feedback_ttl_seconds, limits.feedback_window_seconds
        )

    def collect(self) -> Iterator[Metric]:
        """The metric families; none where Redis does not answer."""
        if self._now() < self._not_before:
            return
        try:
            families = self._families()
        except redis.RedisError:
            self._not_before = self._now() + PAUSE_S
            return
        yield from families

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _families(self) -> list[Metric]:
        outcomes = self._counts.outcomes()
        counted = CounterMetricFamily(
            "mlserve_feedback",
            "Feedback taken, by what it was: recorded, corrected or duplicate.",
            labels=("model", "version", "outcome"),
        )
        known = self._known({ref for ref, _ in outcomes})
        for (ref, outcome), count in sorted(outcomes.items()):
            if ref in known:
                counted.add_metric((*Ref.parse(ref), outcome), count)
        manifests = [manifest for _, manifest in known.values()]
        windows = dict(zip(known, self._windows(manifests), strict=True))
        figures = {
            ref: compared_accuracy(windows[ref], reference.quality(*of), self._min_texts)
            for ref, of in known.items()
        }
        return [counted, _texts(windows), *_accuracies(figures)]

    def _windows(self, versions: list[Manifest]) -> list[Tally]:
        if not versions:
            return []
        now: Any = self._redis.time()
        return self._counts.windows(versions, now[0])

    def _known(self, refs: set[str]) -> dict[str, tuple[Path, Manifest]]:
        entries: Iterable[Entry] = self._catalog.entries().values()
        found = {
            str(entry.ref): (entry.path, entry.manifest)
            for entry in entries
            if str(entry.ref) in refs and entry.manifest
        }
        return dict(list(found.items())[:MAX_VERSIONS])


def _texts(windows: Mapping[str, Tally]) -> Metric:
    family = GaugeMetricFamily(
        "mlserve_feedback_window_texts",
        "Predictions of the live window that have feedback.",
        labels=("model", "version"),
    )
    for ref, tally in windows.items():
        family.add_metric(Ref.parse(ref), tally.texts)
    return family


def _accuracies(figures: Mapping[str, Figure]) -> Iterator[Metric]:
    gauge = partial(GaugeMetricFamily, labels=("model", "version"))
    live = gauge(
        "mlserve_feedback_accuracy_ratio",
        "Share of right predictions among those of the live window with feedback.",
    )
    trained = gauge(
        "mlserve_feedback_accuracy_reference_ratio",
        "The same of the held-out texts of training.",
    )
    degraded = gauge(
        "mlserve_feedback_accuracy_degraded",
        "Whether the first is less than the second, and not by chance: 1 or 0; absent without a"
        " verdict.",
    )
    for ref, figure in figures.items():
        if figure.live is not None:
            live.add_metric(Ref.parse(ref), figure.live)
        if figure.reference is not None:
            trained.add_metric(Ref.parse(ref), figure.reference)
        if figure.verdict in ("ok", "degraded"):
            degraded.add_metric(Ref.parse(ref), float(figure.verdict == "degraded"))
    yield from (live, trained, degraded)
