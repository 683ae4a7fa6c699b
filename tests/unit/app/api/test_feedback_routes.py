"""Feedback over HTTP: ids in answers, labels for them, and what they say of a version."""

import time

import msgspec
import pytest
from openapi_spec_validator import validate

from app.api import create_app
from app.api.services import services_of
from app.models.base import Ref
from app.models.desired import Desired
from app.models.reference import REFERENCE_FILE
from app.models.tally import Tally
from app.monitoring.feedback.ids import Predicted, Signer, mark_of
from app.settings import Monitoring, Redis
from tests.models import LABELS
from tests.processes import ROOT
from tests.unit.app.api.test_predict_routes import Answering, failed

SECRET = "correct-horse-battery-staple"
ON = Monitoring(feedback=True, feedback_min_texts=5)
TEXTS = [f"good day {number}" for number in range(5)]


@pytest.fixture
def serve(settings, gateway, redis_server, redis_client):
    """Makes clients of apps that take feedback, over one Redis."""
    apps = []

    def make(replaced=gateway, models_dir=settings.models_dir, **changes):
        monitoring = msgspec.structs.replace(ON, **changes)
        where = Redis(url=redis_server.url)
        changed = msgspec.structs.replace(
            settings, redis=where, monitoring=monitoring, models_dir=models_dir
        )
        app = create_app(changed, replaced)
        apps.append(app)
        return app.test_client()

    yield make
    for app in apps:
        services_of(app).feedback.close()


def predict(client, text="good day", **more):
    return client.post("/predict", json={"text": text, **more}).json


def give(client, prediction_id, label="positive"):
    return client.post("/feedback", json={"prediction_id": prediction_id, "label": label})


def all_of(client, ref="sentiment-v2"):
    return client.get(f"/models/{ref}/performance").json["windows"][1]


def live(window):
    return {figure["name"]: figure["live"] for figure in window["figures"]}


def test_no_answer_has_an_id_where_feedback_is_off(client):
    batch = client.post("/batch-predict", json={"texts": ["a good day"]}).json

    assert "prediction_id" not in predict(client)
    assert "prediction_id" not in batch["predictions"][0]
    assert give(client, "x").json["code"] == "not_found"
    assert client.get("/models/v2/performance").json["code"] == "not_found"


def test_every_answer_has_an_id_of_its_own_also_from_the_cache(serve):
    client = serve()

    answers = [client.post("/predict", json={"text": "good day"}) for _ in range(3)]
    batch = client.post("/batch-predict", json={"texts": ["good day", "bad night"]}).json

    assert answers[2].headers["X-Cache"] == "hit"
    found = [row["prediction_id"] for row in (*(a.json for a in answers), *batch["predictions"])]
    assert len(set(found)) == 5
    assert [give(client, one).status_code for one in found] == [200] * 5
    assert all_of(client)["texts"] == 5


def test_text_that_failed_has_no_id(serve):
    client = serve(failed("text_failed"))

    rows = client.post("/batch-predict", json={"texts": ["a"]}).json["predictions"]

    assert [set(row) for row in rows] == [{"error"}]


def test_same_feedback_twice_gets_the_same_answer_and_counts_once(serve):
    client = serve()
    prediction_id = predict(client)["prediction_id"]

    first, again = give(client, prediction_id), give(client, prediction_id)

    assert first.json == {
        "prediction_id": prediction_id,
        "model_version": "sentiment-v2",
        "predicted_label": "positive",
        "label": "positive",
    }
    assert (first.status_code, first.data) == (again.status_code, again.data)
    assert [a.headers["X-Feedback"] for a in (first, again)] == ["recorded", "duplicate"]
    assert all_of(client)["texts"] == 1


def test_other_label_is_a_correction(serve):
    client = serve()
    prediction_id = predict(client)["prediction_id"]
    give(client, prediction_id)

    corrected = give(client, prediction_id, "negative")

    assert (corrected.status_code, corrected.headers["X-Feedback"]) == (200, "corrected")
    assert (all_of(client)["texts"], live(all_of(client))["accuracy"]) == (1, 0.0)


@pytest.mark.parametrize("wrong", ["", "x", "ü", "A" * 5000, "a.b.c", "\ud800"])
def test_unknown_id_is_not_found(serve, wrong):
    answer = give(serve(), wrong)

    assert (answer.status_code, answer.json["code"]) == (404, "prediction_not_found")


def test_expired_id_is_not_found(serve):
    client = serve(feedback_secret=SECRET, feedback_ttl_seconds=60)
    digest = services_of(client.application).predictions.catalog.get(Ref("sentiment", "v2"))
    mark, now = mark_of(digest.manifest.digest), int(time.time())

    def made(ref, at, mark=mark):
        return Signer(SECRET.encode()).make(Predicted(ref, mark, at, 1, 2, (1, 2, 3)))

    assert give(client, made("sentiment-v2", now - 50)).status_code == 200
    assert give(client, made("sentiment-v2", now - 70)).json["code"] == "prediction_not_found"
    assert give(client, made("sentiment-v7", now)).json["code"] == "prediction_not_found"
    other = give(client, made("sentiment-v2", now, mark="00000000"))
    assert other.json["code"] == "prediction_not_found"


def test_label_of_no_class_is_refused_with_those_that_are(serve):
    client = serve()

    answer = give(client, predict(client)["prediction_id"], "great")

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_fields")
    allowed = "Must be a label of sentiment-v2: negative, neutral, positive."
    assert answer.json["errors"] == {"label": [allowed]}
    assert all_of(client)["texts"] == 0


@pytest.mark.parametrize("body", [{}, {"label": "a"}, {"prediction_id": 1, "label": "a"}, []])
def test_wrong_body_is_refused(serve, body):
    assert serve().post("/feedback", json=body).json["code"] == "invalid_fields"


def test_any_process_knows_the_ids_of_all(serve):
    one, other = serve(), serve()

    assert give(other, predict(one)["prediction_id"]).status_code == 200


def test_processes_agree_again_after_redis_was_emptied(serve, redis_client):
    one, other = serve(), serve()
    before = [predict(client)["prediction_id"] for client in (one, other)]
    redis_client.flushall()

    assert give(one, before[1]).status_code == 200
    late = serve()

    assert give(late, predict(other)["prediction_id"]).status_code == 200
    assert give(other, predict(late)["prediction_id"]).status_code == 200


def test_predictions_do_not_fail_for_want_of_an_id(settings, gateway):
    """Redis was never reached."""
    client = create_app(msgspec.structs.replace(settings, monitoring=ON), gateway).test_client()

    answer = predict(client)

    assert answer["label"] == "positive"
    assert "prediction_id" not in answer
    assert give(client, "x").json["code"] == "broker_unavailable"


def test_performance_compares_with_training(serve, judged):
    rows = [(at % 3, [0.8 if at % 3 == n else 0.1 for n in range(3)]) for at in range(300)]
    quality = msgspec.to_builtins(Tally.of(list(LABELS), rows))
    sample = msgspec.json.decode((ROOT / "models/sentiment/v2" / REFERENCE_FILE).read_bytes())
    (judged / REFERENCE_FILE).write_bytes(msgspec.json.encode(sample | {"quality": quality}))
    client = serve()
    entries = services_of(client.application).predictions.catalog.entries(fresh=True)
    manifest = entries[Ref("judged", "v1")].manifest
    feedback = services_of(client.application).feedback
    for number in range(20):
        said = Predicted("judged-v1", mark_of(manifest.digest), 0, number, 0, (60_000, 3000, 2535))
        feedback.counts.record(said._replace(at=int(time.time())), number % 3, time.time())

    found = client.get("/models/judged/performance")

    assert found.headers["Cache-Control"] == "no-store"
    assert (found.json["verdict"], found.json["reference_texts"]) == ("degraded", 300)
    assert [w["seconds"] for w in found.json["windows"]] == [86_400, None]
    (accuracy, *_) = found.json["windows"][0]["figures"]
    assert (accuracy["live"], accuracy["reference"]) == (0.35, 1.0)
    assert accuracy["high"] < 0
    drift = client.get("/models/judged/drift").json
    assert (drift["verdict"], drift["performance"]) == ("insufficient_data", found.json)
    text = client.get("/metrics").text
    of = 'model="judged",version="v1"'
    assert f"mlserve_feedback_accuracy_ratio{{{of}}} 0.35" in text
    assert f"mlserve_feedback_accuracy_reference_ratio{{{of}}} 1.0" in text
    assert f"mlserve_feedback_accuracy_degraded{{{of}}} 1.0" in text


def test_performance_without_training_or_of_nothing(serve):
    client = serve()

    assert client.get("/models/v2/performance").json["verdict"] == "insufficient_data"
    for text in TEXTS:
        give(client, predict(client, text)["prediction_id"])
    assert client.get("/models/v2/performance").json["verdict"] == "no_reference"
    assert client.get("/models/nobody/performance").json["code"] == "model_not_found"
    assert client.get("/models/broken-v1/performance").json["code"] == "model_unavailable"


def test_performance_is_that_of_the_version_that_was_just_swapped_to(serve):
    class Swapped(Answering):
        def fleet(self):
            desired = Desired(generation=1, active={"sentiment": "v1"})
            return msgspec.structs.replace(super().fleet(), desired=desired)

    told = serve(Swapped()).get("/models/sentiment/performance").json

    assert told["model_version"] == "sentiment-v1"


def test_metrics_tell_of_feedback(serve):
    client = serve()
    found = [predict(client, text)["prediction_id"] for text in TEXTS]
    for at, prediction_id in enumerate([*found, found[0]]):
        give(client, prediction_id, "positive" if at % 5 else "negative")

    text = client.get("/metrics").text

    of = 'model="sentiment",version="v2"'
    assert f"mlserve_feedback_accuracy_degraded{{{of}}}" not in text
    assert f"mlserve_feedback_accuracy_ratio{{{of}}} 0.8" in text
    assert f"mlserve_feedback_window_texts{{{of}}} 5.0" in text
    assert 'mlserve_feedback_total{model="sentiment",outcome="recorded",version="v2"} 5.0' in text
    assert 'mlserve_feedback_total{model="sentiment",outcome="duplicate",version="v2"} 1.0' in text


def test_document_and_page_tell_of_feedback(serve):
    spec = serve().get("/openapi.json").json

    validate(spec)
    page = (ROOT / "docs/http-api.md").read_text()
    assert "POST /feedback" in page
    assert "/models/<ref>/performance" in page
    codes = spec["paths"]["/feedback"]["post"]["responses"]["404"]["content"]
    assert set(codes["application/problem+json"]["examples"]) == {"prediction_not_found"}
    assert "`prediction_not_found`" in page
