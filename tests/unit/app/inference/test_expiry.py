"""One timer for many waits: each ends by itself or at its time, and at no other."""

import heapq
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.expiry import Expiry

LIMIT_S = 10


class Loop:
    """Time that passes when the test says so."""

    def __init__(self):
        self.now = 0
        self.timers = []
        self._ids = count()

    def time(self):
        return self.now

    def call_later(self, delay_s, call):
        heapq.heappush(self.timers, (self.now + delay_s, next(self._ids), call))

    def pass_s(self, seconds):
        """Timers are called when they are due, one after the other."""
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, call = heapq.heappop(self.timers)
            call()
        self.now = end


STEPS = st.lists(
    st.one_of(st.just("begin"), st.integers(0, 20).map(lambda at: ("end", at)), st.integers(0, 25)),
    max_size=60,
)


@given(STEPS)
def test_each_wait_expires_once_and_at_its_time_unless_it_has_ended(steps):
    loop, begun, ended, expired = Loop(), [], {}, []
    expiry = Expiry(loop, LIMIT_S, lambda wait: expired.append((wait, loop.now)))

    for step in steps:
        if step == "begin":
            begun.append(loop.now)
            expiry.begin(len(begun) - 1)
        elif isinstance(step, int):
            loop.pass_s(step)
        elif step[1] < len(begun):
            in_time = expiry.end(step[1])
            assert in_time == (step[1] not in ended and loop.now < begun[step[1]] + LIMIT_S)
            ended.setdefault(step[1], loop.now)
        assert len(loop.timers) <= 1
    loop.pass_s(2 * LIMIT_S)

    ends = ((wait, at + LIMIT_S) for wait, at in enumerate(begun))
    assert expired == [(wait, at) for wait, at in ends if ended.get(wait, at) >= at]
    assert not loop.timers


@pytest.mark.parametrize("limit_s", [0, -1])
def test_wait_without_time_expires_as_it_begins(limit_s):
    expired = []
    expiry = Expiry(Loop(), limit_s, expired.append)

    expiry.begin("a")

    assert expired == ["a"]
    assert not expiry.end("a")


def test_wait_may_begin_again_when_another_expires():
    loop, expired = Loop(), []

    def expire(wait):
        expired.append((wait, loop.now))
        if wait == "a":
            expiry.begin("b")
            expiry.begin("c")
        assert len(loop.timers) <= 1

    expiry = Expiry(loop, LIMIT_S, expire)
    expiry.begin("a")
    loop.pass_s(3 * LIMIT_S)

    assert expired == [("a", LIMIT_S), ("b", 2 * LIMIT_S), ("c", 2 * LIMIT_S)]
