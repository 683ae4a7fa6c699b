"""`POST /jobs` with an Idempotency-Key."""

import gzip
import json

import pytest

from app.api.services import services_of
from app.jobs.idempotency import Key
from app.jobs.keys import job_key

NDJSON = "application/x-ndjson"
LINES = b"\n".join([b'{"text": "a good day"}'] * 200)


def submit(client, data=LINES, key="order-7", query="", **headers):
    given = {"Idempotency-Key": key, **headers}
    return client.post(f"/jobs{query}", data=data, content_type=NDJSON, headers=given)


def jobs(client):
    return [job["id"] for job in client.get("/jobs").json["jobs"]]


@pytest.mark.parametrize("again", ["order-7", '"order-7"', " order-7 "])
def test_same_key_and_body_gives_the_first_answer_again(job_client, worked, again):
    first = submit(job_client)
    worked(first.json["id"])

    second = submit(job_client, key=again)

    assert (second.status_code, second.json) == (202, first.json)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert jobs(job_client) == [first.json["id"]]


def test_compression_makes_no_other_body(job_client):
    first = submit(job_client)

    second = submit(job_client, gzip.compress(LINES), **{"Content-Encoding": "gzip"})

    assert second.json == first.json


@pytest.mark.parametrize(
    ("data", "query"),
    [
        (LINES + b"\n" + LINES, ""),
        (LINES.replace(b"good", b"bad"), ""),
        (LINES, "?model_version=v2"),
    ],
    ids=["longer", "other texts", "other options"],
)
def test_same_key_for_another_job_is_refused(job_client, data, query):
    first = submit(job_client)

    answer = submit(job_client, data, query=query)

    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    assert jobs(job_client) == [first.json["id"]]


def test_key_whose_submission_goes_on_is_refused(job_client, redis_client):
    Key(redis_client, "order-7", 1000).take()

    answer = submit(job_client)

    assert (answer.status_code, answer.json["code"]) == (409, "submission_in_progress")
    assert jobs(job_client) == []


def test_key_of_a_job_that_was_refused_can_be_used_again(job_client):
    refused = submit(job_client, LINES + b"\n{}")

    accepted = submit(job_client)

    assert (refused.status_code, accepted.status_code) == (422, 202)


def test_other_keys_are_other_jobs(job_client):
    ids = {submit(job_client, key=key).json["id"] for key in ("a", "b", "c")}

    assert set(jobs(job_client)) == ids
    assert len(ids) == 3


def test_key_is_kept_while_its_job_may_run_and_can_be_read(job_client, redis_client):
    job_id = submit(job_client).json["id"]
    limits = services_of(job_client.application).settings.jobs

    (key,) = redis_client.keys("mlserve:idempotency:*")

    kept_s = limits.max_run_seconds + limits.result_ttl_seconds
    assert redis_client.ttl(job_key(job_id)) - 5 < redis_client.ttl(key) <= kept_s


def bound(client, redis_client, job_id):
    """What a process leaves that dies between binding the key and answering."""
    submit(client, key="same-body")
    name = redis_client.keys("mlserve:idempotency:*")[0]
    fingerprint = json.loads(redis_client.get(name))["fingerprint"]
    Key(redis_client, "order-7", 1000).take().bind(job_id, fingerprint)


def test_job_whose_answer_was_lost_is_told_all_the_same(job_client, redis_client):
    job_id = submit(job_client, key="lost").json["id"]
    bound(job_client, redis_client, job_id)

    answer = submit(job_client)

    assert (answer.status_code, answer.json["id"]) == (202, job_id)


def test_job_that_never_was_accepted_frees_its_key(job_client, redis_client):
    bound(job_client, redis_client, "0d7f3a52-6f0e-4f5c-8a55-3a7b0a6f1c2d")

    lost, again = submit(job_client), submit(job_client)

    assert (lost.status_code, lost.json["code"]) == (503, "submission_lost")
    assert again.status_code == 202


@pytest.mark.parametrize("key", ["", '""', "a" * 256, "ü", 'a"b'])
def test_key_that_is_none_is_refused(job_client, key):
    answer = submit(job_client, key=key)

    assert (answer.status_code, list(answer.json["errors"])) == (422, ["Idempotency-Key"])
