"""A thread that repeats one step: when it does, and what it tells where that fails."""

import io
import logging
import threading
from functools import partial

import pytest
import redis

from app import logs
from app.loop import Loop
from app.settings import Logging
from tests.waiting import eventually

NEVER_S = 3600.0


@pytest.fixture
def start():
    loops = []

    def start(step, every_s=NEVER_S, **options):
        loop = Loop("test", step, every_s, **options)
        loops.append(loop)
        loop.start()
        return loop

    yield start
    for loop in loops:
        loop.stop()
        loop.join(5)


def test_steps_at_once_and_again_when_nudged(start):
    steps = []
    loop = start(lambda: steps.append(1))
    eventually(lambda: len(steps) == 1)

    loop.nudge()

    eventually(lambda: len(steps) == 2)


def test_steps_by_itself(start):
    steps = []

    start(lambda: steps.append(1), every_s=0.001)

    eventually(lambda: len(steps) > 3)


def test_nudge_during_a_step_is_not_lost(start):
    entered, go_on, steps = threading.Event(), threading.Event(), []

    def step():
        steps.append(1)
        entered.set()
        go_on.wait(5)

    loop = start(step)
    entered.wait(5)

    loop.nudge()
    go_on.set()

    eventually(lambda: len(steps) == 2)


def test_step_may_say_when_it_is_due_again(start):
    steps = []

    def step():
        steps.append(1)
        return 0.001 if len(steps) == 1 else None

    start(step)

    eventually(lambda: len(steps) == 2)


def test_failing_step_is_tried_again_soon(start):
    steps = []

    def step():
        steps.append(1)
        raise ValueError

    start(step, retry_s=0.001)

    eventually(lambda: len(steps) > 3)


def test_step_without_a_pause_has_one_where_it_fails(start):
    steps = []

    def step():
        steps.append(1)
        raise ValueError

    loop = start(step, every_s=0, retry_s=NEVER_S)
    eventually(lambda: steps)

    loop.nudge()
    eventually(lambda: len(steps) > 1)

    loop.stop()
    loop.join(5)
    assert len(steps) == 2


def test_each_kind_of_failure_is_told_once(start, caplog):
    caplog.set_level(logging.WARNING)
    steps = []

    def step():
        steps.append(1)
        raise redis.ConnectionError("gone") if len(steps) % 2 else ValueError("broken")

    start(step, every_s=0.001)
    eventually(lambda: len(steps) > 5)

    away, broken = caplog.records
    assert (away.loop, broken.loop) == ("test", "test")
    assert "ConnectionError" in away.cause
    assert away.exc_info is None


def test_words_of_a_failure_are_in_no_log(start, monkeypatch):
    handler = logs.make_handler(Logging(format="json"), "worker")
    monkeypatch.setattr(handler, "stream", io.StringIO())
    monkeypatch.setattr(logging.getLogger("app.loop"), "handlers", [handler])

    start(partial(int, "a secret"))

    written = eventually(handler.stream.getvalue)
    assert "ValueError" in written
    assert "secret" not in written


def test_end_is_called_in_the_thread_and_join_waits_for_it(start):
    ended_in = []
    loop = start(lambda: None, at_end=lambda: ended_in.append(threading.current_thread().name))

    loop.stop()
    loop.join(5)

    assert ended_in == ["test"]


def test_loop_that_was_never_started_can_be_stopped():
    loop = Loop("test", lambda: None, NEVER_S)

    loop.stop()
    loop.join(5)
