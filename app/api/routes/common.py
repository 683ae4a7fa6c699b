"""API process. What several resources have in common."""

from typing import Any

# Longer ones cannot exist.
MAX_ID_CHARS = 64
# What it takes a worker that is not busy, or one that loads a model.
ASK_AGAIN_S = 1

# Body, status and headers.
Answer = tuple[dict[str, Any], int, dict[str, str]]

PREDICTION_EXAMPLE = {
    "label": "positive",
    "confidence": 0.97,
    "latency_ms": 3.2,
    "model_version": "sentiment-v2",
}
