"""A load that takes too long or too much is an ordinary error."""

import gc
import threading
import weakref

import pytest

from app.errors import ArtifactInvalid, LoadTimedOut, MemoryLimitReached
from app.models import attempt as module
from app.models.attempt import Attempts, Bounds, resident_bytes
from app.models.fatal_loads import FatalLoads
from tests.models import build_model, entry
from tests.waiting import eventually

MB = 1 << 20


@pytest.fixture
def version(tmp_path):
    return entry(build_model(tmp_path))


@pytest.fixture
def gate():
    """What a load that hangs waits for; opened at the end, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


class Loaded:
    """Something that can be seen to be gone."""


def load_threads():
    return [thread for thread in threading.enumerate() if thread.name == "load"]


def test_result_is_that_of_the_load(version):
    assert Attempts().run(version, lambda: "model") == "model"


def test_error_of_the_load_is_raised_as_it_is(version):
    def fail():
        raise ArtifactInvalid("tiny-v1", "why")

    with pytest.raises(ArtifactInvalid, match="tiny-v1: why"):
        Attempts(Bounds(timeout_s=10)).run(version, fail)


def test_load_that_hangs_is_given_up(version, gate):
    with pytest.raises(LoadTimedOut, match=r"tiny-v1 was not loaded within .* = 0\.05"):
        Attempts(Bounds(timeout_s=0.05)).run(version, gate.wait)


def test_no_second_load_is_begun_while_the_first_one_hangs(version, gate):
    attempts, begun = Attempts(Bounds(timeout_s=0.05)), []

    for _ in range(3):
        with pytest.raises(LoadTimedOut):
            attempts.run(version, lambda: begun.append(1) or gate.wait())

    assert len(begun) == len(load_threads()) == 1


def test_version_can_be_loaded_again_once_the_load_that_hung_has_ended(version, gate):
    attempts = Attempts(Bounds(timeout_s=0.05))
    with pytest.raises(LoadTimedOut):
        attempts.run(version, gate.wait)
    gate.set()
    eventually(lambda: not load_threads())

    assert attempts.run(version, lambda: "model") == "model"


def test_other_versions_are_loaded_while_one_hangs(tmp_path, version, gate):
    other = entry(build_model(tmp_path, version="v2"))
    attempts = Attempts(Bounds(timeout_s=0.05))
    with pytest.raises(LoadTimedOut):
        attempts.run(version, gate.wait)

    assert attempts.run(other, lambda: "model") == "model"


def test_result_that_came_too_late_is_dropped(version, gate):
    made = []

    def load():
        gate.wait()
        loaded = Loaded()
        made.append(weakref.ref(loaded))
        return loaded

    attempts = Attempts(Bounds(timeout_s=0.05))
    with pytest.raises(LoadTimedOut):
        attempts.run(version, load)
    gate.set()
    eventually(lambda: made and not load_threads())

    gc.collect()
    assert made[0]() is None


def test_load_that_hangs_is_remembered_until_it_has_ended(version, gate, tmp_path):
    directory = tmp_path / "loads"
    bounds = Bounds(timeout_s=0.05, fatal_loads=FatalLoads(directory))
    with pytest.raises(LoadTimedOut):
        Attempts(bounds).run(version, gate.wait)
    assert len(list(directory.iterdir())) == 1

    gate.set()

    eventually(lambda: not list(directory.iterdir()))


def test_version_whose_files_cannot_fit_is_not_even_tried(version):
    bounds = Bounds(max_memory_bytes=resident_bytes() // 2)

    with pytest.raises(MemoryLimitReached) as caught:
        Attempts(bounds).run(version, lambda: pytest.fail("it was tried"))

    ref, needed_mb, limit_mb = caught.value.args
    assert ref == "tiny-v1"
    assert needed_mb > limit_mb == bounds.max_memory_bytes // MB


def test_version_that_turned_out_too_large_is_let_go_of(version):
    made = []

    def load():
        loaded = bytearray(b"x" * (120 * MB))
        made.append(len(loaded))
        return loaded

    before = resident_bytes()
    with pytest.raises(MemoryLimitReached):
        Attempts(Bounds(max_memory_bytes=before + 60 * MB)).run(version, load)

    assert made
    assert resident_bytes() < before + 60 * MB


def test_memory_that_can_be_given_back_refuses_no_load(version, monkeypatch):
    """What was freed before may be counted until glibc is told to return it."""
    seen = iter([300 * MB, 90 * MB])
    returned = []
    monkeypatch.setattr(module, "resident_bytes", lambda: next(seen, 90 * MB))
    monkeypatch.setattr(module, "give_back", lambda: returned.append(1))

    loaded = Attempts(Bounds(max_memory_bytes=100 * MB)).run(version, lambda: "model")

    assert (loaded, returned) == ("model", [1])
