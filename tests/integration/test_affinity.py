"""The threads of a real API process, and the cores that they may use."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from app.api.affinity import WITHOUT_LOCK
from tests.processes import ApiProcess

# Beside others that took the cores there would be none left.
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
        reason="needs two cores and Linux",
    ),
]
NO_REDIS = "unix:///nowhere.sock"


def cores_by_thread(api):
    """Whether a thread is one of the server's own, and its cores, for each thread."""
    (child,) = psutil.Process(api.pid).children()
    threads = Path(f"/proc/{child.pid}/task").iterdir()
    return [
        (
            (thread / "comm").read_text().strip() == WITHOUT_LOCK,
            os.sched_getaffinity(int(thread.name)),
        )
        for thread in threads
    ]


def test_threads_that_share_the_lock_are_on_one_core_and_the_servers_own_anywhere(tmp_path):
    with ApiProcess(NO_REDIS, tmp_path) as api:
        found = cores_by_thread(api)

    own = [cores for is_own, cores in found if is_own]
    shared = [cores for is_own, cores in found if not is_own]
    assert own == [os.sched_getaffinity(0)] * len(own) != []
    assert shared == [shared[0]] * len(shared)
    assert len(shared[0]) == 1 < len(shared)


def test_threads_go_where_they_like_without_affinity(tmp_path):
    env = {"MLSERVE_SERVER__CPU_AFFINITY": "false"}
    with ApiProcess(NO_REDIS, tmp_path, env=env) as api:
        found = cores_by_thread(api)

    assert all(cores == os.sched_getaffinity(0) for _, cores in found)
