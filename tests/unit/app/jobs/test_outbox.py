"""Webhooks that wait in Redis: none is lost, none is posted by two at a time."""

import pytest

from app.jobs.keys import WEBHOOKS_KEY
from app.jobs.outbox import DONE_S, LEASE_S, MAX_ATTEMPTS, MAX_PAUSE_S, Outbox

URL = "https://hooks.example.org/a"
BODY = b'{"id":"a job"}'


@pytest.fixture
def outbox(redis_client, clock):
    return Outbox(redis_client, clock)


def test_what_was_put_is_taken_once(outbox):
    assert outbox.put("a job", URL, BODY)

    taken = outbox.take()

    assert (taken.job_id, taken.url, taken.body, taken.attempt) == ("a job", URL, BODY, 1)
    assert outbox.take() is None


def test_nothing_is_taken_where_nothing_is(outbox):
    assert outbox.take() is None


def test_one_whose_worker_died_is_due_again_after_its_lease(outbox, clock):
    outbox.put("a job", URL, BODY)
    outbox.take()

    clock.now_s += LEASE_S - 1
    assert outbox.take() is None
    clock.now_s += 1
    again = outbox.take()

    assert (again.body, again.attempt) == (BODY, 2)


def test_what_was_posted_is_not_put_again(outbox, clock, redis_client):
    outbox.put("a job", URL, BODY)
    assert outbox.close(outbox.take())

    assert not outbox.put("a job", URL, BODY)
    clock.now_s += 10 * LEASE_S
    assert outbox.take() is None
    assert redis_client.zcard(WEBHOOKS_KEY) == 0
    assert 0 < redis_client.ttl("mlserve:webhook:a job") <= DONE_S
    assert redis_client.hkeys("mlserve:webhook:a job") == [b"attempt"]


def test_one_that_was_not_received_is_tried_with_growing_pauses(outbox, clock):
    outbox.put("a job", URL, BODY)
    pauses, delivery = [], outbox.take()
    while not delivery.is_last:
        assert outbox.delay(delivery)
        pauses.append(delivery.pause_s)
        clock.now_s += delivery.pause_s - 0.5
        assert outbox.take() is None
        clock.now_s += 0.5
        delivery = outbox.take()

    assert pauses[:3] == [5.0, 15.0, 45.0]
    assert pauses == sorted(pauses)
    assert max(pauses) == MAX_PAUSE_S
    assert len(pauses) == MAX_ATTEMPTS - 1


@pytest.mark.parametrize("settle", [Outbox.close, Outbox.delay])
def test_worker_that_was_too_slow_has_nothing_to_say(outbox, clock, settle):
    outbox.put("a job", URL, BODY)
    late = outbox.take()
    clock.now_s += LEASE_S
    current = outbox.take()

    assert not settle(outbox, late)

    assert outbox.close(current)


def test_the_one_that_is_due_for_longest_comes_first(outbox, clock):
    for name in ("first", "second"):
        outbox.put(name, URL, BODY)
        clock.now_s += 1
    outbox.delay(outbox.take())

    assert outbox.take().job_id == "second"


def test_one_that_has_expired_holds_up_nothing(outbox, clock, redis_client):
    for name in ("gone", "kept"):
        outbox.put(name, URL, BODY)
        clock.now_s += 1
    redis_client.delete("mlserve:webhook:gone")

    assert outbox.take().job_id == "kept"
    assert redis_client.zrange(WEBHOOKS_KEY, 0, -1) == [b"kept"]


def test_nothing_is_kept_for_ever(outbox, redis_client):
    outbox.put("a job", URL, BODY)

    assert all(redis_client.ttl(key) > 0 for key in redis_client.keys("*"))
