"""The processes of tests."""

import shutil
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tests.processes import ROOT
from tests.waiting import eventually

KILLED = """
import os, signal
from tests.processes import RedisServer

redis = RedisServer().start()
print(redis.pid, redis.directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_redis_does_not_outlive_a_killed_test_run():
    argv = [sys.executable, "-c", KILLED]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    pid, directory = run.stdout.split()

    try:
        eventually(lambda: not is_running(int(pid)))
    finally:
        if is_running(int(pid)):
            psutil.Process(int(pid)).kill()
        shutil.rmtree(directory)


def is_running(pid):
    with suppress(psutil.NoSuchProcess):
        # Whoever inherits it may take its time to ask how it ended.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
