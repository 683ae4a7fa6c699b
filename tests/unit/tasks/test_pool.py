"""The thread pool, without a worker around it."""

import threading

import pytest
from billiard.exceptions import WorkerLostError

from tasks.pool import TaskPool
from tests.waiting import eventually


@pytest.fixture
def pool():
    pool = TaskPool(1)
    yield pool
    pool.on_stop()


class Outcome:
    """What the pool tells Celery's request."""

    def __init__(self):
        self.accepted, self.results, self.failures = [], [], []

    def callbacks(self):
        return {
            "accept_callback": lambda pid, at: self.accepted.append(pid),
            "callback": self.results.append,
            "error_callback": lambda info: self.failures.append(info.exception.exc),
        }


def run(pool, target, **replaced):
    outcome = Outcome()
    pool.on_apply(target, **(outcome.callbacks() | replaced)).wait(5)
    return outcome


def raising(error):
    def target():
        raise error

    return target


def test_result_is_handed_over(pool):
    outcome = run(pool, lambda: 42)

    assert outcome.results == [42]
    assert len(outcome.accepted) == 1
    assert outcome.failures == []


@pytest.mark.parametrize(
    "error",
    [MemoryError(), SystemExit(1), KeyboardInterrupt(), OSError("no result store")],
    ids=repr,
)
def test_escaped_error_is_reported_and_the_slot_is_free_again(pool, error):
    outcome = run(pool, raising(error))

    (failure,) = outcome.failures
    assert isinstance(failure, WorkerLostError)
    assert str(failure) == type(error).__name__
    assert pool.has_free_slot
    assert run(pool, lambda: "next").results == ["next"]


def test_error_in_handing_over_is_reported_too(pool):
    outcome = run(pool, lambda: 42, callback=lambda _: raising(MemoryError())())

    assert len(outcome.failures) == 1


def test_failure_that_cannot_be_recorded_does_not_cost_the_slot(pool):
    run(pool, raising(MemoryError()), error_callback=lambda _: raising(OSError())())

    assert run(pool, lambda: "next").results == ["next"]


def test_request_nobody_listens_to_does_not_cost_the_slot(pool):
    pool.on_apply(raising(MemoryError())).wait(5)

    assert run(pool, lambda: "next").results == ["next"]


def test_busy_slot_is_seen_until_its_task_ends(pool):
    release = threading.Event()
    assert pool.oldest_started_at is None

    pool.on_apply(release.wait, (5,))
    eventually(lambda: not pool.has_free_slot)
    assert pool.oldest_started_at == pool.last_taken_at

    release.set()
    eventually(lambda: pool.has_free_slot)
    assert pool.oldest_started_at is None
