"""The messages of jobs: they may come twice, in any order, and to a worker for jobs alone."""

import random

import pytest

from tests.integration.jobs import (
    SETTINGS,
    Submitter,
    check,
    texts,
    worker,
)
from tests.processes import WorkerProcess
from tests.waiting import eventually

JOBS_QUEUE = "jobs.cpu"


@pytest.fixture
def submitter(tcp_redis, deadly_dir):
    """What submits to a Redis of the test's own, with no worker yet."""
    submitter = Submitter(tcp_redis.url, deadly_dir)
    yield submitter
    submitter.close()


def test_messages_that_come_twice_and_in_any_order_change_nothing(submitter, deadly_dir):
    job = submitter.submit(texts(2000))
    captured = submitter.redis.lrange(JOBS_QUEUE, 0, -1)
    assert len(captured) == submitter.settings.jobs.max_queued_chunks
    again = captured * 2
    random.shuffle(again)
    submitter.redis.lpush(JOBS_QUEUE, *again)

    with worker(submitter.settings.redis.url, deadly_dir):
        submitter.wait(job)
        check(submitter, job, 2000)
        submitter.redis.lpush(JOBS_QUEUE, *again)
        eventually(lambda: not submitter.redis.llen(JOBS_QUEUE))
        eventually(lambda: not submitter.redis.exists("unacked"))
        check(submitter, job, 2000)


def test_worker_for_jobs_alone_computes_them(submitter, deadly_dir):
    url = submitter.settings.redis.url
    with WorkerProcess(url, deadly_dir, queues=JOBS_QUEUE, env=SETTINGS):
        job = submitter.submit(texts(2000))
        submitter.wait(job)

    check(submitter, job, 2000)
