"""Celery's consumer with our intervals; no Redis is there."""

import time
from types import SimpleNamespace

import pytest
from kombu.exceptions import OperationalError

from app.broker import make_celery
from app.settings import Redis, Settings
from tasks.consumer import Consumer


@pytest.fixture
def consumer():
    app = make_celery(Settings(redis=Redis(url="unix:///nonexistent/redis.sock")), "cli")
    app.conf.broker_connection_max_retries = 2
    worker = SimpleNamespace(use_eventloop=True)
    consumer = Consumer(on_task_request=lambda request: None, app=app, controller=worker)
    yield consumer
    app.close()


def test_lost_redis_is_looked_for_within_a_second(consumer):
    started = time.monotonic()

    with pytest.raises(OperationalError):
        consumer.connection_for_read()

    # 0.2 + 0.5 s; Celery's own intervals are 2 + 4 s.
    assert 0.7 <= time.monotonic() - started < 4


def test_consumer_does_not_look_for_neighbours(consumer):
    left_out = [step for step in consumer.steps if step.name in ("Mingle", "Gossip")]

    assert left_out == []
