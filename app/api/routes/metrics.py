"""API process. GET /metrics for Prometheus."""

from flask import Response, abort, request

from app.api.extensions import Blueprint
from app.api.services import services
from app.errors import ServingError

blp = Blueprint("metrics", __name__, description="For Prometheus")


@blp.route("/metrics")
@blp.returns({"type": "string"}, content_type="text/plain")
@blp.raises(ServingError)
def metrics() -> Response:
    """All metrics, summed over the processes, in the format that the Accept header asks for."""
    exporter = services().exporter
    if exporter is None:
        abort(404)
    text, content_type = exporter.generate_metrics(request.headers.get("Accept"))
    return Response(text, content_type=content_type)
