"""Jobs with two real workers: they complete, whatever is lost, and only what is bad fails."""

import ast
import random
import re
import threading

import pytest
from celery.exceptions import TaskRevokedError

from app.fleet import read
from app.jobs.keys import JOBS_KEY
from app.models.base import Batching
from app.models.catalog import read_manifest
from app.settings import Jobs
from tests.integration.jobs import (
    Submitter,
    check,
    kill_one,
    monitored,
    revive,
    texts,
    worker,
)
from tests.models import edit_manifest
from tests.processes import RedisServer, side_by_side
from tests.unit.app.jobs.jobs import MAX_LOST_WORKERS
from tests.waiting import eventually

SECONDS = threading.Event()
EVERY = {"MLSERVE_JOBS__MAX_BATCH_SIZE": "100", "MLSERVE_JOBS__TARGET_CHUNK_SECONDS": "0.2"}
JOBS_QUEUE = "jobs.cpu"
# What there is in Redis without any job: of the fleet, of versions, and of Celery.
ALLOWED_KEYS = re.compile(
    r"mlserve:(hosts?(:.*)?|pace:[0-9a-f]{64}|jobs(:active|:sweeper|:texts)?|desired)"
    r"|mlserve:drift:.*"
    # Of the jobs of other tests.
    r"|(mlserve:job:|mlserve:attempts:|celery-task-meta-)[0-9a-f-]{36}(:.*)?"
    r"|_kombu\.binding.*|unacked.*"
)


@pytest.fixture(scope="module")
def redis_here():
    """A Redis of this module, killed by one of its tests."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def submitter(redis_here, deadly_dir):
    submitter = Submitter(redis_here.url, deadly_dir)
    yield submitter
    submitter.close()


@pytest.fixture(scope="module")
def both(redis_here, deadly_dir):
    """Two workers, in which a text may take two seconds."""
    started = [
        worker(redis_here.url, deadly_dir, number, MLSERVE_WORKER__HARD_LIMIT_S="2", **EVERY)
        for number in (1, 2)
    ]
    with side_by_side(*started):
        yield started


@pytest.fixture
def workers(both):
    """Those two, running whatever the last test did to them."""
    revive(both)
    for one in both:
        one.wait_until_ready()
    return both


def test_job_completes_and_its_celery_task_says_so(submitter, workers):
    job = submitter.submit(texts(3000))

    told = submitter.celery.AsyncResult(job.id).get(timeout=30)

    check(submitter, job, 3000)
    assert told == {"total": 3000, "completed": 3000, "failed": 0, "cancelled": 0}
    assert submitter.celery.AsyncResult(job.id).state == "SUCCESS"
    assert submitter.redis.llen(JOBS_QUEUE) == 0


def test_monitors_see_a_job_as_a_task_with_its_progress(submitter, workers):
    with monitored(submitter.celery) as monitor:
        job = submitter.submit(texts(6000, slow=True))
        submitter.wait(job)
        eventually(lambda: [seen for seen in monitor.of(job.id) if seen.state == "SUCCESS"])

    running = [seen for seen in monitor.of(job.id) if seen.state == "PROGRESS"]
    assert {(seen.name, seen.args) for seen in running} == {("mlserve.job", "('deadly-v1',)")}
    done = [ast.literal_eval(seen.result)["completed"] for seen in running if seen.result]
    assert done == sorted(done)
    assert 0 < done[-1] < 6000
    counts = {"total": 6000, "completed": 6000, "failed": 0, "cancelled": 0}
    assert ast.literal_eval(monitor.of(job.id)[-1].result) == counts
    chunks = {seen.name for seen in monitor.history if seen.parent_id == job.id}
    assert chunks == {"mlserve.run_job_chunk"}


def test_job_is_computed_with_the_version_it_was_submitted_for(submitter, workers):
    # Nothing but the job asks for v1.
    job = submitter.submit(texts(100), version="v1")

    assert submitter.wait(job).spec.ref == "deadly-v1"
    check(submitter, job, 100)


def test_job_goes_on_with_a_version_that_is_tuned_meanwhile(submitter, workers, deadly_dir):
    job = submitter.submit(texts(100), version="v2", is_sent=False)
    edit_manifest(deadly_dir / "deadly/v2", batching=Batching(max_batch_tokens=256))
    tuned = read_manifest(deadly_dir / "deadly/v2").digest

    def are_tuned():
        models = [model for host in read(submitter.redis).hosts for model in host.models]
        return [model.digest for model in models if model.ref == "deadly-v2"] == [tuned] * 2

    eventually(are_tuned, timeout_s=15)
    submitter.dispatcher.pump(job.id, job.spec)

    check(submitter, submitter.wait(job), 100)


def test_jobs_go_on_side_by_side(submitter, workers):
    long = submitter.submit(texts(6000, slow=True))
    short = submitter.submit(texts(200))

    submitter.wait(short)

    assert not submitter.read(long).has_ended
    check(submitter, short, 200)
    check(submitter, submitter.wait(long), 6000)


def test_texts_that_are_slower_than_those_before_end_no_worker(submitter, workers):
    submitter.wait(submitter.submit(texts(20_000)))
    pids = [one.pid for one in workers]

    # As one chunk it would take twice as long as a worker may.
    job = submitter.submit(texts(8000, slow=True))

    check(submitter, submitter.wait(job, workers), 8000)
    assert [one.pid for one in workers] == pids


@pytest.mark.timeout(240)
def test_only_the_texts_that_end_workers_fail(submitter, workers):
    content = texts(400)
    content[50] += " abort"
    content[199] += " memory"
    content[333] += " hang"

    job = submitter.submit(content)
    submitter.wait(job, workers, timeout_s=200)

    assert submitter.lost <= 2 * MAX_LOST_WORKERS  # running out of memory costs none
    bad = {50: "text_given_up", 199: "text_out_of_memory", 333: "text_hung"}
    check(submitter, job, 400, bad)
    revive(workers)
    after = submitter.submit(texts(100))
    submitter.wait(after, workers)
    check(submitter, after, 100)


@pytest.mark.timeout(1800)
def test_killed_workers_cost_no_text(submitter, workers, soak):
    kills, killed = 100 if soak else 4, 0
    while killed < kills:
        job = submitter.submit(texts(10_000, slow=True))
        while killed < kills and not submitter.read(job).has_ended:
            SECONDS.wait(random.uniform(0, 2))
            killed += kill_one(workers)
            revive(workers)

        submitter.wait(job, workers, timeout_s=60)
        check(submitter, job, 10_000)


def test_job_survives_a_redis_that_is_killed(redis_here, submitter, workers):
    job = submitter.submit(texts(6000, slow=True))
    eventually(lambda: submitter.read(job).counts.ended)
    SECONDS.wait(1.2)  # what Redis has not yet written may be lost: it does so every second

    redis_here.kill()
    redis_here.start()

    submitter.wait(job, workers)
    check(submitter, job, 6000)


def test_revoking_its_task_cancels_a_job(submitter, workers):
    job = submitter.submit(texts(20_000, slow=True))
    result = submitter.celery.AsyncResult(job.id)
    eventually(lambda: result.state == "PROGRESS" and result.info["completed"])

    result.revoke()

    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)
    job = submitter.read(job)
    assert (job.status, job.counts.pending) == ("cancelled", 0)
    assert job.counts.cancelled > 10_000
    assert result.state == "REVOKED"


def test_no_chunk_starts_after_a_job_is_cancelled(submitter, workers):
    job = submitter.submit(texts(20_000, slow=True))
    eventually(lambda: submitter.read(job).counts.succeeded)

    at_once = submitter.ledger.cancel(job.id)

    assert at_once.counts.cancelled > 0
    ended = submitter.wait(job)
    assert ended.status == "cancelled"
    assert ended.counts.succeeded - at_once.counts.succeeded <= at_once.counts.pending
    eventually(lambda: not submitter.redis.llen(JOBS_QUEUE))
    assert submitter.read(job) == ended


def test_job_of_a_process_that_died_after_accepting_is_computed(submitter, workers):
    job = submitter.submit(texts(500), is_sent=False)

    submitter.wait(job)

    check(submitter, job, 500)


def test_no_key_is_left_when_a_job_has_expired(submitter, workers):
    submitter.ledger.limits = Jobs(result_ttl_seconds=2)
    job = submitter.submit(texts(500))
    submitter.celery.AsyncResult(job.id).get(timeout=30)

    eventually(lambda: len(_keys_of(submitter.redis, job)) == 1, timeout_s=10)

    assert _keys_of(submitter.redis, job) == [f"mlserve:job:{job.id}:gone"]
    assert job.id not in [one.id for one in submitter.ledger.page(100).jobs]
    assert submitter.redis.zscore(JOBS_KEY, job.id) is None
    others = [key.decode() for key in submitter.redis.keys("*") if job.id not in key.decode()]
    leaks = [key for key in others if not ALLOWED_KEYS.fullmatch(key)]
    assert not leaks, sorted(set(leaks))[:5]


def _keys_of(client, job):
    return [key.decode() for key in client.keys("*") if job.id in key.decode()]
