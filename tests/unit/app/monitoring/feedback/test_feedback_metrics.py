"""Feedback as metrics, where Redis does not answer; what they tell: test_feedback_routes.py."""

import socket
import time

from app.models.catalog import Catalog
from app.monitoring.feedback.metrics import MAX_WAIT_S, PAUSE_S, FeedbackCollector
from app.settings import Redis, Settings


def test_redis_that_hangs_is_waited_for_a_moment_and_then_left_alone(tmp_path):
    now = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = Redis(url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        catalog = Catalog(tmp_path, "tiny")
        collector = FeedbackCollector(Settings(redis=where), catalog, lambda: now[0])

        looks = []
        for moment in (0.0, PAUSE_S - 0.1, PAUSE_S):
            now[0] = moment
            began = time.perf_counter()
            assert list(collector.collect()) == []
            looks.append(time.perf_counter() - began)

    first, second, third = looks
    assert first < Redis().socket_timeout_s
    assert second < MAX_WAIT_S <= third
