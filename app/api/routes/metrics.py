"""API process. GET /metrics for Prometheus."""

from flask import abort

from app.api.extensions import Blueprint
from app.api.hot import Answered, Call
from app.api.services import Services
from app.errors import ServingError

blp = Blueprint("metrics", __name__, description="For Prometheus")


TEXT = {"schema": {"type": "string"}}
OPEN_METRICS = {"application/openmetrics-text": TEXT}


@blp.hot("/metrics", method="GET")
@blp.doc(responses={200: {"content": OPEN_METRICS}})
@blp.returns({"type": "string"}, content_type="text/plain")
@blp.raises(ServingError)
async def metrics(has: Services, call: Call) -> Answered:
    """All metrics, summed over the processes, in the format that the Accept header asks for."""
    if has.exporter is None:
        abort(404)
    text, content_type = await has.exporter.read(call.accept)
    return Answered(text.encode(), [], content_type=content_type)
