"""Contender. Flask with the model in its own process, under gunicorn."""

from flask import Flask, Response, jsonify, request

from benchmarks.servers.model import Model

app = Flask(__name__)
model = Model()


@app.post("/predict")
def predict() -> Response:
    """Classify one text."""
    return jsonify(model.one(request.get_json()["text"]))
