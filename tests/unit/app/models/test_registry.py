"""What a process holds, compared with what is on disk."""

import shutil
import threading

import numpy as np
import pytest

from app.errors import ModelUnavailable
from app.fleet import READY, RETIRING
from app.models.base import Ref
from tests.models import activate, build_model
from tests.unit.app.models.disks import Disk
from tests.waiting import eventually

V1 = Ref("tiny", "v1")


def test_what_is_on_disk_is_loaded_once(disk, loads):
    build_model(disk.root, version="v2", strength=1.0)

    changes = disk.reconcile()
    again = disk.reconcile()

    assert changes.loaded == ["tiny-v1", "tiny-v2"]
    assert not again
    assert loads == ["tiny-v1", "tiny-v2"]
    assert disk.held()["tiny-v1"].status == READY
    assert disk.held()["tiny-v1"].loaded_at == 5.0
    assert disk.registry.get("tiny-v2").digest == disk.held()["tiny-v2"].digest


def test_wanted_version_is_loaded_before_all_others(disk, loads):
    build_model(disk.root, version="v2", strength=1.0)
    build_model(disk.root, name="another")

    disk.reconcile(first=[Ref("tiny", "v2")])

    assert loads == ["tiny-v2", "another-v1", "tiny-v1"]


def test_active_version_of_the_catalog_can_be_the_first(disk, loads):
    build_model(disk.root, version="v2", strength=1.0)
    activate(disk.root, tiny="v2")

    disk.catalog.entries(fresh=True)
    disk.reconcile(first=[disk.catalog.active("tiny")])

    assert loads[0] == "tiny-v2"


def test_version_that_left_the_disk_is_dropped_and_its_users_keep_it(disk):
    disk.reconcile()
    model = disk.registry.get("tiny-v1")

    shutil.rmtree(disk.root / "tiny")
    changes = disk.reconcile()

    assert changes.dropped == ["tiny-v1"]
    assert disk.registry.held() == []
    assert np.isfinite(model.predictor.predict_proba(["good day"])).all()
    with pytest.raises(ModelUnavailable, match="does not hold it"):
        disk.registry.get("tiny-v1")


def test_readers_always_see_a_version_while_another_is_loaded(disk):
    """Every look, taken at any moment of a reconcile, finds the version that was there before."""
    disk.reconcile()
    build_model(disk.root, version="v2", strength=1.0)
    build_model(disk.root, version="v3", strength=2.0)
    done = threading.Event()
    looks = []

    def read():
        while not done.is_set():
            looks.append(disk.registry.get("tiny-v1").ref)

    reader = threading.Thread(target=read)
    reader.start()
    disk.reconcile()
    done.set()
    reader.join()

    assert set(looks) == {"tiny-v1"}
    assert len(disk.registry.held()) == 3


def test_each_load_is_one_line_with_ref_duration_and_memory(disk, caplog):
    caplog.set_level("INFO", "app.models.registry")

    disk.reconcile()

    (line,) = caplog.records
    assert (line.message, line.ref) == ("model loaded", "tiny-v1")
    assert line.duration_s >= 0
    assert line.memory_bytes >= 0


def test_version_that_is_not_wanted_retires_answers_and_is_then_dropped(tmp_path):
    build_model(tmp_path)
    disk = Disk(tmp_path, retire_after_s=0.2)
    disk.reconcile()

    changes = disk.reconcile(unwanted=[V1])

    assert (changes.retired, changes.dropped) == (["tiny-v1"], [])
    assert disk.held()["tiny-v1"].status == RETIRING
    assert disk.registry.get("tiny-v1")
    assert eventually(lambda: disk.reconcile(unwanted=[V1]).dropped) == ["tiny-v1"]
    assert disk.registry.held() == []


def test_retiring_version_that_is_wanted_again_is_ready_without_a_load(tmp_path, loads):
    build_model(tmp_path)
    disk = Disk(tmp_path, retire_after_s=1000)
    disk.reconcile()
    disk.reconcile(unwanted=[V1])

    disk.reconcile()

    assert disk.held()["tiny-v1"].status == READY
    assert loads == ["tiny-v1"]
    assert disk.reconcile(unwanted=[V1]).retired == ["tiny-v1"]
