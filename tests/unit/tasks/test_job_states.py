"""A job as Celery sees it: what `AsyncResult` tells."""

import msgspec
import pytest
from celery.exceptions import TaskRevokedError

from app.broker import make_celery
from app.contract import Failure
from app.errors import JobFailed, TextFailed, TextHung
from app.jobs.blobs import encode_results
from app.jobs.chunks import Chunks
from app.jobs.records import Question
from app.settings import Redis, Settings
from tasks.job_states import PROGRESS, JobStates
from tests.unit.app.jobs.jobs import SPEC, ledger, run_all, submit

# Celery's own call of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")

ONE, MANY = Question(is_batch=False, top_k=1), Question(is_batch=True)


@pytest.fixture
def celery(redis_server, redis_client):
    app = make_celery(Settings(redis=Redis(url=redis_server.url)), "cli")
    yield app
    # Celery gives its client a pool, which does not close with it.
    app.backend.client.connection_pool.disconnect()
    app.close()


@pytest.fixture
def book(redis_client):
    return ledger(redis_client)


@pytest.fixture
def told(celery, book):
    """What `AsyncResult` has of a job after a worker told of it."""

    def tell(job):
        JobStates(celery, book).tell(book.read(job.id))
        return celery.AsyncResult(job.id)

    return tell


def task(book, question, count=1):
    return submit(book, count, msgspec.structs.replace(SPEC, question=question))


def compute(book, job, failures):
    """Every text gets the second label with 0.75, unless it fails."""
    chunks = Chunks(book)
    (ticket,) = chunks.feed(job.id, job.spec)
    claim = chunks.claim(job.id, ticket.first, "w1", 10)
    blob = encode_results(
        [1] * claim.count, [0.75] * claim.count, failures, [0.25, 0.75] * claim.count
    )
    chunks.commit(claim, blob, succeeded=claim.count - len(failures), failed=len(failures))


def test_running_job_shows_its_progress(book, told):
    found = told(submit(book, 3))

    assert found.state == PROGRESS
    assert found.info == {"total": 3, "completed": 0, "failed": 0, "cancelled": 0}


def test_job_that_has_ended_has_its_counts(book, told):
    job = submit(book, 3)
    run_all(book, job, bad={1})

    assert told(job).get(timeout=5) == {"total": 3, "completed": 2, "failed": 1, "cancelled": 0}


@pytest.mark.parametrize("question", [None, ONE])
def test_cancelled_job_is_revoked(book, told, question):
    job = task(book, question)
    book.cancel(job.id)

    found = told(job)

    assert found.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        found.get(timeout=5)


def test_failed_job_raises_its_reason(book, told):
    job = submit(book, 3)
    book.fail(job.id, Failure("job_failed", "no worker can hold it"))

    with pytest.raises(JobFailed, match="no worker can hold it"):
        told(job).get(timeout=5)


def test_task_returns_its_prediction(book, told):
    job = task(book, ONE)
    compute(book, job, {})

    assert told(job).get(timeout=5) == {
        "label": "yes",
        "confidence": 0.75,
        "latency_ms": 0.0,
        "model_version": "tiny-v1",
        "scores": [{"label": "yes", "score": 0.75}],
    }


@pytest.mark.parametrize(("code", "error"), [("text_failed", TextFailed), ("text_hung", TextHung)])
def test_task_whose_text_failed_raises_its_reason(book, told, code, error):
    job = task(book, ONE)
    compute(book, job, {0: Failure(code, "why")})

    with pytest.raises(error):
        told(job).get(timeout=5)


def test_batch_returns_a_prediction_or_an_error_for_each_text(book, told):
    job = task(book, MANY, count=2)
    compute(book, job, {1: Failure("text_failed", "why")})

    found = told(job).get(timeout=5)

    assert found["predictions"] == [
        {"label": "yes", "confidence": 0.75},
        {"error": {"code": "text_failed", "message": "why"}},
    ]


def test_state_is_kept_as_long_as_the_job(book, told, celery, redis_client):
    job = submit(book, 1)
    run_all(book, job)
    told(job)

    left_s = redis_client.ttl(celery.backend.get_key_for_task(job.id))

    assert left_s == pytest.approx(book.limits.result_ttl_seconds, abs=2)
