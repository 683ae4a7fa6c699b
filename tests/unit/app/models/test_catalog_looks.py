"""When the catalog looks at the disk, and what it goes by where the disk hangs or fails."""

import os
import resource
import threading
import time

import pytest

from app.models import directory
from app.models.base import Ref
from app.models.catalog import Catalog
from tests.models import activate, build_model
from tests.waiting import eventually


@pytest.fixture
def root(tmp_path):
    """sentiment-v1, and sentiment-v2, which is active."""
    build_model(tmp_path, "sentiment", "v1")
    build_model(tmp_path, "sentiment", "v2")
    activate(tmp_path, sentiment="v2")
    return tmp_path


class SlowDisk:
    """Looks at the models directory go on until the test ends them."""

    def __init__(self, monkeypatch):
        self.go_on, self.looks, self.real = threading.Event(), 0, directory.versions
        monkeypatch.setattr(directory, "versions", self.versions)

    def versions(self, root):
        self.looks += 1
        assert self.go_on.wait(10)
        return self.real(root)


@pytest.fixture
def known(root, monkeypatch):
    """A catalog that has looked once, and looks again whenever it is asked."""
    monkeypatch.setattr("app.models.catalog.RESCAN_S", 0.0)
    catalog = Catalog(root, "sentiment")
    catalog.entries()
    return catalog


def test_nobody_waits_for_a_disk_that_hangs(root, known, monkeypatch):
    disk = SlowDisk(monkeypatch)
    build_model(root, "sentiment", "v3")
    started = time.monotonic()

    answers = [str(known.resolve(text)) for text in ("sentiment", "v1", None) for _ in range(50)]

    assert set(answers) == {"sentiment-v1", "sentiment-v2"}
    assert time.monotonic() - started < 2
    assert disk.looks == 1
    disk.go_on.set()
    eventually(lambda: Ref("sentiment", "v3") in known.entries())


def test_fresh_look_is_one_that_began_after_it_was_asked_for(root, known, monkeypatch):
    disk = SlowDisk(monkeypatch)
    known.entries()
    found = []
    asked = threading.Thread(target=lambda: found.append(known.entries(fresh=True)))
    asked.start()
    build_model(root, "sentiment", "v3")

    disk.go_on.set()
    asked.join(10)

    assert Ref("sentiment", "v3") in found[0]
    assert disk.looks == 2


def test_next_look_is_due_when_a_second_has_passed_since_the_last_one_ended(root, monkeypatch):
    ended, real = [], directory.versions

    def versions(root):
        found = real(root)
        ended.append(time.monotonic())
        return found

    monkeypatch.setattr(directory, "versions", versions)
    catalog = Catalog(root, "sentiment")

    catalog.entries()

    assert catalog._looked_at >= ended[0]


@pytest.fixture
def descriptors():
    """Take all file descriptors from this process, and give them back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take():
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))

    def give():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    yield take, give
    give()


def test_process_without_file_descriptors_goes_by_its_last_look(root, known, descriptors, caplog):
    take, give = descriptors
    before = known.entries()
    take()

    assert [known.entries(fresh=True) for _ in range(3)] == [before] * 3
    assert str(known.resolve()) == "sentiment-v2"

    give()
    build_model(root, "sentiment", "v3")
    assert Ref("sentiment", "v3") in known.entries(fresh=True)
    assert caplog.messages == ["models directory not read"]


def test_manifest_that_could_not_be_read_is_read_again_though_it_is_as_it_was(
    root, known, descriptors, monkeypatch
):
    (take, give), real = descriptors, directory.versions
    monkeypatch.setattr(directory, "versions", lambda root: [real(root), take()][0])
    build_model(root, "sentiment", "v3")
    known.entries(fresh=True)
    give()
    monkeypatch.setattr(directory, "versions", real)

    assert known.entries(fresh=True)[Ref("sentiment", "v3")].error is None
