"""Versions that could not be loaded for a cause that may pass: tried again by themselves."""

import errno
import os
import resource
import threading
import time
from contextlib import contextmanager

import pytest

from app.errors import (
    ArtifactInvalid,
    GoldenMismatch,
    LoadEndedWorker,
    LoadTimedOut,
    MemoryLimitReached,
)
from app.fleet import FAILED
from app.models import attempt as attempt_module
from app.models import registry as registry_module
from app.models.attempt import Bounds
from app.models.base import Ref
from app.models.fatal_loads import MAX_ENDS, FatalLoads
from app.models.retries import FIRST_S, MAX_S, REFUSED_S, wait_after
from tests.dying_loads import die
from tests.models import build_model, entry
from tests.unit.app.models.disks import Disk
from tests.waiting import eventually

V1 = Ref("tiny", "v1")
GB = 1 << 30


class Clock:
    """Monotonic seconds of the test's."""

    now = 100.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        """As if so much time had passed."""
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk(tmp_path, clock):
    """`tiny-v1`, and a registry that holds nothing, in the time of `clock`."""
    build_model(tmp_path)
    return Disk(tmp_path, monotonic=clock)


@contextmanager
def no_more_files():
    """No file can be opened by this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fail_for_want_of_files(disk):
    entries = disk.catalog.entries(fresh=True)
    with no_more_files():
        return disk.registry.reconcile(entries)


def caused_by(error):
    failure = ArtifactInvalid("tiny-v1", "why")
    failure.__cause__ = error
    return failure


@pytest.mark.parametrize(
    "error",
    [
        LoadTimedOut("tiny-v1", 60),
        MemoryLimitReached("tiny-v1", 2, 1),
        caused_by(OSError(errno.EIO, "input/output error")),
        caused_by(OSError(errno.ESTALE, "stale file handle")),
        caused_by(PermissionError(errno.EACCES, "permission denied")),
        caused_by(caused_by(MemoryError())),
    ],
)
def test_cause_that_may_pass_is_waited_for_twice_as_long_each_time_up_to_a_limit(error):
    waits = [None]
    for _ in range(7):
        waits.append(wait_after(error, waits[-1]))

    assert waits[1:] == [FIRST_S, 60, 120, 240, 480, MAX_S, MAX_S]


@pytest.mark.parametrize(
    "error",
    [
        ArtifactInvalid("tiny-v1", "its shape"),
        GoldenMismatch("tiny-v1", "a text"),
        caused_by(FileNotFoundError(errno.ENOENT, "no such file")),
        caused_by(OSError(errno.ELOOP, "a link")),
        caused_by(OSError("not the content that a library wants")),
    ],
)
def test_cause_in_the_files_themselves_is_not_waited_for(error):
    assert wait_after(error) is None


def test_version_that_is_refused_untried_is_looked_at_every_minute():
    error = LoadEndedWorker("tiny-v1", 3, "10:00")

    assert [wait_after(error, before_s) for before_s in (None, 60.0, MAX_S)] == [REFUSED_S] * 3


def test_version_that_ended_its_workers_is_not_tried_for_whoever_asks(tmp_path, clock, loads):
    digest = entry(build_model(tmp_path / "models")).manifest.digest
    die(tmp_path / "loads", "tiny-v1", digest, times=MAX_ENDS)
    bounds = Bounds(fatal_loads=FatalLoads(tmp_path / "loads"))
    disk = Disk(tmp_path / "models", monotonic=clock, bounds=bounds)
    assert disk.reconcile().failed == ["tiny-v1"]

    disk.registry.retry([V1])
    assert disk.reconcile().failed == ["tiny-v1"]
    clock.wait(REFUSED_S)
    assert not disk.reconcile()

    assert loads == []
    assert disk.held()["tiny-v1"].code == "load_ended_worker"


def test_version_that_ended_its_workers_is_tried_an_hour_later_by_itself(tmp_path, clock):
    digest = entry(build_model(tmp_path / "models")).manifest.digest
    die(tmp_path / "loads", "tiny-v1", digest, times=MAX_ENDS)
    bounds = Bounds(fatal_loads=FatalLoads(tmp_path / "loads"))
    disk = Disk(tmp_path / "models", monotonic=clock, bounds=bounds)
    assert disk.reconcile().failed == ["tiny-v1"]

    for path in (tmp_path / "loads").iterdir():
        os.utime(path, (time.time() - 3601,) * 2)
    clock.wait(REFUSED_S)

    assert disk.reconcile().loaded == ["tiny-v1"]


def test_version_that_found_no_free_file_is_loaded_half_a_minute_later(disk, clock, loads):
    assert fail_for_want_of_files(disk).failed == ["tiny-v1"]
    assert "Too many open files" in disk.held()["tiny-v1"].error

    clock.wait(FIRST_S - 1)
    assert not disk.reconcile()
    assert loads == ["tiny-v1"]
    clock.wait(1)

    assert disk.reconcile().loaded == ["tiny-v1"]
    assert disk.held()["tiny-v1"].error is None


def test_failure_that_lasts_is_told_once_and_tried_at_growing_intervals(disk, clock, loads):
    tried = []
    for second in range(0, 240, 10):
        changes = fail_for_want_of_files(disk)
        assert changes.failed == ([] if second else ["tiny-v1"])
        tried += [second] * (len(loads) - len(tried))
        clock.wait(10)

    assert tried == [0, 30, 90, 210]


def test_somebody_who_asks_for_the_version_need_not_wait(disk):
    fail_for_want_of_files(disk)

    disk.registry.retry([V1])

    assert disk.reconcile().loaded == ["tiny-v1"]


def test_damaged_version_is_not_tried_again_however_late(disk, clock, loads):
    (disk.root / "tiny/v1/model.skops").write_bytes(b"damaged")
    disk.reconcile()

    clock.wait(10 * MAX_S)
    disk.reconcile()

    assert loads == ["tiny-v1"]


def test_version_that_did_not_fit_beside_another_is_loaded_when_that_one_has_gone(
    tmp_path, clock, monkeypatch
):
    build_model(tmp_path)
    disk = Disk(tmp_path, monotonic=clock, bounds=Bounds(max_memory_bytes=GB))
    monkeypatch.setattr(attempt_module, "resident_bytes", lambda: 2 * GB)
    disk.reconcile()
    assert disk.held()["tiny-v1"].code == "memory_limit_reached"
    monkeypatch.undo()

    clock.wait(FIRST_S)

    assert disk.reconcile().loaded == ["tiny-v1"]


def test_version_that_hangs_is_tried_again_only_when_the_first_attempt_has_ended(
    tmp_path, clock, monkeypatch
):
    build_model(tmp_path)
    disk = Disk(tmp_path, monotonic=clock, bounds=Bounds(timeout_s=2))
    gate, tried, real = threading.Event(), [], registry_module.load

    def load(entry, *rest):
        tried.append(entry.ref)
        if len(tried) == 1:
            gate.wait()
        return real(entry, *rest)

    monkeypatch.setattr(registry_module, "load", load)
    disk.reconcile()
    clock.wait(MAX_S)
    assert not disk.reconcile()
    assert disk.held()["tiny-v1"].status == FAILED

    gate.set()
    eventually(lambda: not any(thread.name == "load" for thread in threading.enumerate()))

    assert disk.reconcile().loaded == ["tiny-v1"]
    assert tried == [V1, V1]
