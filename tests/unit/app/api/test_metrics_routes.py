"""GET /metrics and GET /stats."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.inference.local import LocalGateway
from app.models.registry import Registry
from app.settings import Limits
from tests.unit.app.api.test_predict_routes import Unreachable, failed


@pytest.fixture
def client(make_client):
    """A client of an app that has counted nothing yet."""
    return make_client()


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def requests(method, route, code):
    return ("mlserve_http_requests_total", ("code", code), ("method", method), ("route", route))


def test_metrics_count_requests_by_route_and_status(client):
    for _ in range(3):
        client.post("/predict", json={"text": "good day"})
    client.post("/predict", json={})
    client.get("/models/v1")
    client.get("/models/v2")

    counted = samples(client)

    assert counted[requests("POST", "/predict", "200")] == 3
    assert counted[requests("POST", "/predict", "422")] == 1
    assert counted[requests("GET", "/models/<ref>", "200")] == 2
    assert counted["mlserve_errors_total", ("code", "invalid_fields")] == 1
    labels = (("method", "POST"), ("route", "/predict"))
    assert counted["mlserve_http_request_duration_seconds_count", *labels] == 4


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_metrics_are_plain_text_for_who_asks_for_a_version_that_is_none(client, kind):
    answer = client.get("/metrics", headers={"Accept": f"{kind};version=1.x.0"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_metrics_count_predictions_by_model_version_and_label(client):
    client.post("/predict", json={"text": "good day"})
    client.post("/batch-predict", json={"texts": ["good", "bad"], "model_version": "v1"})

    counted = samples(client)

    found = {
        tuple(value for _, value in key[1:]): count
        for key, count in counted.items()
        if key[0] == "mlserve_predictions_total"
    }
    assert found == {
        ("positive", "sentiment", "v2"): 1,
        ("positive", "sentiment", "v1"): 1,
        ("negative", "sentiment", "v1"): 1,
    }


def test_metrics_count_texts_that_fail(make_client):
    client = make_client(failed("text_failed"))

    client.post("/predict", json={"text": "a"})
    client.post("/batch-predict", json={"texts": ["a", "b"]})

    labels = (("code", "text_failed"), ("model", "sentiment"), ("version", "v2"))
    assert samples(client)["mlserve_prediction_failures_total", *labels] == 3


def test_requests_that_nobody_can_answer_are_counted_as_refused(make_client):
    client = make_client(LocalGateway(Registry(Limits(), "cpu"), 1))

    client.post("/predict", json={"text": "good day"})
    client.post("/predict", json={})

    counted = samples(client)
    reasons = {key[1]: n for key, n in counted.items() if key[0] == "mlserve_rejected_total"}
    assert reasons == {("reason", "no_worker"): 1}


def test_callers_cannot_make_new_series(client):
    for number in range(20):
        client.get(f"/nothing/{number}")
        client.open("/livez", method=f"FOO{number}")
        client.get(f"/models/unknown{number}")

    keys = [key for key in samples(client) if key[0] == "mlserve_http_requests_total"]

    assert sorted(keys) == sorted(
        [
            requests("GET", "unmatched", "404"),
            requests("OTHER", "unmatched", "405"),
            requests("GET", "/models/<ref>", "404"),
        ]
    )


def test_metrics_answer_a_filter_instead_of_failing(client):
    assert client.get("/metrics?name[]=x").status_code == 200


def test_metrics_speak_openmetrics_when_asked(client):
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})

    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_every_app_counts_for_itself(make_client):
    first, second = make_client(), make_client()

    first.get("/livez")

    assert requests("GET", "/livez", "200") not in samples(second)


def test_monitoring_can_be_turned_off(make_client):
    client = make_client(monitoring=False)

    assert client.post("/predict", json={"text": "good day"}).status_code == 200
    assert client.get("/metrics").status_code == 404
    assert "/metrics" not in client.get("/openapi.json").json["paths"]
    assert client.get("/stats").json["counts"] is None


def test_stats_sum_up_requests_errors_latency_and_predictions(client):
    for _ in range(10):
        client.post("/predict", json={"text": "good day"})
    client.post("/predict", json={})
    client.get("/nothing")

    stats = client.get("/stats").json

    counts = stats["counts"]
    assert counts["requests"] == 12
    assert counts["responses"] == {"200": 10, "404": 1, "422": 1}
    assert counts["errors"] == {"invalid_fields": 1, "not_found": 1}
    assert counts["uptime_s"] >= 0
    latency = {row["route"]: row for row in counts["latency"]}["/predict"]
    assert latency["requests"] == 11
    assert 0 < latency["p50_ms"] <= latency["p95_ms"] <= latency["p99_ms"]
    assert counts["predictions"] == [
        {"model": "sentiment", "version": "v2", "label": "positive", "texts": 10}
    ]


def test_stats_show_queues_and_workers(client):
    stats = client.get("/stats").json

    assert stats["redis_reachable"] is True
    assert stats["queues"]["predict.cpu"] == 0
    assert (stats["queue_age_s"], stats["drift"]) == (None, None)
    assert [worker["hostname"] for worker in stats["workers"]] == ["local"]
    assert "sentiment-v2" in stats["workers"][0]["ready"]


def test_stats_tell_health(client, make_client):
    health = client.get("/stats").json["health"]

    assert health["status"] == "degraded"
    assert [reason.partition(" failed on")[0] for reason in health["reasons"]] == ["broken-v1"]

    down = make_client(Unreachable()).get("/stats").json

    assert down["health"] == {"status": "down", "reasons": ["Redis cannot be reached"]}
    assert (down["jobs"], down["queue_age_s"], down["drift"]) == (None, None, None)


def test_stats_show_jobs_that_have_not_ended_and_no_tasks(job_client, worked):
    running, ended = (
        job_client.post("/jobs", json={"texts": ["good", "bad"]}).json["id"] for _ in range(2)
    )
    job_client.post("/predict", json={"text": "a"}, headers={"Prefer": "respond-async"})
    worked(ended)

    (shown,) = job_client.get("/stats").json["jobs"]

    assert shown == job_client.get(f"/jobs/{running}").json
    assert shown["request_counts"]["total"] == 2
