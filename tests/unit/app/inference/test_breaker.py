"""The circuit breaker, by a clock of the test's own."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from app.inference.breaker import OPEN_S, Breaker


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_breaker_is_closed_until_something_fails():
    clock = Clock()
    breaker = Breaker(now=clock)
    assert breaker.is_closed

    breaker.trip()

    assert not breaker.is_closed
    clock.now = OPEN_S
    assert breaker.is_closed


def test_first_failure_alone_is_news():
    clock = Clock()
    breaker = Breaker(open_s=2.0, now=clock)

    assert [breaker.trip(), breaker.trip()] == [True, False]
    clock.now = 2.0
    assert breaker.trip()


@given(st.lists(st.floats(0, 3), max_size=20), st.floats(0, 3))
def test_breaker_stays_open_for_its_time_after_the_last_failure(pauses, then):
    clock = Clock()
    breaker = Breaker(open_s=1.0, now=clock)
    for pause in pauses:
        clock.now += pause
        breaker.trip()
    last = clock.now

    clock.now += then

    assert breaker.is_closed == (not pauses or clock.now >= last + 1.0)


def test_of_many_threads_that_fail_at_once_one_brings_the_news():
    breaker, started, news = Breaker(open_s=60.0), threading.Barrier(8), []

    def fail():
        started.wait(5)
        news.append(breaker.trip())

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert sorted(news) == [False] * 7 + [True]
