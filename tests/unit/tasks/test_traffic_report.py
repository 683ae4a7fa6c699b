"""Counts on their way from a worker to the windows of all, also where Redis is away."""

import pytest
import redis

from app.contract import Chunk
from app.inference.engine import predict
from app.inference.traffic import Traffic
from app.models.loader import load
from app.monitoring.drift.windows import Windows
from tasks.traffic import TrafficReport
from tests.models import LIMITS, build_model, entry
from tests.references import measured

LENGTH_S, NOW = 120, 1_000_000.0
NOWHERE = redis.Redis.from_url("unix:///nonexistent/redis.sock")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = build_model(tmp_path_factory.mktemp("models"))
    return measured(load(entry(path), LIMITS), path)


class Part:
    """One worker: what it answers, and how it reports."""

    def __init__(self, model, client):
        self.model, self.traffic = model, Traffic()
        self.windows = Windows(client, LENGTH_S)
        self.report = TrafficReport(self.traffic, self.windows, lambda: NOW)

    def answer(self, texts):
        chunk = Chunk(ref="tiny-v1", texts=texts, deadline=10.0, request_ids=[])
        predict(self.model, chunk, max_batch_size=32, now=lambda: 0.0, traffic=self.traffic)

    def labels(self):
        key = self.model.measures.key
        return self.windows.read([key], NOW)[key].counts("labels", 3)


def test_workers_add_up_in_the_same_window(model, redis_client):
    parts = [Part(model, redis_client) for _ in range(2)]
    for part in parts:
        part.answer(["good day", "table"])
        part.report.step()
        part.report.step()

    assert parts[0].labels() == [0, 2, 2] == parts[1].labels()


def test_texts_are_dropped_and_counted_where_redis_is_away(model, redis_client, monkeypatch):
    part = Part(model, redis_client)
    part.answer(["good day"] * 3)
    monkeypatch.setattr(part.report, "_windows", Windows(NOWHERE, LENGTH_S))
    with pytest.raises(redis.RedisError):
        part.report.step()
    assert part.traffic.take() == {}

    monkeypatch.setattr(part.report, "_windows", part.windows)
    part.answer(["good day"])
    part.report.step()
    part.report.step()

    assert sum(part.labels()) == 1
    assert part.windows.dropped() == {"tiny-v1": 3}


def test_end_of_the_thread_brings_what_is_left(model, redis_client):
    part = Part(model, redis_client)
    part.report.start()
    part.answer(["good day"] * 5)
    part.report.stop()

    assert sum(part.labels()) == 5
