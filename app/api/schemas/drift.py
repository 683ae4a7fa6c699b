"""API process. The answer of /models/<ref>/drift."""

from typing import Any, get_args

from marshmallow import Schema, fields

from app.api.schemas.feedback import PerformanceSchema
from app.monitoring.drift.verdict import Verdict

VERDICTS = list(get_args(Verdict))
EXAMPLE: dict[str, Any] = {
    "model_version": "sentiment-v2",
    "verdict": "alarm",
    "window_seconds": 3600,
    "min_samples": 200,
    "significance": 0.01,
    "reference_texts": 4859,
    "live_texts": 1200,
    "features": [
        {
            "feature": "labels",
            "verdict": "alarm",
            "reference_texts": 4859,
            "live_texts": 1200,
            "test": "chi_square",
            "p_value": 1.2e-88,
            "scores": [
                {"method": "psi", "value": 0.4213, "warn": 0.1, "alarm": 0.25},
                {"method": "jensen_shannon", "value": 0.0709, "warn": 0.02, "alarm": 0.05},
            ],
            "bins": [
                {"name": "negative", "reference": 0.391, "live": 0.688},
                {"name": "neutral", "reference": 0.127, "live": 0.102},
                {"name": "positive", "reference": 0.482, "live": 0.21},
            ],
        }
    ],
    "performance": None,
}


class DriftScoreSchema(Schema):
    """How large a change is, less what chance makes of it on average."""

    method = fields.String(
        required=True,
        metadata={
            "enum": ["psi", "jensen_shannon", "ks"],
            "description": "`psi` in nats, `jensen_shannon` divergence in bits, `ks` distance 0-1.",
        },
    )
    value = fields.Float(required=True)
    warn = fields.Float(
        required=True,
        metadata={"description": "From here on it counts; for `ks` what chance reaches."},
    )
    alarm = fields.Float(required=True, allow_none=True)


class DriftBinSchema(Schema):
    """A label, or a bin of a histogram, and the shares of the texts in it."""

    name = fields.String(
        required=True, metadata={"description": "The label, or the lower edge of the bin."}
    )
    reference = fields.Float(required=True)
    live = fields.Float(required=True)


class FeatureDriftSchema(Schema):
    """One feature: drifted where a score counts and `p_value` says that it is not chance."""

    feature = fields.String(
        required=True,
        metadata={"enum": ["labels", "confidence", "characters", "unknown_tokens", "distance"]},
    )
    verdict = fields.String(required=True, metadata={"enum": VERDICTS})
    reference_texts = fields.Integer(required=True)
    live_texts = fields.Integer(required=True)
    test = fields.String(required=True, metadata={"enum": ["ks", "chi_square"]})
    p_value = fields.Float(required=True, allow_none=True)
    scores = fields.List(
        fields.Nested(DriftScoreSchema),
        required=True,
        metadata={"description": "Empty where there are too few texts."},
    )
    bins = fields.List(fields.Nested(DriftBinSchema), required=True)


class DriftSchema(Schema):
    """Whether the traffic of a version still looks like what it was trained on."""

    model_version = fields.String(required=True)
    verdict = fields.String(required=True, metadata={"enum": VERDICTS})
    window_seconds = fields.Integer(
        required=True, metadata={"description": "How much of the past is judged."}
    )
    min_samples = fields.Integer(required=True)
    significance = fields.Float(required=True)
    reference_texts = fields.Integer(
        required=True, metadata={"description": "Held-out texts in the reference."}
    )
    live_texts = fields.Integer(
        required=True, metadata={"description": "Texts that workers measured in the window."}
    )
    features = fields.List(fields.Nested(FeatureDriftSchema), required=True)
    performance = fields.Nested(
        PerformanceSchema,
        required=True,
        allow_none=True,
        metadata={
            "description": "As `GET /models/<ref>/performance`; null without `monitoring.feedback`."
        },
    )
