"""API process. GET /health/live and /health/ready, with the short names that probes look for."""

import msgspec

from app.api.extensions import Blueprint
from app.api.hot import Answered, Call
from app.api.schemas.health import LiveSchema, ReadySchema
from app.api.services import Services
from app.errors import NotReady, ServingError

blp = Blueprint("health", __name__, description="For probes")


@blp.hot("/health/live", "/livez", method="GET")
@blp.returns(LiveSchema)
@blp.raises(ServingError)
async def live(has: Services, call: Call) -> Answered:
    """Whether the API process answers; looks at nothing else."""
    return Answered(msgspec.json.encode({"live": True}), [])


@blp.hot("/health/ready", "/readyz", "/healthz", method="GET")
@blp.returns(ReadySchema)
@blp.raises(NotReady, ServingError)
async def ready(has: Services, call: Call) -> Answered:
    """Whether a prediction by the default model can be made now."""
    predictions = has.predictions
    try:
        # The last look of the watcher: nothing here waits for Redis.
        predictions.fleet()
        entry = predictions.catalog.get(predictions.catalog.resolve())
        predictions.device(entry)
    except ServingError as error:
        raise NotReady(error.code, str(error)) from error
    cache = "shared" if predictions.cache.shared_is_available else "in-process only"
    told = {"ready": True, "model": str(entry.ref), "cache": cache}
    return Answered(msgspec.json.encode(told), [])
