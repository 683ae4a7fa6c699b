"""Worker processes times threads are the cores, and torch does as it is told."""

import os
import subprocess
import sys

import pytest

from app.models import threads
from app.settings import Worker

PROGRAM = """
import sys, threading
from app.models import threads
if sys.argv[1] != "-":
    threads.use(int(sys.argv[1]))
import app.models.formats.torch_format
import torch
torch.zeros(1)
found = []
thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
thread.start()
thread.join()
print(torch.get_num_threads(), found[0], torch.get_num_interop_threads())
"""


@pytest.mark.parametrize(
    ("cores", "settings", "expected"),
    [
        pytest.param(8, {}, 1, id="a process for each core"),
        pytest.param(8, {"processes": 1}, 8, id="one process"),
        pytest.param(8, {"processes": 3}, 2, id="what is left over stays idle"),
        pytest.param(2, {"processes": 4}, 1, id="more processes than cores"),
        pytest.param(8, {"processes": 1, "threads": 3}, 3, id="as it is set"),
    ],
)
def test_threads_are_what_the_processes_leave_of_the_cores(monkeypatch, cores, settings, expected):
    monkeypatch.setattr(threads, "cores", lambda: cores)

    assert threads.threads_of(Worker(**settings)) == expected


def test_torch_has_the_threads_in_every_thread_whatever_the_environment_says():
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, "3"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)

    assert ended.stdout.split() == ["3", "3", "1"]


def test_torch_is_left_as_it_is_where_nothing_was_chosen():
    environ = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    command = [sys.executable, "-c", PROGRAM, "-"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)

    assert ended.stdout.split()[:2] == ["2", "2"]
