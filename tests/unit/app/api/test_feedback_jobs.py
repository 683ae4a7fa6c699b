"""Feedback on what jobs and tasks predicted."""

import msgspec
import pytest

from app.api.services import services_of
from app.jobs.blobs import encode_results
from app.jobs.chunks import Chunks
from tests.unit.app.api.test_feedback_routes import ON, all_of, give, live
from tests.unit.app.jobs.jobs import BAD


@pytest.fixture
def job(small_client):
    """A job of three texts, the second of which fails, computed as a worker would."""
    client = small_client(monitoring=ON)
    job_id = client.post("/jobs", json={"texts": ["a", "b", "c"]}).json["id"]
    compute(client, job_id, {1: BAD})
    return client, job_id


def compute(client, job_id, failures):
    chunks = Chunks(services_of(client.application).jobs.ledger)
    claim = chunks.claim(job_id, 0, "w1", 10)
    scores = [0.1, 0.2, 0.7] * claim.count if claim.spec.with_scores else []
    blob = encode_results([2] * claim.count, [0.7] * claim.count, failures, scores)
    good = claim.count - len(failures)
    chunks.commit(claim, blob, succeeded=good, failed=len(failures), texts_per_s=None)


def test_results_of_a_job_have_the_same_ids_whenever_they_are_read(job):
    client, job_id = job

    first, again = (client.get(f"/jobs/{job_id}/results").data for _ in range(2))

    rows = [msgspec.json.decode(line) for line in first.splitlines()]
    assert first == again
    assert ["prediction_id" in row for row in rows] == [True, False, True]
    assert not any("scores" in row for row in rows)
    outcomes = [give(client, rows[0]["prediction_id"]).headers["X-Feedback"] for _ in range(2)]
    assert outcomes == ["recorded", "duplicate"]
    expected = 0.1**2 + 0.2**2 + 0.3**2
    assert live(all_of(client))["brier"] == pytest.approx(expected, abs=1e-4)


def test_answer_of_a_task_has_an_id(small_client):
    client = small_client(monitoring=ON)
    put_off = {"Prefer": "respond-async"}
    one = client.post("/predict", json={"text": "a"}, headers=put_off).json["task_id"]
    texts = {"texts": ["a", "b"]}
    many = client.post("/batch-predict", json=texts, headers=put_off).json["task_id"]
    for task_id in (one, many):
        compute(client, task_id, {})

    single = client.get(f"/tasks/{one}").json
    rows = client.get(f"/tasks/{many}").json["predictions"]

    found = [single["prediction_id"], *(row["prediction_id"] for row in rows)]
    assert len(set(found)) == 3
    assert [give(client, one).status_code for one in found] == [200] * 3
    assert "scores" not in single
