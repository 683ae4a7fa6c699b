"""API process. GET /health/live and /health/ready, with the short names that probes look for."""

from typing import Any

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.schemas.health import LiveSchema, ReadySchema
from app.api.services import services
from app.errors import NotReady, ServingError

blp = Blueprint("health", __name__, description="For probes")


@blp.route("/livez")
@blp.route("/health/live")
@blp.response(200, LiveSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ServingError)
def live() -> dict[str, bool]:
    """Whether the API process answers; looks at nothing else."""
    return {"live": True}


@blp.route("/healthz")
@blp.route("/readyz")
@blp.route("/health/ready")
@blp.response(200, ReadySchema, headers=REQUEST_ID_HEADER)
@blp.raises(NotReady, ServingError)
def ready() -> dict[str, Any]:
    """Whether a prediction by the default model can be made now."""
    predictions = services().predictions
    try:
        predictions.fleet()
        entry = predictions.catalog.get(predictions.catalog.resolve())
        predictions.device(entry)
    except ServingError as error:
        raise NotReady(error.code, str(error)) from error
    cache = "shared" if predictions.cache.shared_is_available else "in-process only"
    return {"ready": True, "model": str(entry.ref), "cache": cache}
