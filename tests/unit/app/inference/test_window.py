"""The window of chunks in flight, and their size: both follow what workers keep up with."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.window import (
    MAX_CHUNK_S,
    MAX_CHUNKS_PER_WORKER,
    MIN_CHUNKS,
    MIN_SHARE_S,
    SHARE_OF_WAIT,
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


COSTS = st.floats(min_value=1.0, max_value=1e6)
UNIT_S = st.floats(min_value=1e-6, max_value=0.1)


def measured(unit_s):
    size = ChunkSize()
    size.landed(10.0, 10 * unit_s)
    return size


def test_first_chunk_takes_what_there_is():
    assert ChunkSize().max_cost(5000, workers=2, idle_workers=2) == math.inf


@given(COSTS, UNIT_S, st.integers(1, 64))
def test_chunk_takes_no_longer_than_others_wait_anyway(held, unit_s, workers):
    cost = measured(unit_s).max_cost(held, workers, idle_workers=0)

    worth_s = SHARE_OF_WAIT * held * unit_s / workers
    assert cost * unit_s <= max(MAX_CHUNK_S, worth_s) * 1.001


def test_texts_are_shared_out_over_workers_that_are_idle():
    size = measured(0.0001)

    assert size.max_cost(100, workers=2, idle_workers=2) == 50
    assert size.max_cost(50, workers=2, idle_workers=1) == 50
    assert size.max_cost(100, workers=2, idle_workers=0) == 100


def test_what_is_computed_in_no_time_is_not_shared_out():
    size = measured(0.0001)

    assert size.max_cost(10, workers=8, idle_workers=8) * 0.0001 == pytest.approx(MIN_SHARE_S)


def test_chunk_size_follows_a_model_that_becomes_slower():
    size = measured(0.0001)
    for _ in range(50):
        size.landed(10, 0.100)

    assert size.max_cost(20, workers=8, idle_workers=0) == pytest.approx(
        MAX_CHUNK_S / 0.010, rel=0.1
    )
