"""API process. GET /stats: what `mlserve stats` shows."""

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.schemas.stats import StatsSchema
from app.api.services import services
from app.errors import ServingError
from app.monitoring.stats import Stats, collect

blp = Blueprint("stats", __name__, description="Figures for people")


@blp.route("/stats")
@blp.response(200, StatsSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ServingError)
def stats() -> Stats:
    """Requests, errors, latency percentiles, predictions, queues and workers."""
    has = services()
    return collect(has.metrics, has.predictions.fleet())
