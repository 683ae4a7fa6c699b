"""The thread pool, without a worker around it."""

import os
import sys
import threading

import pytest
from billiard.exceptions import WorkerLostError

from app.contract import PREDICT_CHUNK
from tasks.pool import MAX_INLINE_S, TaskPool
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


def chunk(pool, target, **options):
    """Run `target` as the pool is asked to run a chunk; the name of the thread that did."""
    ran_in = []

    def traced(name):
        ran_in.append(threading.current_thread().name)
        return target()

    applied = pool.on_apply(traced, (PREDICT_CHUNK,), **options)
    if applied is not None:
        applied.wait(5)
    return ran_in[0]


def test_quick_chunk_runs_where_it_was_taken_once_another_was_quick(pool):
    here = threading.current_thread().name

    first, second = chunk(pool, lambda: 42), chunk(pool, lambda: 42)

    assert first != here
    assert second == here


def test_slow_chunk_sends_the_next_one_into_a_thread_again(pool):
    chunk(pool, lambda: 42)

    chunk(pool, lambda: threading.Event().wait(2 * MAX_INLINE_S))

    assert chunk(pool, lambda: 42) != threading.current_thread().name


def test_chunks_of_a_pool_with_several_slots_run_side_by_side():
    pool = TaskPool(2)
    try:
        threads = {chunk(pool, lambda: 42) for _ in range(3)}
    finally:
        pool.on_stop()

    assert threading.current_thread().name not in threads


def test_other_tasks_keep_out_of_the_thread_that_takes_them(pool):
    chunk(pool, lambda: 42)

    pool.on_apply(lambda name: None, ("jobs",)).wait(5)


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_error_that_escapes_an_inline_chunk_is_reported_and_the_slot_is_free(pool, error):
    chunk(pool, lambda: 42)
    outcome = Outcome()

    chunk(pool, raising(error), **outcome.callbacks())

    assert [type(failure) for failure in outcome.failures] == [WorkerLostError]
    assert pool.has_free_slot


def test_bulk_request_runs_beside_those_that_somebody_waits_for(pool):
    request = {"delivery_info": {"routing_key": "jobs.cpu"}}
    busy, done = threading.Event(), threading.Event()

    def bulk(*_):
        busy.set()
        return done.wait(5)

    slow = pool.on_apply(bulk, ("name", "id", request))
    assert busy.wait(5)

    assert run(pool, lambda: 42).results == [42]
    assert not pool.has_free_slot
    done.set()
    slow.wait(5)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_bulk_request_stands_back_for_others(pool):
    def niceness(*_):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    outcome = Outcome()
    request = {"delivery_info": {"routing_key": "jobs.cpu"}}
    pool.on_apply(niceness, ("name", "id", request), **outcome.callbacks()).wait(5)

    assert outcome.results[0] > run(pool, niceness).results[0]
