"""API process. The endpoints, one module a resource."""

from app.api.extensions import Blueprint
from app.api.routes.drift import blp as drift
from app.api.routes.feedback import blp as feedback
from app.api.routes.health import blp as health
from app.api.routes.jobs import blp as jobs
from app.api.routes.metrics import blp as metrics
from app.api.routes.models import blp as models
from app.api.routes.predict import blp as predict
from app.api.routes.rollouts import blp as rollouts
from app.api.routes.stats import blp as stats
from app.api.routes.tasks import blp as tasks

BLUEPRINTS: tuple[Blueprint, ...] = (
    *(predict, tasks, jobs, models, rollouts, feedback),
    *(health, stats, drift, metrics),
)
