"""Windows of traffic in a real Redis."""

import pytest

from app.monitoring.drift.windows import SLOTS, Windows

LENGTH_S = 120
SLOT_S = LENGTH_S / SLOTS
NOW = 1_000_000.0
KEY, OTHER = "tiny-v1:aaaa", "tiny-v2:bbbb"


@pytest.fixture
def windows(redis_client):
    return Windows(redis_client, LENGTH_S)


def counts(windows, now, key=KEY, feature="labels", bins=3):
    return windows.read([key], now)[key].counts(feature, bins)


def test_counts_of_several_workers_are_added_up(windows):
    windows.add(NOW, {KEY: {"labels": [1, 0, 2], "confidence": [0, 3]}})
    windows.add(NOW, {KEY: {"labels": [4, 0, 0]}, OTHER: {"labels": [9, 9, 9]}})

    assert counts(windows, NOW) == [5, 0, 2]
    assert counts(windows, NOW, feature="confidence", bins=2) == [0, 3]
    assert counts(windows, NOW, key=OTHER) == [9, 9, 9]


def test_window_ends_now_and_begins_a_window_ago(windows):
    for at in range(2 * SLOTS):
        windows.add(NOW + at * SLOT_S, {KEY: {"labels": [1]}})

    assert counts(windows, NOW + (2 * SLOTS - 1) * SLOT_S, bins=1) == [SLOTS]
    assert counts(windows, NOW + SLOT_S, bins=1) == [2]
    assert counts(windows, NOW + 4 * LENGTH_S, bins=1) == [0]


def test_window_that_nobody_counted_in_is_empty(windows):
    assert counts(windows, NOW) == [0, 0, 0]
    assert windows.read([]) == {}


def test_reader_goes_by_the_time_of_redis(windows, redis_client):
    windows.add(redis_client.time()[0], {KEY: {"labels": [1]}})

    assert windows.read([KEY])[KEY].counts("labels", 1) == [1]


def test_windows_of_another_length_are_others(windows, redis_client):
    windows.add(NOW, {KEY: {"labels": [1]}})

    assert counts(Windows(redis_client, 2 * LENGTH_S), NOW, bins=1) == [0]


def test_slots_vanish_by_themselves_and_hold_counts_alone(windows, redis_client):
    windows.add(NOW, {KEY: {"labels": [1, 0, 2]}})

    (name,) = redis_client.keys("mlserve:drift:*")
    assert redis_client.hgetall(name) == {b"labels:0": b"1", b"labels:2": b"2"}
    assert LENGTH_S <= redis_client.ttl(name) <= LENGTH_S + 2 * SLOT_S


def test_dropped_texts_are_summed_by_version(windows):
    windows.drop({"tiny-v1": 3})
    windows.drop({"tiny-v1": 2, "tiny-v2": 1})

    assert windows.dropped() == {"tiny-v1": 5, "tiny-v2": 1}
