"""The clock of Redis, as a process keeps it between two readings."""

import threading
import time

import pytest

from app import clock as module
from app.clock import RedisClock

STALL_S = 0.4


@pytest.fixture
def clock(client):
    """It has been read once."""
    clock = RedisClock()
    clock.sync(client)
    return clock


def read_while_redis_stands_still(clock, server, client):
    """By how much that moves the clock."""
    before = clock.now() - time.monotonic()
    server.pause()
    resumed = threading.Timer(STALL_S, server.resume)
    resumed.start()
    try:
        clock.sync(client)
    finally:
        resumed.join()
    return abs(clock.now() - time.monotonic() - before)


def test_reading_while_redis_stands_still_does_not_move_the_clock(clock, server, client):
    assert read_while_redis_stands_still(clock, server, client) < STALL_S / 8


def test_slow_reading_is_better_than_an_old_one(clock, server, client, monkeypatch):
    monkeypatch.setattr(module, "MAX_AGE_S", 0.0)

    assert read_while_redis_stands_still(clock, server, client) > STALL_S / 4
