"""API process. GET /stats: what `mlserve stats` shows."""

from typing import Any

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.schemas.stats import StatsSchema
from app.api.services import Services, services
from app.errors import BrokerUnavailable, ServingError
from app.jobs.view import describe
from app.monitoring.health import judge
from app.monitoring.stats import Stats, collect

MAX_JOBS = 10

blp = Blueprint("stats", __name__, description="Figures for people")


@blp.route("/stats")
@blp.response(200, StatsSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ServingError)
def stats() -> Stats:
    """Health, requests, errors, latencies, predictions, queues, drift, workers and jobs."""
    has = services()
    fleet, health = has.predictions.fleet(), judge(has.predictions)
    return collect(has.metrics, fleet, health, has.looks, _jobs(has))


def _jobs(has: Services) -> list[dict[str, Any]] | None:
    # A Redis that is known to be away would only be waited for.
    if not has.predictions.fleet().reachable:
        return None
    try:
        return [describe(job, has.jobs.ledger.now()) for job in has.jobs.open(MAX_JOBS)]
    except BrokerUnavailable:
        return None
