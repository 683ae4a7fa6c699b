"""API process. Bodies of feedback, and what it says of a version."""

from typing import Any, get_args

import msgspec
from marshmallow import Schema, fields

from app.monitoring.feedback.counts import OUTCOMES
from app.monitoring.feedback.quality import Verdict
from app.settings import Limits

OUTCOME_HEADER = "X-Feedback"
HEADERS = {
    OUTCOME_HEADER: {
        "description": "`corrected`: another label was given before; `duplicate`: this one was.",
        "schema": {"type": "string", "enum": list(OUTCOMES)},
    }
}


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /feedback`."""

    prediction_id: str
    label: str

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        members: dict[str, fields.Field[Any]] = {
            "prediction_id": fields.String(
                required=True, metadata={"description": "As the prediction has it."}
            ),
            "label": fields.String(
                required=True, metadata={"description": "The true one, of the version's labels."}
            ),
        }
        return Schema.from_dict(members, name="FeedbackRequest")()

    def is_clean(self, limits: Limits) -> bool:
        """Which ids and labels there are, `app.inference.feedback` knows."""
        return True


class FeedbackSchema(Schema):
    """Feedback that counts: the same however often it is given."""

    prediction_id = fields.String(required=True)
    model_version = fields.String(required=True)
    predicted_label = fields.String(required=True)
    label = fields.String(required=True, metadata={"description": "What counts as the true one."})


def _figure(description: str) -> fields.Float:
    return fields.Float(required=True, allow_none=True, metadata={"description": description})


_VERDICT = {"enum": list(get_args(Verdict))}


class FigureSchema(Schema):
    """One figure of a window, compared with that of training."""

    name = fields.String(required=True, metadata={"enum": ["accuracy", "macro_f1", "ece", "brier"]})
    live = _figure("Of the predictions of the window that have feedback.")
    reference = _figure("Of the held-out texts of training.")
    low = _figure("The interval of the difference, live minus reference, at 99 %: its low end.")
    high = _figure("Its high end.")
    verdict = fields.String(required=True, metadata=_VERDICT)


class WindowSchema(Schema):
    """Predictions of one span of time."""

    seconds = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "How far it goes back; null: as far as there is feedback."},
    )
    texts = fields.Integer(
        required=True, metadata={"description": "Predictions in it that have feedback."}
    )
    verdict = fields.String(required=True, metadata=_VERDICT)
    figures = fields.List(fields.Nested(FigureSchema), required=True)


class PerformanceSchema(Schema):
    """How good a version is by the feedback on it, compared with its training."""

    model_version = fields.String(required=True)
    verdict = fields.String(
        required=True,
        metadata=_VERDICT | {"description": "`degraded` where any window is."},
    )
    reference_texts = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Held-out texts of training."}
    )
    windows = fields.List(fields.Nested(WindowSchema), required=True)
