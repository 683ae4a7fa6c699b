"""What is measured of workers that are behind, and the line in front of who comes next."""

import random
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.drain import MAX_GAP_S, NO_LINE, Drain, Line

COMPUTED_S = 0.01


def drain_of(units_per_s, chunks=2):
    """One that heard of busy workers until second 100."""
    drain = Drain()
    for number in range(chunks, 0, -1):
        moment = 100.0 - (number - 1) / units_per_s
        drain.landed(1.0, COMPUTED_S, moment, is_busy=True)
    return drain


@given(st.floats(1, 5000), st.floats(1, 1e5), st.floats(1, 1e5))
def test_line_is_the_time_for_what_waits_and_for_what_comes(rate, waiting, more):
    line = drain_of(rate).line(waiting, more, 100.0)

    assert line.waits_s == pytest.approx(waiting / rate)
    assert line.takes_s == pytest.approx(more / rate)


def test_there_is_no_line_before_a_rate_is_known():
    drain = Drain()
    assert drain.line(900, 1, 100.0) == NO_LINE

    drain.landed(1.0, COMPUTED_S, 100.0, is_busy=True)

    assert drain.line(900, 1, 100.0) == NO_LINE


def test_there_is_no_line_where_nothing_waits():
    assert drain_of(0.6).line(0, 100, 100.0) == NO_LINE


def test_there_is_no_line_when_workers_keep_up_again():
    """They stood still for a moment while texts were held, and are fast again."""
    drain = Drain()
    drain.landed(1.0, COMPUTED_S, 100.0, is_busy=True)
    drain.landed(1.0, COMPUTED_S, 101.9, is_busy=False)
    assert drain.line(1, 1, 101.9) != NO_LINE

    assert drain.line(1, 1, 100.0 + MAX_GAP_S) == NO_LINE


def test_rate_is_not_what_was_asked_but_what_workers_can_do():
    """A chunk every second because nobody asks for more says nothing about the workers."""
    drain = Drain()
    for second in range(20):
        drain.landed(1.0, COMPUTED_S, float(second), is_busy=False)
    drain.landed(1.0, COMPUTED_S, 20.0, is_busy=True)

    assert drain.line(1000, 1, 20.0) == NO_LINE


def test_rate_of_another_time_is_forgotten():
    """There was one slow worker then."""
    drain = drain_of(1.0)
    assert drain.line(1, 100, 100.0).takes_s == pytest.approx(100)

    drain.landed(1.0, 0.001, 3700.0, is_busy=True)
    assert drain.line(1, 100, 3700.0) == NO_LINE

    drain.landed(1.0, 0.001, 3700.002, is_busy=False)
    assert drain.line(1, 100, 3700.01).takes_s == pytest.approx(0.2)


def test_workers_that_were_slow_once_are_not_behind_for_long_when_they_keep_up():
    drain = drain_of(1.0)
    drain.landed(1.0, 12.0, 101.0, is_busy=True)
    drain.landed(1.0, 0.005, 101.01, is_busy=False)

    assert drain.line(1, 5, 101.01) != NO_LINE
    assert drain.line(1, 5, 101.01 + MAX_GAP_S) == NO_LINE


@pytest.mark.parametrize(("computed_s", "counts"), [(0.1, False), (2.0, True)])
def test_pause_is_no_work_unless_chunks_take_as_long(computed_s, counts):
    drain = Drain()
    drain.landed(10.0, computed_s, 100.0, is_busy=True)
    drain.landed(10.0, computed_s, 103.0, is_busy=True)

    assert drain.line(10, 0, 103.0) == (Line(3.0, 0.0) if counts else NO_LINE)


def test_rate_follows_the_workers():
    drain, moment = Drain(), 100.0
    for seconds in (0.1, 0.01):
        for _ in range(round(8 / seconds)):
            moment += seconds
            drain.landed(10.0, COMPUTED_S, moment, is_busy=True)

        assert drain.line(1000, 0, moment).waits_s == pytest.approx(100 * seconds, rel=0.01)


@given(st.integers(1, 8), st.integers(0, 1000), st.floats(0.01, 1.0))
def test_workers_that_are_done_at_about_the_same_time_are_not_taken_for_fast_ones(
    workers, seed, compute_s
):
    """A chunk of 64 texts each, begun together: they land in groups, with hardly any time between.

    A mean of rates would be ten times too high.
    """
    drain, chance, landings = Drain(), random.Random(seed), []
    for _ in range(workers):
        heappush(landings, compute_s)
    for _ in range(60 * workers):
        moment = heappop(landings)
        drain.landed(64.0, compute_s, moment, is_busy=True)
        heappush(landings, moment + compute_s * chance.uniform(0.99, 1.01))

    true_s = 640 * compute_s / (64 * workers)
    assert drain.line(640, 0, moment).waits_s == pytest.approx(true_s, rel=0.25)
