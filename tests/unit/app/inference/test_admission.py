"""Admission: what is let in, and what those are told who are not."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.inference.admission import MAX_WAIT_SHARE, Admission
from app.inference.drain import NO_LINE, Line

PATIENT_S = 3600.0


def is_admitted(admission, texts=1, wait_s=PATIENT_S, line=NO_LINE, queued_chunks=0):
    try:
        admission.enter(texts, wait_s, line, queued_chunks)
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
    admission.enter(60, PATIENT_S)

    assert not is_admitted(admission, 41)
    assert is_admitted(admission, 40)


def test_refused_texts_do_not_count():
    admission = Admission(10)
    admission.enter(6, PATIENT_S)

    assert not is_admitted(admission, 5)

    assert admission.waiting == 6


def test_chunks_of_other_processes_in_the_shared_queue_count():
    admission = Admission(100)
    for _ in range(50):
        admission.landed(10)

    assert is_admitted(admission, queued_chunks=9)
    assert not is_admitted(admission, texts=11, queued_chunks=9)


@given(st.floats(0.0, 5000), st.booleans())
def test_retry_after_is_the_time_of_what_waits_in_whole_seconds(waits_s, is_full):
    admission, line = Admission(1 if is_full else 10), Line(waits_s, 1.0)
    admission.enter(1, PATIENT_S)

    with pytest.raises(Overloaded) as caught:
        admission.enter(1, 0.5, line)

    assert caught.value.retry_after_s == max(1, math.ceil(waits_s))
    assert caught.value.args == (caught.value.retry_after_s,)


@given(st.floats(0.0, 60), st.floats(0.0, 60), st.floats(0.01, 60))
def test_who_could_not_be_answered_in_time_is_refused_at_once(waits_s, takes_s, wait_s):
    fits = waits_s + takes_s <= MAX_WAIT_SHARE * wait_s

    assert is_admitted(Admission(10), wait_s=wait_s, line=Line(waits_s, takes_s)) == fits


def test_what_is_checked_before_is_refused_as_it_would_be_later():
    admission = Admission(10)
    admission.enter(9, PATIENT_S)
    admission.check(1, PATIENT_S, Line(1.0, 1.0))

    for texts, wait_s in ((2, PATIENT_S), (1, 1.0)):
        with pytest.raises(Overloaded):
            admission.check(texts, wait_s, Line(1.0, 1.0))

    assert admission.waiting == 9
