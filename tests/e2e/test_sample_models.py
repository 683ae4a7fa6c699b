"""The sample models over HTTP give what their artifacts give in a plain Python loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import urllib3

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.formats.skops_format import load_object
from app.models.loader import load, read_artifacts
from app.settings import Limits
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
HELD_OUT = [
    json.loads(line)["text"]
    for line in (ROOT / "tests/data/held_out.jsonl").read_text(encoding="utf-8").splitlines()
][:200]
VERSIONS = ("v1", "v2", "v3")


@pytest.fixture(scope="module")
def service():
    """Asks the API: a GET, or with a body a POST."""
    redis = RedisServer()
    api = ApiProcess(redis.url, MODELS)
    with redis, side_by_side(WorkerProcess(redis.url, MODELS), api):
        http = urllib3.PoolManager()

        def ask(path, body=None):
            method = "GET" if body is None else "POST"
            return http.request(method, api.url + path, json=body).json()

        def holds(version):
            return ask(f"/models/{version}")["status"] == "ready"

        for version in VERSIONS:
            eventually(lambda version=version: holds(version), timeout_s=60)
        yield ask


def plain_loop(version):
    """(label, probability) for each text: the artifact itself, one text at a time."""
    entry = Catalog(MODELS, "sentiment").get(Ref("sentiment", version))
    model = load(entry, Limits(), "cpu")
    predict = model.predictor.predict_proba
    if model.manifest.format == "skops":
        first = model.manifest.artifacts[0].file
        predict = load_object(read_artifacts(entry, Limits())[first], model.ref).predict_proba
    for text in HELD_OUT:
        row = np.asarray(predict(model.pipeline.extract([model.pipeline.clean(text)])))[0]
        yield model.labels[int(row.argmax())], float(row.max())


@pytest.mark.parametrize("version", VERSIONS)
def test_answer_over_http_is_that_of_the_artifact(service, version):
    expected = list(plain_loop(version))

    single = [service("/predict", {"text": t, "model_version": version}) for t in HELD_OUT]
    batches = [
        service("/batch-predict", {"texts": HELD_OUT[at : at + 100], "model_version": version})
        for at in (0, 100)
    ]

    together = [prediction for batch in batches for prediction in batch["predictions"]]
    assert len(expected) == len(single) == len(together) == 200
    for answers in (single, together):
        assert [answer["label"] for answer in answers] == [label for label, _ in expected]
        confidences = [answer["confidence"] for answer in answers]
        assert confidences == pytest.approx([p for _, p in expected], abs=1e-6)
    assert {answer["model_version"] for answer in single} == {f"sentiment-{version}"}


def test_drift_is_told_of_strange_texts_and_not_of_held_out_ones(service):
    strange = [f"zxq{at} wvk{at} qqj{at}" for at in range(400)]

    def answer(texts, version):
        for at in range(0, len(texts), 100):
            body = {"texts": texts[at : at + 100], "model_version": version}
            service("/batch-predict", body)
        told = eventually(lambda: drift(version, len(texts)), timeout_s=20)
        return told["verdict"], {row["feature"]: row["verdict"] for row in told["features"]}

    def drift(version, texts):
        told = service(f"/models/{version}/drift")
        return told if told["live_texts"] >= texts else None

    # Those that another test has asked for already are counted, and come from the cache now.
    _, usual = answer(HELD_OUT, "v3")
    verdict, unusual = answer(strange, "v1")

    # Not their lengths: the file has lower-case texts first, and so twice as many product reviews.
    features = ("labels", "confidence", "unknown_tokens", "distance")
    assert [name for name in features if usual[name] != "ok"] == []
    assert verdict == unusual["unknown_tokens"] == "alarm"
