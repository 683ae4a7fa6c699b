"""How long the steps of a chunk wait for Redis."""

import pytest

from app.broker import redis_client
from app.errors import BrokerUnavailable
from app.settings import Redis, Settings
from tasks.retries import Retries

NOWHERE = Settings(redis=Redis(url="unix:///nonexistent/redis.sock"))


class Step:
    """A step that finds no Redis so many times."""

    def __init__(self, failures=10**9):
        self.left, self.tried = failures, 0

    def __call__(self):
        self.tried += 1
        if self.tried <= self.left:
            redis_client(NOWHERE).ping()
        return "done"


def test_redis_that_comes_back_is_waited_for():
    step = Step(failures=3)

    assert Retries(60).make(step) == "done"
    assert step.tried == 4


def test_steps_of_a_chunk_share_the_time_to_wait():
    retries, first, second, third = Retries(0.3), Step(), Step(), Step(failures=0)

    with pytest.raises(BrokerUnavailable):
        retries.make(first)
    with pytest.raises(BrokerUnavailable):
        retries.make(second)

    assert first.tried > 2
    assert second.tried <= 2
    assert retries.make(third) == "done"
