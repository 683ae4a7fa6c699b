"""What the task of a prediction logs of its chunk."""

import logging
import time

import pytest

from app.contract import Chunk, ChunkResult
from app.settings import Settings
from tasks import running
from tasks.predict import SLOW_SHARE, predict_chunk

MESSAGE = Chunk(
    ref="tiny-v1", texts=["a secret"], deadline=9e9, request_ids=["r1", "r2"]
).to_message()


class Computing:
    """A host that computes for `compute_s` seconds, as a model does that holds the processor."""

    tracing = None

    def __init__(self, compute_s, timeout_ms):
        self.compute_s, self.settings = compute_s, Settings(request_timeout_ms=timeout_ms)

    def answer(self, chunk, spent, sent_at):
        until = time.perf_counter() + self.compute_s
        while time.perf_counter() < until:
            spent.inference_s = self.compute_s
        return ChunkResult(ref=chunk.ref, labels=[], outcomes=[], preprocess_s=0.0,
                           inference_s=spent.inference_s)  # fmt: skip


@pytest.fixture
def compute(monkeypatch, caplog):
    """Runs the task; the lines that it logged."""
    monkeypatch.setattr(running, "_hosts", [])
    caplog.set_level(logging.DEBUG, "tasks.predict")

    def run(compute_s, timeout_ms):
        running.set_host(Computing(compute_s, timeout_ms))
        predict_chunk.run(MESSAGE)
        return caplog.records

    return run


def test_chunk_that_takes_too_much_of_its_callers_time_is_a_warning(compute):
    (line,) = compute(compute_s=0.004, timeout_ms=2)

    assert (line.levelname, line.message) == ("WARNING", "slow chunk")
    assert line.ms > SLOW_SHARE * 2
    assert (line.texts, line.inference_ms) == (1, 4.0)
    assert "secret" not in str(vars(line))


def test_other_chunks_are_told_to_debug_only(compute):
    (line,) = compute(compute_s=0.0, timeout_ms=600_000)

    assert (line.levelname, line.message) == ("DEBUG", "chunk answered")
