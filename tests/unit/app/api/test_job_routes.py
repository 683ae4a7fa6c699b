"""Jobs over HTTP, over a real Redis; the part of the workers is played by the test."""

import json

import pytest

from app.api.services import services_of
from app.contract import JOB_QUEUES, Failure
from app.jobs.keys import job_key
from app.settings import Jobs, Redis

NDJSON = "application/x-ndjson"
MISSING = "0d7f3a52-6f0e-4f5c-8a55-3a7b0a6f1c2d"
LABELS = ["negative", "neutral", "positive"]


def submit(client, count=3, **more):
    texts = [f"a good day {at}" for at in range(count)]
    return client.post("/jobs", json={"texts": texts, **more})


def submitted(client, count=3, **more):
    return submit(client, count, **more).json["id"]


def rows(answer):
    assert (answer.status_code, answer.content_type) == (200, NDJSON)
    return [json.loads(line) for line in answer.data.splitlines()]


def test_accepted_job_is_told_with_the_address_to_ask_at(job_client):
    answer = submit(job_client, metadata={"batch": "7"})

    told = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{told['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (told["status"], told["model_version"]) == ("in_progress", "sentiment-v2")
    assert told["request_counts"] == {"total": 3, "completed": 0, "failed": 0, "cancelled": 0}
    assert told["metadata"] == {"batch": "7"}
    assert told["created_at"] <= told["in_progress_at"] < told["expires_at"]
    ended = ("completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")
    assert {told[name] for name in (*ended, "error", "eta_s", "texts_per_s")} == {None}


def test_first_chunks_are_sent_to_the_queue_of_the_device(job_client, redis_client):
    job_id = submitted(job_client)

    message = json.loads(redis_client.lindex(JOB_QUEUES["cpu"], 0))

    assert json.loads(message["body"])[0] == [job_id, 0]
    assert "good day" not in json.dumps(message)


def test_job_is_followed_to_its_end(job_client, worked):
    job_id = submitted(job_client)
    before = job_client.get(f"/jobs/{job_id}")
    worked(job_id, bad={1})

    after = job_client.get(f"/jobs/{job_id}")

    assert (before.json["status"], before.headers["Retry-After"]) == ("in_progress", "1")
    assert (after.json["status"], "Retry-After" in after.headers) == ("completed", False)
    assert after.json["request_counts"] == {
        "total": 3, "completed": 2, "failed": 1, "cancelled": 0
    }  # fmt: skip
    assert after.json["completed_at"] >= after.json["in_progress_at"]
    assert (after.json["eta_s"], after.json["texts_per_s"] > 0) == (0, True)
    assert after.headers["Cache-Control"] == "no-store"


def test_results_come_in_the_order_of_the_texts(job_client, worked):
    lines = [json.dumps({"custom_id": f"id {at}", "text": "a good day"}) for at in range(300)]
    answer = job_client.post("/jobs", data="\n".join(lines), content_type=NDJSON)
    job_id = answer.json["id"]
    worked(job_id, bad={7})

    found = rows(job_client.get(f"/jobs/{job_id}/results"))

    assert [row["index"] for row in found] == list(range(300))
    assert [row["custom_id"] for row in found] == [f"id {at}" for at in range(300)]
    assert found[8] == {"index": 8, "custom_id": "id 8", "label": LABELS[0], "confidence": 8.0}
    assert found[7] == {
        "index": 7,
        "custom_id": "id 7",
        "error": {"code": "text_failed", "message": "bad"},
    }
    assert rows(job_client.get(f"/jobs/{job_id}/errors")) == [found[7]]


def test_results_go_on_after_an_index(job_client, worked):
    job_id = submitted(job_client, 5)
    worked(job_id, bad={1, 4})

    results = rows(job_client.get(f"/jobs/{job_id}/results?after=2"))
    errors = rows(job_client.get(f"/jobs/{job_id}/errors?after=2"))

    assert ([row["index"] for row in results], [row["index"] for row in errors]) == ([3, 4], [4])
    assert "custom_id" not in results[0]
    assert rows(job_client.get(f"/jobs/{job_id}/results?after=4")) == []


def test_job_without_results_yet_has_no_lines(job_client):
    job_id = submitted(job_client)

    assert rows(job_client.get(f"/jobs/{job_id}/results")) == []


def test_cancelled_job_tells_of_every_text(job_client):
    job_id = submitted(job_client)

    first, second = (job_client.delete(f"/jobs/{job_id}") for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json["status"], first.json["request_counts"]["cancelled"]) == ("cancelled", 3)
    assert first.json["cancelled_at"] >= first.json["cancelling_at"]
    assert second.json == first.json
    found = rows(job_client.get(f"/jobs/{job_id}/results"))
    assert [row["error"]["code"] for row in found] == ["cancelled"] * 3


def test_job_that_has_ended_otherwise_cannot_be_cancelled(job_client, worked):
    job_id = submitted(job_client)
    worked(job_id)

    answer = job_client.delete(f"/jobs/{job_id}")

    assert (answer.status_code, answer.json["code"]) == (409, "cancel_refused")
    assert "completed" in answer.json["detail"]


def test_failed_job_says_why(job_client):
    job_id = submitted(job_client)
    book = services_of(job_client.application).jobs.ledger
    book.fail(job_id, Failure("job_failed", "no worker can hold its model version"))

    told = job_client.get(f"/jobs/{job_id}").json

    assert (told["status"], told["failed_at"] > 0) == ("failed", True)
    assert told["error"]["message"] == "no worker can hold its model version"


def test_jobs_are_listed_page_by_page_the_newest_first(job_client):
    ids = [submitted(job_client) for _ in range(5)]

    pages, before = [], ""
    while before is not None:
        page = job_client.get(f"/jobs?limit=2{before and '&before=' + before}").json
        pages.append([job["id"] for job in page["jobs"]])
        before = page["next_before"]

    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/jobs/{MISSING}"),
        ("GET", "/jobs/..%2Fjobs"),
        ("GET", f"/jobs/{MISSING}/results"),
        ("GET", f"/jobs/{MISSING}/errors"),
        ("DELETE", f"/jobs/{MISSING}"),
        ("GET", f"/jobs?before={MISSING}"),
    ],
)
def test_job_that_does_not_exist_is_404_and_never_pending(job_client, method, path):
    answer = job_client.open(path, method=method)

    assert (answer.status_code, answer.json["code"] in ("job_not_found", "not_found")) == (
        404,
        True,
    )


def test_job_that_has_expired_is_410(job_client, worked, redis_client):
    job_id = submitted(job_client)
    worked(job_id)
    redis_client.delete(job_key(job_id))

    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/results"):
        answer = job_client.get(path)
        assert (answer.status_code, answer.json["code"]) == (410, "job_gone")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=many", "limit"),
        (f"/{MISSING}/results?after=-2", "after"),
        (f"/{MISSING}/results?after=1e3", "after"),
    ],
)
def test_parameter_out_of_its_range_is_named(job_client, query, field):
    answer = job_client.get(f"/jobs{query}")

    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


def test_version_is_pinned_when_the_job_is_submitted(job_client, hosts):
    hosts.hold("w1@test", "sentiment-v1", "sentiment-v2")
    job_client.get("/models")
    services_of(job_client.application).predictions._gateway.nudge()

    told = submit(job_client, model_version="v1").json

    spec = services_of(job_client.application).jobs.ledger.read(told["id"]).spec
    assert (told["model_version"], spec.ref) == ("sentiment-v1", "sentiment-v1")
    assert spec.digest == hosts.digest("sentiment-v1")


@pytest.mark.parametrize(
    ("version", "status", "code"),
    [("sentiment-v9", 404, "model_not_found"), ("sentiment-v1", 503, "no_worker")],
)
def test_version_that_nobody_can_answer_for_is_refused_at_once(
    job_client, redis_client, version, status, code
):
    answer = submit(job_client, model_version=version)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert redis_client.keys("mlserve:job*") == []


def test_version_that_no_worker_could_load_is_refused_with_the_reason(job_client, hosts):
    broken = {"sentiment-v1": ("golden_mismatch", "says neutral to a good day")}
    for hostname in ("w1@test", "w2@test"):
        hosts.hold(hostname, "sentiment-v2", failed=broken)
    services_of(job_client.application).predictions._gateway.nudge()

    answer = submit(job_client, model_version="v1")

    assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
    assert "says neutral to a good day" in answer.json["detail"]


def test_webhook_to_a_host_that_is_not_allowed_is_refused(job_client, redis_client):
    answer = submit(job_client, webhook="https://example.org/hook")

    assert (answer.status_code, answer.json["code"]) == (422, "webhook_refused")
    assert redis_client.keys("mlserve:job*") == []


def test_webhook_to_an_allowed_host_goes_with_the_job(small_client):
    allowed = Jobs(webhook_allow=["example.org"], webhook_secret="a-secret-of-many-letters")
    client = small_client(jobs=allowed)

    job_id = submitted(client, webhook="https://example.org/hook")

    book = services_of(client.application).jobs.ledger
    assert book.read(job_id).spec.webhook == "https://example.org/hook"


def test_without_redis_there_are_no_jobs(make_client):
    client = make_client(redis=Redis(url="unix:///nonexistent/redis.sock"))

    answers = [client.get(path) for path in ("/jobs", f"/jobs/{MISSING}", f"/tasks/{MISSING}")]

    assert [answer.json["code"] for answer in answers] == ["broker_unavailable"] * 3


def test_job_that_redis_has_no_memory_for_is_refused(job_client, redis_client):
    used = redis_client.info("memory")["used_memory"]
    redis_client.config_set("maxmemory", round(used * 1.1))
    try:
        answer = submit(job_client)
    finally:
        redis_client.config_set("maxmemory", 0)

    assert (answer.status_code, answer.json["code"]) == (507, "storage_full")
    assert answer.headers["Retry-After"] == "60"


def test_more_texts_than_allowed_leave_nothing(small_client, redis_client):
    client = small_client(jobs=Jobs(max_texts=200))

    answer = submit(client, 201)

    assert (answer.status_code, answer.json["code"]) == (413, "job_too_large")
    assert redis_client.keys("mlserve:job*") == []


def test_ids_of_jobs_are_in_no_metric(job_client):
    job_id = submitted(job_client)
    job_client.get(f"/jobs/{job_id}")

    page = job_client.get("/metrics").text

    assert 'route="/jobs/<job_id>"' in page
    assert job_id not in page
