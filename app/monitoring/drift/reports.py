"""Shared. What is told of a version's drift: its reference against the last window."""

from collections.abc import Sequence

import msgspec
import redis

from app.broker import broker_errors
from app.models import reference
from app.models.catalog import Entry
from app.models.reference import Known
from app.monitoring.drift.verdict import FeatureDrift, Verdict, judge
from app.monitoring.drift.windows import Window, Windows
from app.monitoring.feedback.quality import Performance
from app.settings import Drift


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one version, and on each feature that was measured.

    `verdict` is that on its traffic. `performance` has one of its own; None where nobody may give
    feedback.
    """

    model_version: str
    verdict: Verdict
    window_seconds: int
    min_samples: int
    significance: float
    reference_texts: int
    live_texts: int
    features: list[FeatureDrift]
    performance: Performance | None = None


class DriftReports:
    """Reads what the workers have counted."""

    def __init__(self, settings: Drift, client: "redis.Redis") -> None:
        self._settings = settings
        self._redis = client
        self._windows = Windows(client, settings.window_seconds)

    def report(self, entry: Entry) -> DriftReport:
        """That of one version; `BrokerUnavailable`."""
        return self.reports([entry])[0]

    def reports(self, entries: Sequence[Entry]) -> list[DriftReport]:
        """Those of several versions, in one round trip; `BrokerUnavailable`.

        A version without a usable reference needs no Redis.
        """
        known = [_known(entry) for entry in entries]
        keys = [each.key for each in known if each]
        with broker_errors():
            windows = self._windows.read(keys) if keys else {}
        pairs = zip(entries, known, strict=True)
        return [self._report(entry, each, windows) for entry, each in pairs]

    def dropped(self) -> dict[str, int]:
        """How many texts are in no window, by ref; `BrokerUnavailable`."""
        with broker_errors():
            return self._windows.dropped()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _report(self, entry: Entry, known: Known | None, windows: dict[str, Window]) -> DriftReport:
        verdict: Verdict = "no_reference"
        features: list[FeatureDrift] = []
        if known is not None and entry.manifest is not None:
            labels, window = entry.manifest.labels, windows[known.key]
            verdict, features = judge(known.reference, labels, window, self._settings)
        return DriftReport(
            model_version=str(entry.ref),
            verdict=verdict,
            window_seconds=self._settings.window_seconds,
            min_samples=self._settings.min_samples,
            significance=self._settings.significance,
            reference_texts=known.reference.held_out_texts if known else 0,
            live_texts=max((feature.live_texts for feature in features), default=0),
            features=features,
        )


def _known(entry: Entry) -> Known | None:
    return None if entry.manifest is None else reference.read(entry.path, entry.manifest)
