"""A job over HTTP that another version of mlserve wrote."""

import pytest

from app.jobs.keys import job_key


@pytest.mark.parametrize("path", ["", "/results", "/errors"])
def test_job_that_this_process_cannot_read_is_unavailable(job_client, redis_client, path):
    job_id = job_client.post("/jobs", json={"texts": ["a good day"]}).json["id"]
    redis_client.hset(job_key(job_id), "spec", b'{"ref": "sentiment-v2", "priority": 1}')

    answer = job_client.get(f"/jobs/{job_id}{path}")

    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert job_client.get("/jobs").json["jobs"] == []
