"""Contender. The web half of the naive service: every request is a task and waits for it."""

from flask import Flask, Response, jsonify, request

from benchmarks.servers.naive_tasks import classify

TIMEOUT_S = 5

app = Flask(__name__)


@app.post("/predict")
def predict() -> Response:
    """Classify one text."""
    return jsonify(classify.delay(request.get_json()["text"]).get(timeout=TIMEOUT_S))
