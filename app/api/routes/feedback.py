"""API process. POST /feedback, and GET /models/<ref>/performance: what it says of a version."""

from typing import cast

import msgspec
from flask import request

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.routes.common import Answer
from app.api.routes.models import MAX_REF_CHARS
from app.api.schemas.feedback import (
    HEADERS,
    OUTCOME_HEADER,
    FeedbackBody,
    FeedbackSchema,
    PerformanceSchema,
)
from app.api.services import services
from app.errors import (
    BrokerUnavailable,
    InvalidFields,
    ModelNotFound,
    ModelUnavailable,
    PredictionNotFound,
    ServingError,
)
from app.inference.feedback import Feedback

EXAMPLE_ID = "AXj6BmsVzVsHAAAAAAIAA8ZKQIqaGTMzMrNzZW50aW1lbnQtdjKeauM7rh_TYhlzv1mmHFVN"
EXAMPLE = {
    "prediction_id": EXAMPLE_ID,
    "model_version": "sentiment-v2",
    "predicted_label": "positive",
    "label": "negative",
}

blp = Blueprint("feedback", __name__, description="True labels, and what they say of a version")


@blp.route("/feedback", methods=["POST"])
@blp.accepts(FeedbackBody, example={"prediction_id": EXAMPLE_ID, "label": "negative"})
@blp.response(200, FeedbackSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER | HEADERS)
@blp.raises(PredictionNotFound, InvalidFields, BrokerUnavailable, ServingError)
def give() -> Answer:
    """Tell the true label of a prediction.

    The same again changes nothing; another label replaces the one before.
    """
    gate = services().gate
    body = gate.decode(gate.read(request.environ), FeedbackBody)
    given = _feedback().give(body.prediction_id, body.label)
    told = {
        "prediction_id": body.prediction_id,
        "model_version": given.ref,
        "predicted_label": given.predicted,
        "label": given.label,
    }
    return told, 200, {OUTCOME_HEADER: given.outcome}


@blp.route("/models/<ref>/performance")
@blp.response(200, PerformanceSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ModelNotFound, ModelUnavailable, BrokerUnavailable, ServingError)
def get_performance(ref: str) -> Answer:
    """How good a version is by the feedback on it, compared with its training."""
    version = services().predictions.find(ref[:MAX_REF_CHARS])
    found = _feedback().performance(version)
    return msgspec.to_builtins(found), 200, {"Cache-Control": "no-store"}


def _feedback() -> Feedback:
    # These routes are there only where it is on.
    return cast(Feedback, services().feedback)
