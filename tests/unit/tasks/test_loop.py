"""The repeating thread of a worker."""

import logging
import threading

import pytest
import redis

from tasks.loop import Loop
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


def test_failing_step_is_tried_again_and_told_once(start, caplog):
    caplog.set_level(logging.WARNING)
    steps = []

    def step():
        steps.append(1)
        raise redis.ConnectionError("gone")

    start(step, every_s=0.001)
    eventually(lambda: len(steps) > 3)

    (record,) = caplog.records
    assert (record.loop, record.exc_info) == ("test", None)


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
