"""API process. Builds the collaborators of the views, each with what it needs of the others."""

from functools import partial

from flask import Flask

from app.api.exporter import Exporter
from app.api.gate import Gate
from app.api.services import Services
from app.broker import redis_client
from app.inference.feedback import Feedback
from app.inference.gateway import CeleryGateway, Gateway
from app.inference.jobs import BulkJobs
from app.inference.rollouts import Rollouts
from app.inference.service import Predictions
from app.inference.tasks import Tasks
from app.models.catalog import Catalog
from app.monitoring.drift_metrics import DriftCollector
from app.monitoring.drift_reports import DriftReports
from app.monitoring.feedback_metrics import FeedbackCollector
from app.monitoring.fleet_metrics import FleetCollector
from app.monitoring.metrics import Metrics
from app.monitoring.redis_metrics import RedisCollector
from app.settings import Settings
from app.tracing.requests import RequestTracing


def compose(
    app: Flask, settings: Settings, gateway: Gateway | None, tracing: RequestTracing | None
) -> Services:
    """All that the views of `app` work with; `gateway` None is that to the real workers."""
    exporter = Exporter(app, Metrics()) if settings.monitoring.enabled else None
    metrics = exporter.metrics if exporter else None
    catalog = Catalog(settings.models_dir, settings.default_model)
    gateway = gateway or CeleryGateway(settings, tracing)
    predictions = Predictions(settings, catalog, gateway, metrics)
    if metrics is not None:
        _include_looks(metrics, settings, predictions)
    jobs = BulkJobs(settings, predictions, gateway.now)
    return Services(
        settings=settings,
        gate=Gate(settings.limits),
        predictions=predictions,
        rollouts=Rollouts(settings, Catalog(settings.models_dir, settings.default_model), gateway),
        jobs=jobs,
        tasks=Tasks(jobs),
        drift=DriftReports(settings.drift, redis_client(settings)),
        exporter=exporter,
        feedback=(
            Feedback(settings, catalog, gateway.now) if settings.monitoring.feedback else None
        ),
        tracing=tracing,
    )


def _include_looks(metrics: Metrics, settings: Settings, predictions: Predictions) -> None:
    """Have what is read from Redis told with every scrape."""
    catalog, look = predictions.catalog, predictions.fleet
    metrics.include(FleetCollector(catalog, look))
    metrics.include(RedisCollector(partial(redis_client, settings)))
    if settings.drift.enabled:
        metrics.include(DriftCollector(settings, catalog, look))
    if settings.monitoring.feedback:
        metrics.include(FeedbackCollector(settings, catalog))
