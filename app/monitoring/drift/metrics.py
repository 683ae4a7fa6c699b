"""Shared. Drift as metrics: made when somebody reads them, from a look some seconds ago.

They are the same whichever process answers. Redis is given a moment and no more: who scrapes would
rather have all other metrics without these.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.broker import redis_client
from app.errors import BrokerUnavailable
from app.fleet import Fleet
from app.models.base import Ref
from app.models.catalog import Catalog, Entry
from app.monitoring.drift.reports import DriftReport, DriftReports
from app.monitoring.drift.verdict import LEVELS, Verdict
from app.settings import Settings

REDIS_TIMEOUT_S = 0.03
# Windows change slowly; also how long Redis is left alone after it did not answer.
LOOK_EVERY_S = 10.0


class Look(NamedTuple):
    """What was seen; `at` in monotonic seconds. Nothing is known while Redis does not answer."""

    at: float
    reports: Sequence[DriftReport] = ()
    dropped: Mapping[str, int] = {}
    is_known: bool = True


class DriftCollector(Collector):
    """Scores of the versions that the workers hold; none while Redis does not answer."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        look: Callable[[], Fleet],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports = DriftReports(settings.drift, redis_client(settings, REDIS_TIMEOUT_S))
        self._catalog, self._fleet, self._now = catalog, look, now
        self._turn = threading.Lock()
        self._look = Look(float("-inf"))

    def collect(self) -> Iterator[Metric]:
        """The metric families."""
        yield from _families(self._seen())

    def verdicts(self) -> dict[str, Verdict] | None:
        """The verdicts of the same look, by ref; None while Redis does not answer."""
        seen = self._seen()
        if not seen.is_known:
            return None
        return {report.model_version: report.verdict for report in seen.reports}

    def describe(self) -> Iterator[Metric]:
        """The same families empty, so that to register costs no look."""
        yield from _families(Look(0.0))

    def close(self) -> None:
        """Close the connections."""
        self._reports.close()

    def _seen(self) -> Look:
        with self._turn:
            if self._now() - self._look.at >= LOOK_EVERY_S:
                self._look = self._fresh()
            return self._look

    def _fresh(self) -> Look:
        try:
            return Look(self._now(), self._reports.reports(self._held()), self._reports.dropped())
        except BrokerUnavailable:
            return Look(self._now(), is_known=False)

    def _held(self) -> list[Entry]:
        seen = self._fleet()
        entries = self._catalog.entries() if seen.reachable else {}
        return [entry for ref, entry in entries.items() if seen.holders(str(ref))]


def _families(seen: Look) -> Iterator[Metric]:
    version = ("model", "version")
    scores = GaugeMetricFamily(
        "mlserve_drift_score",
        "How far the texts of the window lie from the reference; absent below drift.min_samples.",
        labels=(*version, "feature", "method"),
    )
    levels = GaugeMetricFamily(
        "mlserve_drift_level",
        "The verdict on the window: 0 ok, 1 warn, 2 alarm; absent where there is none.",
        labels=version,
    )
    texts = GaugeMetricFamily(
        "mlserve_drift_window_texts", "Texts in the window that is judged.", labels=version
    )
    dropped = CounterMetricFamily(
        "mlserve_drift_dropped_texts",
        "Texts that are in no window, because Redis was away.",
        labels=version,
    )
    for report in seen.reports:
        labels = (*Ref.parse(report.model_version),)
        texts.add_metric(labels, report.live_texts)
        if report.verdict in LEVELS:
            levels.add_metric(labels, LEVELS.index(report.verdict))
        for feature in report.features:
            for score in feature.scores:
                scores.add_metric((*labels, feature.feature, score.method), score.value)
    for ref, count in sorted(seen.dropped.items()):
        dropped.add_metric((*Ref.parse(ref),), count)
    yield from (scores, levels, texts, dropped)
