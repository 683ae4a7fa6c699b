"""Floor. A Flask handler that computes nothing, in the HTTP server that mlserve uses."""

from flask import Flask, request

app = Flask(__name__)


@app.post("/predict")
def predict() -> dict[str, object]:
    """Read the body and answer with a constant."""
    request.get_data()
    return {"label": "neutral", "confidence": 1.0}
