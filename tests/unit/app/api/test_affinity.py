"""One core for each process whose threads share a lock."""

import json
import os
import subprocess
import sys
import threading
import uuid
from contextlib import ExitStack

import pytest

from app.api import affinity
from app.api.affinity import OneCore

needs_cores = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs two cores and Linux"
)
# An argument cannot hold the NUL that an abstract name begins with.
# From the file: its package imports what takes half a second.
PROCESS = """
import json, os, runpy, sys

os.sched_setaffinity(0, json.loads(sys.argv[2]))
core = runpy.run_path(sys.argv[3])["OneCore"](chr(0) + sys.argv[1])
core.settle()
print(json.dumps(sorted(os.sched_getaffinity(0))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claim():
    """A name that no other process on this machine uses."""
    return f"\0{uuid.uuid4().hex}-{{}}"


class Settled:
    """A process that took its core, and holds it until it is closed."""

    def __init__(self, claim, allowed):
        argv = [sys.executable, "-c", PROCESS, claim[1:], json.dumps(allowed), affinity.__file__]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.cores = json.loads(self._child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.communicate()


def cores_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
    thread.start()
    thread.join()
    return found[0]


@needs_cores
def test_threads_that_are_there_and_those_that_follow_are_on_one_core(claim):
    before, core, ends, seen = os.sched_getaffinity(0), OneCore(claim), threading.Event(), []
    older = threading.Thread(target=lambda: (ends.wait(), seen.append(os.sched_getaffinity(0))))
    older.start()

    core.settle()
    try:
        one = os.sched_getaffinity(0)
        newer = cores_of_a_new_thread()
        ends.set()
        older.join()
    finally:
        core.leave()

    assert len(one) == 1
    assert newer == one == seen[0]
    assert os.sched_getaffinity(0) == cores_of_a_new_thread() == before


@needs_cores
def test_processes_take_a_core_each_while_there_are_any(claim):
    allowed = sorted(os.sched_getaffinity(0))[:2]
    with ExitStack() as stack:
        first, second, third = (
            stack.enter_context(Settled(claim, allowed)).cores for _ in range(3)
        )

    assert sorted(first + second) == allowed
    assert third == allowed


@needs_cores
def test_core_of_a_process_that_is_gone_is_free(claim):
    allowed = sorted(os.sched_getaffinity(0))[:2]
    with Settled(claim, allowed) as first:
        with Settled(claim, allowed) as second:
            assert second.cores != first.cores
        with Settled(claim, allowed) as third:
            assert third.cores == second.cores


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's here")
def test_process_with_one_core_takes_it_from_nobody(claim):
    allowed = sorted(os.sched_getaffinity(0))[:1]
    with Settled(claim, allowed) as first, Settled(claim, allowed) as second:
        assert first.cores == second.cores == allowed


@needs_cores
def test_leaving_without_having_settled_changes_nothing(claim):
    before = os.sched_getaffinity(0)

    OneCore(claim).leave()

    assert os.sched_getaffinity(0) == before
