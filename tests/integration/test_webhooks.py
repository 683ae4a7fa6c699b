"""Webhooks with real workers: posted when the job has ended, and again until received."""

import json

import pytest

from tests.integration.jobs import Submitter, build_deadly, worker
from tests.models import activate
from tests.receivers import Receiver
from tests.waiting import eventually

SETTINGS = {
    "MLSERVE_JOBS__WEBHOOK_ALLOW": "127.0.0.1",
    "MLSERVE_JOBS__WEBHOOK_SECRET": "correct-horse-battery-staple",
    "MLSERVE_JOBS__WEBHOOK_ALLOW_PRIVATE": "true",
}


@pytest.fixture(scope="module")
def deadly_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("deadly")
    build_deadly(root, "v1")
    activate(root, deadly="v1")
    return root


@pytest.fixture(scope="module")
def submitter(server, deadly_dir):
    """A submitter, and one worker that computes and posts what it submits."""
    submitter = Submitter(server.url, deadly_dir)
    with worker(server.url, deadly_dir, **SETTINGS):
        yield submitter
    submitter.close()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def test_end_of_a_job_is_posted_until_it_is_received(submitter, receiver):
    receiver.answers = [503]
    webhook = f"http://127.0.0.1:{receiver.port}/hook"

    job = submitter.submit([f"good {at}" for at in range(300)], webhook=webhook)
    eventually(lambda: len(receiver.received) == 2, timeout_s=40)
    eventually(lambda: not submitter.redis.zcard("mlserve:webhooks"))

    bodies = {seen.body for seen in receiver.received}
    (body,) = bodies
    assert (json.loads(body)["id"], json.loads(body)["status"]) == (job.id, "completed")
    assert json.loads(body)["request_counts"]["completed"] == 300


def test_silent_receiver_does_not_hold_up_jobs(submitter, receiver):
    receiver.hold.clear()
    webhook = f"http://127.0.0.1:{receiver.port}/hook"

    submitter.submit(["good"], webhook=webhook)
    eventually(lambda: receiver.received, timeout_s=40)
    job = submitter.submit([f"good {at}" for at in range(300)])

    assert submitter.wait(job, timeout_s=8).status == "completed"
