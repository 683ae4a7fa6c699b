"""Shared. Metrics of feedback: made when somebody reads them, from the counts in Redis.

They are the same whichever process answers. Redis is asked three times, and has `MAX_WAIT_S` each;
where it does not answer in time, the scrape goes on without them.
"""

from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.broker import redis_client
from app.models.base import Manifest, Ref
from app.models.catalog import Catalog
from app.models.tally import Tally
from app.monitoring.feedback_counts import FeedbackCounts
from app.monitoring.quality import accuracy
from app.settings import Settings

MAX_WAIT_S = 0.2
# They are read together.
MAX_VERSIONS = 50


class FeedbackCollector(Collector):
    """What feedback says of the versions on disk."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._catalog = catalog
        limits = settings.monitoring
        self._redis = redis_client(settings, MAX_WAIT_S)
        self._counts = FeedbackCounts(
            self._redis, limits.feedback_ttl_seconds, limits.feedback_window_seconds
        )

    def collect(self) -> Iterator[Metric]:
        """The metric families."""
        try:
            families = self._families()
        except redis.RedisError:
            return
        yield from families

    def _families(self) -> list[Metric]:
        outcomes = self._counts.outcomes()
        counted = CounterMetricFamily(
            "mlserve_feedback",
            "Feedback taken, by what it was: recorded, corrected or duplicate.",
            labels=("model", "version", "outcome"),
        )
        ratio = GaugeMetricFamily(
            "mlserve_feedback_accuracy_ratio",
            "Share of right predictions among those of the live window with feedback.",
            labels=("model", "version"),
        )
        texts = GaugeMetricFamily(
            "mlserve_feedback_window_texts",
            "Predictions of the live window that have feedback.",
            labels=("model", "version"),
        )
        known = self._known({ref for ref, _ in outcomes})
        for (ref, outcome), count in sorted(outcomes.items()):
            if ref in known:
                counted.add_metric((*Ref.parse(ref), outcome), count)
        for ref, tally in zip(known, self._windows(list(known.values())), strict=True):
            texts.add_metric(Ref.parse(ref), tally.texts)
            if (share := accuracy(tally)) is not None:
                ratio.add_metric(Ref.parse(ref), share)
        return [counted, ratio, texts]

    def _windows(self, versions: list[Manifest]) -> list[Tally]:
        if not versions:
            return []
        now: Any = self._redis.time()
        return self._counts.windows(versions, now[0])

    def _known(self, refs: set[str]) -> dict[str, Manifest]:
        entries = self._catalog.entries().values()
        found = {str(e.ref): e.manifest for e in entries if str(e.ref) in refs and e.manifest}
        return dict(list(found.items())[:MAX_VERSIONS])
