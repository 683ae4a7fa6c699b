"""The figures of a benchmark."""

import os
import signal
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import RequestRefused, TextFailed
from cli.benchmark import Measured, _run, percentile, summary

LATENCIES = st.lists(st.floats(0, 10), min_size=1)


class Flaky:
    """Fails whole requests, single texts, or nothing, by what the text says."""

    ref = "m-v1"

    def classify(self, texts, top_k=None):
        if "refuse" in texts:
            raise RequestRefused("503 no_worker", "nobody")
        failed = {"error": {"code": TextFailed.code, "message": ""}}
        return [failed if text == "fail" else {"label": "a", "confidence": 1.0} for text in texts]


def test_summary_counts_failed_requests_and_failed_texts():
    requests = [["ok", "ok"], ["ok", "fail"], ["refuse", "ok"]] * 10

    found = summary(_run(Flaky(), requests, concurrency=4))

    assert found["predictions"] == 30
    assert found["errors"] == {"text_failed": 10, "503 no_worker": 20}


class Interrupted(list):
    """Requests, and Ctrl-C when the last of them is queued; none is answered before."""

    ref = "m-v1"

    def __init__(self, requests):
        super().__init__(requests)
        self.rounds, self.asked, self.came = 0, 0, threading.Event()

    def __iter__(self):
        yield from super().__iter__()
        self.rounds += 1
        if self.rounds == 2:  # the first one counts texts
            self.came.set()
            os.kill(os.getpid(), signal.SIGINT)

    def classify(self, texts, top_k=None):
        self.asked += 1
        self.came.wait()
        return [{"label": "a", "confidence": 1.0} for _ in texts]


def test_interrupted_run_leaves_what_is_queued():
    requests = Interrupted([["a"]] * 20_000)

    with pytest.raises(KeyboardInterrupt):
        _run(requests, requests, concurrency=2)

    assert requests.asked < len(requests) / 2


def test_summary_gives_milliseconds_of_requests():
    measured = Measured(seconds=2.0)
    for took_ms in range(1, 101):
        measured.add(10, took_ms / 1000, Counter())

    found = summary(measured)

    assert found["latency_ms"] == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert found["predictions_per_second"] == 500.0


@given(LATENCIES, st.floats(0.01, 1))
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(latencies, share):
    ordered = sorted(latencies)

    found = percentile(ordered, share)

    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
    smaller = [value for value in ordered if value < found]
    assert len(smaller) < share * len(ordered)
