"""Shared. All that is read from Redis for a scrape: the same whichever process answers it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from prometheus_client.registry import Collector

from app.broker import redis_client
from app.fleet import Fleet
from app.models.catalog import Catalog
from app.monitoring.drift.metrics import DriftCollector
from app.monitoring.feedback.metrics import FeedbackCollector
from app.monitoring.fleet_metrics import FleetCollector
from app.monitoring.redis_metrics import RedisCollector
from app.settings import Settings


class Looks(NamedTuple):
    """One collector for each part; None for one that is off."""

    fleet: FleetCollector
    redis: RedisCollector
    drift: DriftCollector | None
    feedback: FeedbackCollector | None

    @classmethod
    def of(cls, settings: Settings, catalog: Catalog, look: Callable[[], Fleet]) -> "Looks":
        """Those that `settings` want; `look` is asked for the fleet, and connects by itself."""
        return cls(
            fleet=FleetCollector(catalog, look),
            redis=RedisCollector(partial(redis_client, settings)),
            drift=DriftCollector(settings, catalog, look) if settings.drift.enabled else None,
            feedback=(
                FeedbackCollector(settings, catalog) if settings.monitoring.feedback else None
            ),
        )

    def collectors(self) -> list[Collector]:
        """Those that there are."""
        return [collector for collector in self if collector is not None]

    def close(self) -> None:
        """Close their connections; `look` is whoever's it was."""
        for collector in (self.redis, self.drift, self.feedback):
            if collector is not None:
                collector.close()
