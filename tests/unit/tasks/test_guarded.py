"""Attempts of a message that was delivered again, on a real Redis."""

import pytest

from app.broker import redis_client as connect
from app.errors import BrokerUnavailable, TaskGivenUp
from app.settings import Redis, Settings
from tasks.guarded import check_attempts


def test_third_attempt_runs_and_the_fourth_is_refused(redis_client):
    check_attempts(redis_client, "t1")
    check_attempts(redis_client, "t1")

    with pytest.raises(TaskGivenUp, match="after 3 attempts"):
        check_attempts(redis_client, "t1")


def test_attempts_are_counted_per_task(redis_client):
    for task_id in ("t1", "t2", "t1", "t2"):
        check_attempts(redis_client, task_id)

    assert sorted(redis_client.keys("mlserve:attempts:*")) == [
        b"mlserve:attempts:t1",
        b"mlserve:attempts:t2",
    ]


def test_count_does_not_stay_for_ever(redis_client):
    check_attempts(redis_client, "t1")

    assert 0 < redis_client.ttl("mlserve:attempts:t1") <= 3600


def test_missing_redis_is_named():
    with (
        connect(Settings(redis=Redis(url="unix:///nonexistent/redis.sock"))) as client,
        pytest.raises(BrokerUnavailable),
    ):
        check_attempts(client, "t1")
