"""Versions that cannot be loaded: the reason is told, and mending them is enough."""

import gc
import shutil
import threading
import weakref

import pytest

from app.errors import ArtifactInvalid, ModelUnavailable
from app.fleet import FAILED, READY
from app.models import registry as registry_module
from app.models.attempt import Bounds
from app.models.base import Ref
from tests.models import build_model, edit_manifest, skops_bytes
from tests.unit.app.models.disks import Disk

V1, V2 = Ref("tiny", "v1"), Ref("tiny", "v2")


def test_broken_version_is_reported_and_the_others_serve(disk):
    broken = build_model(disk.root, version="v2", strength=1.0)
    (broken / "model.skops").write_bytes(b"damaged")

    changes = disk.reconcile()

    assert (changes.loaded, changes.failed) == (["tiny-v1"], ["tiny-v2"])
    assert disk.held()["tiny-v2"].status == FAILED
    assert "7 bytes" in disk.held()["tiny-v2"].error
    with pytest.raises(ModelUnavailable, match="7 bytes"):
        disk.registry.get("tiny-v2")


def test_unchanged_broken_version_is_not_tried_again(disk, loads):
    (disk.root / "tiny/v1/model.skops").write_bytes(b"damaged")

    disk.reconcile()
    again = disk.reconcile()

    assert not again
    assert loads == ["tiny-v1"]


def test_version_whose_file_was_mended_is_tried_again(disk):
    (disk.root / "tiny/v1/model.skops").write_bytes(b"damaged")
    disk.reconcile()

    (disk.root / "tiny/v1/model.skops").write_bytes(skops_bytes())

    assert disk.reconcile().loaded == ["tiny-v1"]
    assert disk.held()["tiny-v1"].error is None


def test_version_whose_manifest_was_mended_is_tried_again(disk):
    edit_manifest(disk.root / "tiny/v1", libraries={})
    disk.reconcile()
    assert disk.held()["tiny-v1"].status == FAILED

    edit_manifest(disk.root / "tiny/v1", libraries={"scikit-learn": "0.1"})
    disk.reconcile()

    assert "written with scikit-learn 0.1" in disk.held()["tiny-v1"].error


def test_loaded_version_keeps_serving_when_its_manifest_breaks(disk):
    disk.reconcile()

    (disk.root / "tiny/v1/model.yaml").write_text("not: a manifest")
    changes = disk.reconcile()

    assert changes.failed == ["tiny-v1"]
    assert disk.held()["tiny-v1"].status == READY
    assert "model.yaml" in disk.held()["tiny-v1"].error
    assert disk.registry.get("tiny-v1")


def test_manifest_that_was_put_back_clears_the_error(disk):
    disk.reconcile()
    manifest = (disk.root / "tiny/v1/model.yaml").read_text()
    (disk.root / "tiny/v1/model.yaml").write_text("not: a manifest")
    disk.reconcile()

    (disk.root / "tiny/v1/model.yaml").write_text(manifest)
    disk.reconcile()

    assert disk.held()["tiny-v1"].error is None


def test_error_of_a_version_that_left_the_disk_is_forgotten(disk):
    (disk.root / "tiny/v1/model.skops").write_bytes(b"damaged")
    disk.reconcile()

    shutil.rmtree(disk.root / "tiny")
    disk.reconcile()

    assert disk.registry.held() == []


def test_missing_version_is_told_and_what_is_held_of_it_stays(disk):
    disk.reconcile()
    shutil.rmtree(disk.root / "tiny/v1")

    changes = disk.reconcile(missing=[V1, V2])

    assert (changes.dropped, changes.failed) == ([], ["tiny-v1", "tiny-v2"])
    held = disk.held()
    assert (held["tiny-v1"].status, held["tiny-v2"].status) == (READY, FAILED)
    assert held["tiny-v1"].code == held["tiny-v2"].code == "version_missing"
    assert not disk.reconcile(missing=[V1, V2])
    build_model(disk.root)
    disk.reconcile()
    assert disk.held()["tiny-v1"].error is None


def test_reason_of_a_failure_is_told_after_nobody_wants_the_version_any_more(disk):
    broken = build_model(disk.root, version="v2", strength=1.0)
    (broken / "model.skops").write_bytes(b"damaged")
    disk.reconcile()

    disk.reconcile(unwanted=[V2])

    assert (disk.held()["tiny-v2"].status, disk.held()["tiny-v2"].code) == (
        FAILED,
        "artifact_mismatch",
    )
    (broken / "model.skops").write_bytes(skops_bytes(1.0))
    disk.reconcile(unwanted=[V2])
    assert "tiny-v2" not in disk.held()


def test_version_that_somebody_asks_for_again_is_tried_although_nothing_changed(disk, loads):
    (disk.root / "tiny/v1/model.skops").write_bytes(b"damaged")
    disk.reconcile()

    disk.registry.retry([V1])
    changes = disk.reconcile()

    assert changes.failed == ["tiny-v1"]
    assert loads == ["tiny-v1"] * 2


def test_version_whose_golden_set_was_mended_is_tried_again(disk):
    golden = disk.root / "tiny/v1/golden.jsonl"
    golden.write_text('{"text": "good day", "label": "negative"}\n')
    disk.reconcile()
    assert disk.held()["tiny-v1"].code == "golden_mismatch"

    golden.write_text('{"text": "good day", "label": "positive"}\n')

    assert disk.reconcile().loaded == ["tiny-v1"]


def test_version_that_hangs_while_it_is_loaded_fails_and_the_next_one_is_loaded(
    tmp_path, monkeypatch
):
    for version in ("v1", "v2"):
        build_model(tmp_path, version=version)
    disk = Disk(tmp_path, bounds=Bounds(timeout_s=1.0))
    gate, real = threading.Event(), registry_module.load
    monkeypatch.setattr(
        registry_module,
        "load",
        lambda entry, *rest: gate.wait() if entry.ref == V1 else real(entry, *rest),
    )

    changes = disk.reconcile()
    gate.set()

    assert (changes.loaded, changes.failed) == (["tiny-v2"], ["tiny-v1"])
    assert disk.held()["tiny-v1"].code == "load_timed_out"


def test_failure_keeps_nothing_of_what_was_read_for_it(disk, monkeypatch):
    kept = []

    class Content:
        """Something that can be seen to be gone."""

    def load(entry, *rest):
        content = Content()
        kept.append(weakref.ref(content))
        raise ArtifactInvalid("tiny-v1", "why")

    monkeypatch.setattr(registry_module, "load", load)
    disk.reconcile()

    gc.collect()
    assert disk.held()["tiny-v1"].status == FAILED
    assert kept[0]() is None
