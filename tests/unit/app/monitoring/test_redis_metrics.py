"""Metrics that are read from Redis: what waits, for how long, and how full it is."""

import json
import logging

import redis

from app.contract import JOB_QUEUES, PREDICT_QUEUES
from app.jobs.chunks import Chunks
from app.monitoring.redis_metrics import PAUSE_S, RedisCollector
from tests.unit.app.jobs.jobs import Clock, ledger, run_all, submit

QUEUE = PREDICT_QUEUES["cpu"]


def read(client, **options):
    return samples(RedisCollector(lambda timeout_s: client, **options))


def samples(collector):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def message(sent_at):
    return json.dumps({"body": "", "headers": {"sent_at": sent_at, "id": "x"}, "properties": {}})


def test_queue_tells_how_many_wait_and_how_long_the_oldest_has(redis_client):
    seconds, _ = redis_client.time()
    # As Celery does: in at the head, out at the tail.
    redis_client.lpush(QUEUE, message(seconds - 60))
    redis_client.lpush(QUEUE, message(seconds - 1))

    found = read(redis_client)

    assert found["mlserve_queue_depth_chunks", QUEUE] == 2
    assert 60 <= found["mlserve_queue_oldest_age_seconds", QUEUE] < 90
    assert found["mlserve_queue_depth_chunks", JOB_QUEUES["cpu"]] == 0
    assert found["mlserve_queue_oldest_age_seconds", JOB_QUEUES["cpu"]] == 0


def test_messages_of_others_have_no_age_and_fail_nothing(redis_client):
    for raw in ("[]", "no json", '{"headers": {"sent_at": "x"}}', '{"headers": {}}'):
        redis_client.delete(QUEUE)
        redis_client.lpush(QUEUE, raw)

        assert read(redis_client)["mlserve_queue_oldest_age_seconds", QUEUE] == 0


def texts(found):
    return {key[1]: int(n) for key, n in found.items() if key[0] == "mlserve_job_texts_total"}


def test_texts_of_jobs_are_counted_by_what_became_of_them(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)
    done, cancelled, expired = (submit(book, count) for count in (100, 70, 30))

    before = read(redis_client)
    run_all(book, done, bad={3, 4})
    book.cancel(cancelled.id)
    clock.now_s += book.limits.max_run_seconds + 1
    Chunks(book).sweep(expired.id, [], True)
    after = read(redis_client)

    assert (before["mlserve_job_texts_pending",], before["mlserve_jobs_open",]) == (200, 3)
    assert texts(after) == {"accepted": 200, "succeeded": 98, "failed": 32, "cancelled": 70}
    assert after["mlserve_job_texts_pending",] == 0


def test_redis_says_how_full_it_is(redis_client):
    found = read(redis_client)

    assert found["mlserve_redis_up",] == 1
    assert found["mlserve_redis_memory_used_bytes",] > 100_000
    assert found["mlserve_redis_memory_max_bytes",] == 0


def test_redis_that_tells_its_memory_to_nobody_is_up_and_tells_the_rest(
    client_without_info, caplog
):
    client_without_info.lpush(QUEUE, message(0))
    collector = RedisCollector(lambda timeout_s: client_without_info)

    with caplog.at_level(logging.WARNING):
        samples(collector)
        found = samples(collector)

    assert found["mlserve_redis_up",] == 1
    assert found["mlserve_queue_depth_chunks", QUEUE] == 1
    assert ("mlserve_redis_memory_used_bytes",) not in found
    assert [record.msg for record in caplog.records] == ["memory of Redis not told"]


def test_redis_that_refuses_more_than_its_memory_is_not_up(client_without_info, redis_client):
    redis_client.acl_setuser("plain", commands=["-llen"])

    assert read(client_without_info) == {("mlserve_redis_up",): 0}


def test_redis_that_is_away_is_asked_once_in_a_while():
    asked, now = [], [0.0]

    class Away(redis.Redis):
        def pipeline(self, *args, **options):
            asked.append(now[0])
            raise redis.ConnectionError

    collector = RedisCollector(lambda timeout_s: Away(), now=lambda: now[0])

    for moment in (0.0, PAUSE_S - 1, PAUSE_S):
        now[0] = moment
        assert samples(collector) == {("mlserve_redis_up",): 0}

    assert asked == [0.0, PAUSE_S]
