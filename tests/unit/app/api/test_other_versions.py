"""What another version of mlserve wrote, met over HTTP."""

import pytest

from app.jobs.keys import job_key
from app.models.desired import DESIRED_KEY
from tests.unit.app.api.test_rollout_routes import swap


@pytest.mark.parametrize("path", ["", "/results", "/errors"])
def test_job_that_this_process_cannot_read_is_unavailable(job_client, redis_client, path):
    job_id = job_client.post("/jobs", json={"texts": ["a good day"]}).json["id"]
    redis_client.hset(job_key(job_id), "spec", b'{"ref": "sentiment-v2", "priority": 1}')

    answer = job_client.get(f"/jobs/{job_id}{path}")

    assert (answer.status_code, answer.json["code"]) == (503, "message_refused")
    assert job_client.get("/jobs").json["jobs"] == []


def test_desired_state_that_this_process_cannot_read_is_left_alone(fleet_client, redis_client):
    theirs = b'{"v": 2, "generation": 1}'
    redis_client.set(DESIRED_KEY, theirs)

    for answer in (swap(fleet_client), fleet_client.delete("/models/sentiment-v1")):
        assert (answer.status_code, answer.json["code"]) == (503, "message_refused")
    assert redis_client.get(DESIRED_KEY) == theirs
