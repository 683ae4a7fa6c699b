"""POST /predict and /batch-predict over real models."""

import math
import threading
from concurrent.futures import Future

import pytest

from app.api.services import services_of
from app.contract import ChunkResult, Failure, HeldModel, HostState, Outcome
from app.errors import MessageRefused, WorkerOutOfMemory
from app.fleet import Fleet
from app.inference.local import LocalGateway
from app.models.registry import Registry
from app.settings import Limits
from tests.waiting import eventually


class Answering:
    """A gateway whose one host holds sentiment-v2 and answers what the test wants."""

    def __init__(self, outcome=None, error=None):
        self.outcome, self.error = outcome, error
        self.futures = []

    def now(self):
        return 0.0

    def submit(self, chunk, device):
        future = Future()
        self.futures.append(future)
        if self.error:
            future.set_exception(self.error)
        elif self.outcome:
            outcomes = [self.outcome] * len(chunk.texts)
            future.set_result(
                ChunkResult(ref=chunk.ref, labels=["a", "b"], outcomes=outcomes,
                            preprocess_s=0.0, inference_s=0.0)
            )  # fmt: skip
        return future

    def fleet(self):
        held = [HeldModel("sentiment-v2", "0" * 64, "ready")]
        host = HostState(hostname="h", pid=1, device="cpu", queues=["predict.cpu"], models=held,
                         started_at=0.0, beat_at=0.0, memory_bytes=0, chunks=0)  # fmt: skip
        return Fleet(reachable=True, hosts=[host])

    def close(self):
        pass


class Unreachable(Answering):
    """A gateway without Redis."""

    def fleet(self):
        return Fleet(reachable=False, reason="Redis cannot be reached")


def failed(code):
    return Answering(Outcome(error=Failure(code, "a sentence")))


def test_predict_answers_label_confidence_latency_and_version(client):
    answer = client.post("/predict", json={"text": "good day"})

    assert answer.status_code == 200
    assert set(answer.json) == {"label", "confidence", "latency_ms", "model_version"}
    assert (answer.json["label"], answer.json["model_version"]) == ("positive", "sentiment-v2")
    assert 1 / 3 < answer.json["confidence"] <= 1
    assert answer.json["latency_ms"] > 0


@pytest.mark.parametrize("asked", ["sentiment-v1", "v1"])
def test_predict_uses_the_version_that_is_asked_for(client, asked):
    answer = client.post("/predict", json={"text": "good day", "model_version": asked})

    assert answer.json["model_version"] == "sentiment-v1"


def test_null_stands_for_an_absent_option(client):
    body = {"text": "good day", "model_version": None, "top_k": None}

    assert client.post("/predict", json=body).json["model_version"] == "sentiment-v2"


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (2, 2), (100, 3)])
def test_top_k_adds_scores_best_first(client, top_k, expected):
    answer = client.post("/predict", json={"text": "good day", "top_k": top_k}).json

    scores = [row["score"] for row in answer["scores"]]
    assert len(scores) == expected
    assert scores == sorted(scores, reverse=True)
    assert answer["scores"][0] == {"label": answer["label"], "score": answer["confidence"]}


def test_all_scores_sum_to_one(client):
    answer = client.post("/predict", json={"text": "good day", "top_k": 100}).json

    assert math.isclose(sum(row["score"] for row in answer["scores"]), 1)


def test_batch_keeps_the_order_and_agrees_with_single_predictions(client):
    texts = ["good day", "bad night", "table chair"] * 33 + ["good"]

    answer = client.post("/batch-predict", json={"texts": texts}).json

    single = [client.post("/predict", json={"text": text}).json for text in texts[:3]]
    expected = [{"label": one["label"], "confidence": one["confidence"]} for one in single]
    assert answer["predictions"][:99] == expected * 33
    assert len(answer["predictions"]) == 100
    assert answer["model_version"] == "sentiment-v2"
    assert answer["total_latency_ms"] > 0


@pytest.mark.parametrize("code", ["text_failed", "text_out_of_memory"])
def test_text_that_fails_alone_is_our_error(make_client, code):
    answer = make_client(failed(code)).post("/predict", json={"text": "a"})

    assert (answer.status_code, answer.json["code"]) == (500, code)


def test_text_that_expired_in_the_worker_is_a_timeout(make_client):
    answer = make_client(failed("expired")).post("/predict", json={"text": "a"})

    assert (answer.status_code, answer.json["code"]) == (504, "prediction_timeout")


@pytest.mark.parametrize(("asked", "told"), [({"Prefer": "wait=1"}, 1000), ({}, 5000)])
def test_timeout_names_what_was_waited_wherever_the_text_expired(make_client, asked, told):
    client = make_client(failed("expired"), request_timeout_ms=5000)

    answer = client.post("/predict", json={"text": "a"}, headers=asked)

    assert answer.json["detail"] == f"no prediction within {told} ms"


def test_text_that_fails_in_a_batch_carries_its_own_error(make_client):
    answer = make_client(failed("text_failed")).post("/batch-predict", json={"texts": ["a", "b"]})

    error = {"error": {"code": "text_failed", "message": "a sentence"}}
    assert answer.status_code == 200
    assert answer.json["predictions"] == [error, error]


def test_truncated_text_is_said_to_be(make_client):
    client = make_client(Answering(Outcome([0.9, 0.1], truncated=True)))

    one = client.post("/predict", json={"text": "x"}).json
    many = client.post("/batch-predict", json={"texts": ["x"]}).json["predictions"]

    assert (one["label"], one["truncated"]) == ("negative", True)
    assert many == [{"label": "negative", "confidence": 0.9, "truncated": True}]


def test_prediction_that_never_comes_is_a_timeout(make_client):
    answer = make_client(Answering(), request_timeout_ms=30).post("/predict", json={"text": "a"})

    assert (answer.status_code, answer.json["code"]) == (504, "prediction_timeout")
    assert "30 ms" in answer.json["detail"]


def test_x_cache_says_whether_a_text_was_remembered(make_client):
    client = make_client()

    def cache(path, body):
        answer = client.post(path, json=body)
        assert answer.status_code == 200
        return answer.headers["X-Cache"]

    assert [cache("/predict", {"text": "good day"}) for _ in range(2)] == ["miss", "hit"]
    assert cache("/predict", {"text": "good day", "model_version": "v1"}) == "miss"
    assert cache("/batch-predict", {"texts": ["good day", "bad night"]}) == "miss"
    assert cache("/batch-predict", {"texts": ["bad night", "good day"]}) == "hit"


@pytest.mark.parametrize(
    ("path", "body"), [("/predict", {"text": "a"}), ("/batch-predict", {"texts": ["a", "b"]})]
)
def test_server_timing_says_where_the_time_went(make_client, path, body):
    client = make_client()

    computed, remembered = (client.post(path, json=body).headers["Server-Timing"] for _ in range(2))

    names, durations = zip(*(part.split(";dur=") for part in computed.split(", ")), strict=True)
    assert names == ("batch", "queue", "preprocess", "inference")
    assert all(float(duration) >= 0 for duration in durations)
    assert float(durations[3]) > 0
    assert remembered == "cache;desc=hit"


@pytest.mark.parametrize("trouble", [failed("text_failed"), Unreachable()])
def test_error_has_no_server_timing(make_client, trouble):
    answer = make_client(trouble).post("/predict", json={"text": "a"})

    assert answer.status_code >= 500
    assert "Server-Timing" not in answer.headers


def test_remembered_answer_is_the_computed_one(make_client):
    client = make_client()

    first, second = (
        client.post("/predict", json={"text": "good day", "top_k": 3}).json for _ in range(2)
    )

    assert first.pop("latency_ms") > 0
    assert second.pop("latency_ms") > 0
    assert second == first


@pytest.mark.parametrize("path", ["/predict", "/batch-predict"])
def test_caller_may_wait_less_than_the_service_would(make_client, path):
    body = {"text": "a"} if path == "/predict" else {"texts": ["a"]}
    client = make_client(Answering())

    answer = client.post(path, json=body, headers={"Prefer": "respond-async, wait=1"})

    assert (answer.status_code, answer.json["code"]) == (504, "prediction_timeout")
    assert "1000 ms" in answer.json["detail"]


def test_preference_is_confirmed_where_it_was_understood(client):
    def applied(**headers):
        answer = client.post("/predict", json={"text": "good day"}, headers=headers)
        return answer.headers.get("Preference-Applied")

    assert applied(Prefer="wait=2") == "wait=2"
    assert applied(Prefer="wait=soon") is None
    assert applied() is None


def test_full_house_is_503_with_retry_after(make_client):
    limits = Limits(max_queued_texts=1, max_batch_texts=1)
    client = make_client(Answering(), limits=limits, request_timeout_ms=500)
    inside = threading.Thread(
        target=client.post, args=("/predict",), kwargs={"json": {"text": "a"}}
    )
    inside.start()
    admission = services_of(client.application).predictions.admission
    eventually(lambda: admission.waiting == 1)

    answer = client.post("/predict", json={"text": "b"})

    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    inside.join(5)
    assert admission.waiting == 0


def test_half_of_a_character_is_refused_and_never_an_error_of_ours(client):
    answer = client.post("/predict", data=b'{"text": "\\ud800"}', content_type="application/json")

    assert answer.status_code in (400, 422)


def test_without_redis_the_answer_is_503_with_retry_after(make_client):
    answer = make_client(Unreachable()).post("/predict", json={"text": "a"})

    assert (answer.status_code, answer.json["code"]) == (503, "broker_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_without_a_worker_the_answer_is_503_with_retry_after(make_client):
    empty = LocalGateway(Registry(Limits(), "cpu"), max_batch_size=1)

    answer = make_client(empty).post("/batch-predict", json={"texts": ["a"]})

    assert (answer.status_code, answer.json["code"]) == (503, "no_worker")
    assert int(answer.headers["Retry-After"]) >= 1


def test_model_that_cannot_be_loaded_is_unavailable_with_the_reason(client):
    answer = client.post("/predict", json={"text": "a", "model_version": "broken-v1"})

    assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
    assert "model.yaml" in answer.json["detail"]


@pytest.mark.parametrize(
    "error",
    [WorkerOutOfMemory(), MessageRefused("version 2, this process speaks 1")],
    ids=lambda error: error.code,
)
def test_typed_error_of_the_worker_reaches_the_caller(make_client, error):
    answer = make_client(Answering(error=error)).post("/predict", json={"text": "a"})

    assert (answer.status_code, answer.json["code"]) == (503, error.code)
    assert int(answer.headers["Retry-After"]) >= 1


def test_unknown_exception_tells_the_caller_nothing_but_an_id(make_client, caplog):
    gateway = Answering(error=RuntimeError("secret path /etc/x"))

    answer = make_client(gateway).post("/predict", json={"text": "a private text"})

    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "secret path" in caplog.text
    assert "a private text" not in caplog.text
