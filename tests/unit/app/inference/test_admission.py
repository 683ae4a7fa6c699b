"""Admission: what is let in, and what those are told who are not."""

import math
import threading

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.inference.admission import MAX_GAP_S, Admission

PATIENT_S = 3600.0


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def with_rate(texts_per_s, most=1000):
    """An admission that has measured how many texts a second the workers answer."""
    clock = Clock()
    admission = Admission(most, clock)
    for _ in range(2):
        admission.landed(1, is_busy=True)
        clock.now += 1 / texts_per_s
    return admission


def is_admitted(admission, texts=1, wait_s=PATIENT_S, queued_chunks=0):
    try:
        admission.enter(texts, wait_s, queued_chunks)
    except Overloaded:
        return False
    return True


steps = st.one_of(
    st.tuples(st.just("enter"), st.integers(1, 20)),
    st.tuples(st.just("leave"), st.integers(0, 20)),
)


@given(st.integers(1, 40), st.lists(steps, max_size=80))
def test_as_many_texts_are_let_in_as_fit_and_no_more(most, history):
    admission, inside = Admission(most), []
    for what, number in history:
        if what == "enter":
            fits = sum(inside) + number <= most
            assert is_admitted(admission, number) == fits
            inside += [number] if fits else []
        elif inside:
            admission.leave(inside.pop(number % len(inside)))
        assert admission.waiting == sum(inside) <= most


@given(st.lists(st.lists(st.integers(1, 8), max_size=30), min_size=2, max_size=4))
def test_bound_holds_under_any_interleaving_of_threads(requests):
    admission, seen = Admission(10), []
    together = threading.Barrier(len(requests))

    def client(batches):
        together.wait(5)
        for texts in batches:
            if is_admitted(admission, texts):
                seen.append(admission.waiting)
                admission.leave(texts)

    threads = [threading.Thread(target=client, args=(batches,)) for batches in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert all(0 <= waiting <= 10 for waiting in seen)
    assert admission.waiting == 0


def test_texts_of_a_batch_count_one_by_one():
    admission = Admission(100)
    admission.enter(60, PATIENT_S, 0)

    assert not is_admitted(admission, 41)
    assert is_admitted(admission, 40)


def test_refused_texts_do_not_count():
    admission = Admission(10)
    admission.enter(6, PATIENT_S, 0)

    assert not is_admitted(admission, 5)

    assert admission.waiting == 6


def test_chunks_of_other_processes_in_the_shared_queue_count():
    admission = Admission(100)
    for _ in range(50):
        admission.landed(10, is_busy=False)

    assert is_admitted(admission, queued_chunks=9)
    assert not is_admitted(admission, texts=11, queued_chunks=9)


@given(st.floats(0.6, 5000), st.integers(1, 4000))
def test_retry_after_is_the_time_of_what_waits_in_whole_seconds(rate, waiting):
    admission = with_rate(rate, most=waiting)
    admission.enter(waiting, PATIENT_S * PATIENT_S, 0)
    exact = waiting / rate
    assume(not math.isclose(exact, round(exact), rel_tol=1e-6))

    with pytest.raises(Overloaded) as caught:
        admission.enter(1, PATIENT_S, 0)

    assert caught.value.retry_after_s == max(1, math.ceil(exact))
    assert caught.value.args == (caught.value.retry_after_s,)


def test_text_that_could_not_be_answered_in_time_is_refused_at_once():
    admission = with_rate(100.0)
    admission.enter(400, PATIENT_S, 0)

    assert admission.wait_s() == pytest.approx(4.0)
    assert not is_admitted(admission, wait_s=2.0)
    assert not is_admitted(admission, texts=200, wait_s=5.0)
    assert is_admitted(admission, wait_s=5.0)


def test_nobody_is_refused_by_time_before_a_rate_is_known():
    admission = Admission(1000)
    admission.enter(900, PATIENT_S, 0)

    assert admission.wait_s() == 0.0
    assert is_admitted(admission, wait_s=0.001)


def test_stale_rate_refuses_nobody_where_nothing_waits():
    admission = with_rate(0.6)

    assert is_admitted(admission, texts=100, wait_s=0.1)


def test_slow_moment_does_not_keep_callers_away_for_good():
    """Workers stood still for a moment while texts were held, and are fast again."""
    clock = Clock()
    admission = Admission(1000, clock)
    admission.landed(1, is_busy=True)
    clock.now += 0.99 * MAX_GAP_S
    admission.landed(1, is_busy=False)
    admission.enter(1, 1.0, 0)
    assert not is_admitted(admission, wait_s=1.0)

    for _ in range(20):
        clock.now += 0.1
        admission.landed(1, is_busy=False)

    assert all(is_admitted(admission, wait_s=1.0) for _ in range(16))


def test_rate_is_not_what_was_asked_but_what_workers_can_do():
    """A chunk every second because nobody asks for more says nothing about the workers."""
    clock = Clock()
    admission = Admission(1000, clock)
    for _ in range(20):
        admission.landed(1, is_busy=False)
        clock.now += 1.0

    assert admission.wait_s(1000) == 0.0


def test_pause_is_no_work():
    clock = Clock()
    admission = Admission(1000, clock)
    admission.landed(10, is_busy=True)
    clock.now += MAX_GAP_S + 0.1
    admission.landed(10, is_busy=False)

    assert admission.wait_s(1000) == 0.0


def test_rate_follows_the_workers():
    clock = Clock()
    admission = Admission(100_000, clock)
    for seconds in (0.1, 0.01):
        for _ in range(60):
            clock.now += seconds
            admission.landed(10, is_busy=True)

        assert admission.wait_s(1000) == pytest.approx(1000 / (10 / seconds), rel=0.01)
