"""Predictions that nobody waits for: put off by their caller, or by their time limit."""

import shutil
import time

import msgspec
import pytest

from app.api import create_front
from app.api.services import services_of
from app.inference.tasks import MAX_OPEN
from app.jobs.blobs import encode_results
from app.jobs.chunks import Chunks
from app.jobs.keys import ACTIVE_KEY, job_key
from app.settings import Redis
from tests.unit.app.api.asgi import Client
from tests.unit.app.jobs.jobs import BAD

ASYNC = {"Prefer": "respond-async"}
MISSING = "0d7f3a52-6f0e-4f5c-8a55-3a7b0a6f1c2d"
TIMEOUT_MS = 150


@pytest.fixture(scope="module")
def hasty_front(redis_server, settings):
    """The service for callers who wait 150 ms at most."""
    where = Redis(url=redis_server.url)
    front = create_front(
        msgspec.structs.replace(settings, redis=where, request_timeout_ms=TIMEOUT_MS)
    )
    yield front
    front._services.close()


@pytest.fixture
def hasty(hosts, hasty_front):
    """A client of that, which sees a worker that answers nothing in time."""
    hosts.hold("w1@test", "sentiment-v2")
    hasty_front._services.predictions._gateway.nudge()
    return Client(hasty_front)


def book(client):
    return services_of(client.application).jobs.ledger


def put(client, path="/predict", body=None):
    answer = client.post(path, json=body or {"text": "a good day"}, headers=ASYNC)
    assert answer.status_code == 202
    return answer.json["task_id"]


def compute(ledger, task_id, bad=(), truncated=()):
    """The part of the worker: text number n gets label n, with a probability of 0.7."""
    chunks = Chunks(ledger)
    claim = chunks.claim(task_id, 0, "w1", 10)
    texts = chunks.texts(claim)
    labels = [at % 3 for at in range(len(texts))]
    scores = [0.7 if at == label else 0.15 for label in labels for at in range(3)]
    question = claim.spec.question
    blob = encode_results(
        labels,
        [0.7] * len(texts),
        dict.fromkeys(bad, BAD),
        scores if question.top_k else [],
        truncated,
    )
    chunks.commit(claim, blob, succeeded=len(texts) - len(bad), failed=len(bad))
    return texts


def test_respond_async_gives_the_address_of_the_answer(job_client):
    answer = job_client.post("/predict", json={"text": "a good day"}, headers=ASYNC)

    task_id = answer.json["task_id"]
    assert (answer.status_code, answer.json["status"]) == (202, "in_progress")
    assert answer.headers["Location"] == f"/tasks/{task_id}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert int(answer.headers["Retry-After"]) >= 1


def test_task_is_followed_to_its_prediction(job_client):
    task_id = put(job_client)
    before = job_client.get(f"/tasks/{task_id}")

    assert compute(book(job_client), task_id) == ["a good day"]
    after = job_client.get(f"/tasks/{task_id}")

    assert (before.status_code, before.headers["Retry-After"]) == (202, "1")
    assert before.json == {"task_id": task_id, "status": "in_progress"}
    assert after.status_code == 200
    assert set(after.json) == {"label", "confidence", "latency_ms", "model_version"}
    assert (after.json["label"], after.json["confidence"]) == ("negative", 0.7)
    assert (after.json["model_version"], after.json["latency_ms"] > 0) == ("sentiment-v2", True)


def test_task_says_that_its_text_was_truncated(job_client):
    task_id = put(job_client)

    compute(book(job_client), task_id, truncated=[0])

    assert job_client.get(f"/tasks/{task_id}").json["truncated"] is True


def test_task_has_the_scores_that_were_asked_for(job_client):
    task_id = put(job_client, body={"text": "a good day", "top_k": 2})
    compute(book(job_client), task_id)

    told = job_client.get(f"/tasks/{task_id}").json

    assert told["scores"] == [
        {"label": "negative", "score": 0.7},
        {"label": "neutral", "score": 0.15},
    ]


def test_batch_is_a_task_too(job_client):
    task_id = put(job_client, "/batch-predict", {"texts": ["a", "b", "c"]})
    compute(book(job_client), task_id, bad={1})

    told = job_client.get(f"/tasks/{task_id}").json

    assert told["predictions"] == [
        {"label": "negative", "confidence": 0.7},
        {"error": {"code": "text_failed", "message": "bad"}},
        {"label": "positive", "confidence": 0.7},
    ]
    assert set(told) == {"predictions", "total_latency_ms", "model_version"}


def test_task_whose_text_failed_answers_as_predict_does(job_client):
    task_id = put(job_client)
    compute(book(job_client), task_id, bad={0})

    answer = job_client.get(f"/tasks/{task_id}")

    assert (answer.status_code, answer.json["code"]) == (500, "text_failed")


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (lambda ledger, task_id: ledger.cancel(task_id), 410, "task_cancelled"),
        (lambda ledger, task_id: ledger.fail(task_id, BAD), 500, "job_failed"),
        (lambda ledger, task_id: ledger.redis.delete(job_key(task_id)), 404, "task_not_found"),
    ],
    ids=["cancelled", "failed", "expired"],
)
def test_task_without_an_answer_says_why(job_client, end, status, code):
    task_id = put(job_client)
    end(book(job_client), task_id)

    answer = job_client.get(f"/tasks/{task_id}")

    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_tasks_are_no_jobs_and_jobs_are_no_tasks(job_client):
    task_id = put(job_client)
    job_id = job_client.post("/jobs", json={"texts": ["a"]}).json["id"]

    listed = [job["id"] for job in job_client.get("/jobs").json["jobs"]]
    wrong = [f"/jobs/{task_id}", f"/jobs/{task_id}/results", f"/tasks/{job_id}"]

    assert listed == [job_id]
    assert {job_client.get(path).status_code for path in [*wrong, f"/tasks/{MISSING}"]} == {404}
    assert job_client.delete(f"/jobs/{task_id}").status_code == 404


@pytest.mark.parametrize("path", ["/predict", "/batch-predict"])
def test_body_is_checked_before_it_is_put_off(job_client, redis_client, path):
    answer = job_client.post(path, json={"text": " ", "texts": [" "]}, headers=ASYNC)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_fields")
    assert redis_client.keys("mlserve:job*") == []


def test_put_off_prediction_that_nobody_can_make_is_refused_at_once(job_client):
    body = {"text": "a", "model_version": "sentiment-v1"}

    answer = job_client.post("/predict", json=body, headers=ASYNC)

    assert (answer.status_code, answer.json["code"]) == (503, "no_worker")


def test_only_so_many_predictions_are_put_off(job_client, redis_client):
    redis_client.zadd(ACTIVE_KEY, {f"job {at}": 1 for at in range(MAX_OPEN)})

    answer = job_client.post("/predict", json={"text": "a"}, headers=ASYNC)

    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("path", "body"), [("/predict", {"text": "a good day"}), ("/batch-predict", {"texts": ["a"]})]
)
def test_prediction_that_takes_too_long_goes_on_as_a_task(hasty, path, body):
    answer = hasty.post(path, body)

    task_id = answer.json["task_id"]
    assert (answer.status, answer.json["code"]) == (504, "prediction_timeout")
    assert answer.header("Location") == f"/tasks/{task_id}"
    assert hasty.get(f"/tasks/{task_id}").status == 202
    compute(hasty.app._services.jobs.ledger, task_id)
    assert hasty.get(f"/tasks/{task_id}").json["model_version"] == "sentiment-v2"


@pytest.fixture
def namesake(hasty, models_dir):
    """A model that is called like the ref of another one's version."""
    catalog = hasty.app._services.predictions.catalog
    (models_dir / "sentiment-v2" / "v1").mkdir(parents=True)
    catalog.entries(fresh=True)
    yield
    shutil.rmtree(models_dir / "sentiment-v2")
    catalog.entries(fresh=True)


def test_prediction_goes_on_by_its_version_whatever_other_models_are_called(hasty, namesake):
    answer = hasty.post("/predict", {"text": "a good day"})

    compute(hasty.app._services.jobs.ledger, answer.json["task_id"])
    told = hasty.get(answer.header("Location")).json
    assert told["model_version"] == "sentiment-v2"


def test_prediction_that_is_put_off_where_it_takes_longer(hasty):
    answer = hasty.post("/predict", {"text": "a"}, {"Prefer": "respond-async, wait=1"})

    assert answer.status == 202
    assert answer.header("Location") == f"/tasks/{answer.json['task_id']}"
    assert answer.header("Preference-Applied") == "respond-async, wait=1"
    assert answer.header("Content-Length") == str(len(answer.body))


def test_time_limit_without_redis_is_told_in_time_and_without_a_task(hasty, redis_client):
    redis_client.execute_command("CLIENT", "PAUSE", 10_000, "WRITE")
    started = time.monotonic()
    try:
        answer = hasty.post("/predict", {"text": "a text that is new"})
    finally:
        redis_client.execute_command("CLIENT", "UNPAUSE")

    assert (answer.status, answer.json["code"]) == (504, "prediction_timeout")
    assert "task_id" not in answer.json
    assert answer.header("Location") is None
    assert time.monotonic() - started < 5


def test_put_off_prediction_is_counted_by_its_route_alone(job_client):
    task_id = put(job_client)
    job_client.get(f"/tasks/{task_id}")

    page = job_client.get("/metrics").text

    assert 'route="/tasks/<task_id>"' in page
    assert task_id not in page
