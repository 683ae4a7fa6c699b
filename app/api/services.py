"""API process. What the views work with: made once by `create_app`, found on the app."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from app.api.exporter import Exporter
from app.api.gate import Gate
from app.inference.feedback import Feedback
from app.inference.jobs import BulkJobs
from app.inference.rollouts import Rollouts
from app.inference.service import Predictions
from app.inference.tasks import Tasks
from app.monitoring.drift.reports import DriftReports
from app.monitoring.looks import Looks
from app.monitoring.metrics import Metrics
from app.settings import Settings
from app.tracing.requests import RequestTracing

_KEY = "mlserve"


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators of every view.

    `exporter` is None where monitoring is disabled, `feedback` where nobody may give any, and
    `tracing` where that is disabled.
    """

    settings: Settings
    gate: Gate
    predictions: Predictions
    rollouts: Rollouts
    jobs: BulkJobs
    tasks: Tasks
    drift: DriftReports
    looks: Looks
    exporter: Exporter | None
    feedback: Feedback | None = None
    tracing: RequestTracing | None = None

    @property
    def metrics(self) -> Metrics | None:
        """Where to count; None where monitoring is disabled."""
        return self.exporter.metrics if self.exporter else None

    def start(self) -> None:
        """Begin with what no request asks for."""
        if self.exporter:
            self.exporter.start(self.settings)

    def close(self) -> None:
        """Stop all threads and close all connections; who still waits is told so."""
        self.predictions.close()
        self.rollouts.close()
        self.jobs.close()
        self.drift.close()
        if self.feedback:
            self.feedback.close()
        if self.exporter:
            self.exporter.stop()
        self.looks.close()
        if self.tracing is not None:
            self.tracing.close()


def attach(app: Flask, services: Services) -> None:
    """Make `services` those of `app`."""
    app.extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """What was attached to `app`."""
    return cast(Services, app.extensions[_KEY])


def services() -> Services:
    """Those of the app that handles the current request."""
    return services_of(current_app)
