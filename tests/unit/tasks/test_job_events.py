"""A job as Celery's monitors see it, by the state that Celery itself makes of the events."""

import time

import msgspec
import pytest
from celery.events.state import State

from app.contract import Failure
from app.jobs.records import Question
from tasks.job_events import JOB, TASK, JobEvents
from tasks.job_states import state_of
from tests.unit.app.jobs.jobs import SPEC, Clock, ledger, run_all, submit


class Monitor:
    """Sees jobs through events, and remembers their types."""

    def __init__(self):
        self.state, self.types, self.raw = State(), [], []
        self.events = JobEvents(lambda: self)

    def send(self, type, **fields):
        """The part of Celery's dispatcher, and of the receiver."""
        now = time.time()
        event = {"type": type, "hostname": "w1@test", "pid": 1, "utcoffset": 0, "clock": 1}
        self.types.append(type)
        self.raw.append(fields)
        self.state.event(event | {"timestamp": now, "local_received": now} | fields)

    def tell(self, job, before=None):
        self.events.tell(job, before, *state_of(job))
        return self.state.tasks[job.id]


@pytest.fixture
def monitor():
    return Monitor()


@pytest.fixture
def book(redis_client):
    return ledger(redis_client, Clock())


def start(book, job):
    book.redis.hset(f"mlserve:job:{job.id}", "started_at", "1800000001.0")
    return book.read(job.id)


def test_job_goes_through_the_states_of_a_task(monitor, book):
    accepted = submit(book, 100)
    monitor.tell(accepted)
    started = start(book, accepted)
    seen = monitor.tell(started, accepted)
    assert (seen.name, seen.state) == (JOB, "PROGRESS")
    assert seen.result == "{'total': 100, 'completed': 0, 'failed': 0, 'cancelled': 0}"
    book.now.now_s += 3.0
    ended = run_all(book, started)

    seen = monitor.tell(ended, started)

    assert monitor.types == [
        *("task-received", "task-progress", "task-started", "task-progress", "task-succeeded"),
    ]
    assert (seen.state, seen.runtime) == ("SUCCESS", pytest.approx(2.0))
    assert seen.result == "{'total': 100, 'completed': 100, 'failed': 0, 'cancelled': 0}"
    assert seen.received == pytest.approx(accepted.submitted_at)


def test_monitor_that_was_started_late_sees_the_whole_job(monitor, book):
    job = submit(book, 100)
    started = start(book, job)

    seen = monitor.tell(started, before=started)

    assert monitor.types == ["task-progress"]
    assert (seen.name, seen.args, seen.kwargs) == (JOB, "('tiny-v1',)", "{'texts': 100}")
    assert (seen.received, seen.started) == (started.submitted_at, started.started_at)


def test_cancelled_job_is_revoked_after_progress_too(monitor, book):
    job = start(book, submit(book, 100))
    monitor.tell(job)
    book.cancel(job.id)

    seen = monitor.tell(book.read(job.id), job)

    assert (monitor.types[-1], seen.state) == ("task-revoked", "REVOKED")
    assert seen.result == "{'total': 100, 'completed': 0, 'failed': 0, 'cancelled': 100}"


def test_failed_job_shows_its_reason(monitor, book):
    job = submit(book, 100)
    book.fail(job.id, Failure("job_failed", "no worker can hold it"))

    seen = monitor.tell(book.read(job.id))

    assert (seen.state, seen.traceback) == ("FAILURE", "")
    assert "no worker can hold it" in seen.exception


def test_no_event_has_a_text_or_metadata(monitor, book):
    spec = msgspec.structs.replace(SPEC, metadata={"customer": "secret"})
    job = submit(book, 3, spec)
    monitor.tell(job)
    monitor.tell(run_all(book, job), job)

    assert "text 1" not in str(monitor.raw)
    assert "secret" not in str(monitor.raw)


def test_prediction_that_was_put_off_has_a_name_of_its_own(monitor, book):
    job = submit(book, 1, msgspec.structs.replace(SPEC, question=Question(is_batch=False)))

    assert monitor.tell(job).name == TASK


def test_worker_without_a_dispatcher_tells_nobody(book):
    job = submit(book, 1)

    JobEvents(lambda: None).tell(job, None, *state_of(job))
