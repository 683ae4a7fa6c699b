"""The window of chunks in flight: it follows what workers keep up with."""

from collections import deque

import pytest

from app.inference.window import MAX_CHUNKS_PER_WORKER, MIN_CHUNKS, Window


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
