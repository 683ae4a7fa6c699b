"""The window of chunks in flight, and their size: both follow what workers keep up with."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.window import (
    MAX_CHUNK_S,
    MAX_CHUNKS_PER_WORKER,
    MIN_CHUNKS,
    MIN_SHARE,
    ChunkSize,
    Window,
)


def test_window_grows_only_while_texts_are_held_back():
    with_backlog, without = Window(), Window()
    for _ in range(50):
        with_backlog.landed(0.010, 0.009, has_backlog=True, workers=8)
        without.landed(0.010, 0.009, has_backlog=False, workers=8)

    assert with_backlog.size > 5
    assert without.size == Window().size


def test_window_shrinks_while_chunks_wait_in_line():
    window = Window()
    for _ in range(50):
        window.landed(1.0, 0.010, has_backlog=True, workers=8)

    assert window.size == MIN_CHUNKS


def test_lost_chunk_closes_the_window():
    window = Window()
    window.size = 20.0

    window.lost()

    assert window.size == MIN_CHUNKS


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_window_settles_near_the_number_of_workers(workers):
    """A simulated fleet that is always behind: chunks of 10 ms, served in order."""
    window, compute_s, moment = Window(), 0.010, 0.0
    free_at, flying = [0.0] * workers, deque()
    for _ in range(2000):
        while len(flying) < window.size:
            first = free_at.index(min(free_at))
            free_at[first] = max(moment, free_at[first]) + compute_s
            flying.append((free_at[first], moment))
        landed_at, sent_at = flying.popleft()
        moment = max(moment, landed_at)
        window.landed(moment - sent_at, compute_s, has_backlog=True, workers=workers)

    assert workers <= window.size <= MAX_CHUNKS_PER_WORKER * workers


def test_window_closes_when_workers_leave():
    window = Window()
    for _ in range(50):
        window.landed(0.010, 0.009, has_backlog=True, workers=8)

    window.landed(0.010, 0.009, has_backlog=True, workers=1)

    assert window.size == MAX_CHUNKS_PER_WORKER


def test_window_stays_open_while_no_worker_is_known():
    window = Window()

    window.landed(0.010, 0.009, has_backlog=True, workers=0)

    assert window.size == MIN_CHUNKS


COUNT = st.integers(min_value=1, max_value=5000)


@given(COUNT, st.integers(min_value=-4, max_value=64), COUNT)
def test_chunk_takes_some_of_what_is_held_and_never_more_than_allowed(held, idle, max_texts):
    assert 1 <= ChunkSize().take(held, idle, max_texts) <= min(held, max_texts)


def test_texts_are_shared_out_over_workers_that_are_idle():
    size = ChunkSize()

    assert size.take(100, idle_workers=2, max_texts=128) == 50
    assert size.take(50, idle_workers=1, max_texts=128) == 50
    assert size.take(100, idle_workers=0, max_texts=128) == 100


def test_a_few_texts_are_not_shared_out():
    assert ChunkSize().take(MIN_SHARE, idle_workers=8, max_texts=128) == MIN_SHARE


@given(st.floats(min_value=1e-6, max_value=1.0), st.integers(min_value=1, max_value=128))
def test_chunk_is_computed_in_time_once_a_text_was_measured(text_s, first):
    size = ChunkSize()
    size.landed(first, first * text_s)

    texts = size.take(5000, idle_workers=0, max_texts=128)

    assert texts == 1 or texts * text_s <= MAX_CHUNK_S * 1.001


def test_chunk_size_follows_a_model_that_becomes_slower():
    size = ChunkSize()
    size.landed(100, 0.010)
    for _ in range(30):
        size.landed(10, 0.100)

    assert size.take(5000, idle_workers=0, max_texts=128) <= 6
