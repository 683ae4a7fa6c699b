"""API process. Builds the collaborators of the views, each with what it needs of the others."""

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
from app.monitoring.drift.reports import DriftReports
from app.monitoring.looks import Looks
from app.monitoring.metrics import Metrics
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
    looks = Looks.of(settings, catalog, predictions.fleet)
    if metrics is not None:
        metrics.include_all(looks.collectors())
    jobs = BulkJobs(settings, predictions, gateway.now)
    return Services(
        settings=settings,
        gate=Gate(settings.limits),
        predictions=predictions,
        # A catalog of its own: it may be ahead of the look at the fleet that predictions go by.
        rollouts=Rollouts(settings, Catalog(settings.models_dir, settings.default_model), gateway),
        jobs=jobs,
        tasks=Tasks(jobs),
        drift=DriftReports(settings.drift, redis_client(settings)),
        looks=looks,
        exporter=exporter,
        feedback=(
            Feedback(settings, catalog, gateway.now) if settings.monitoring.feedback else None
        ),
        tracing=tracing,
    )
