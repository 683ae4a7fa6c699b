"""Passes of one host by hand: what it holds and tells, whatever is on disk."""

import shutil

from app import fleet
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from tests.models import build_model
from tests.waiting import eventually

V1, V2, V3 = (Ref("tiny", version) for version in ("v1", "v2", "v3"))


def test_first_pass_holds_what_is_on_disk_and_writes_it_down(part):
    assert part.step() == ["tiny-v1", "tiny-v2"]

    desired = part.desired()
    assert (desired.generation, desired.active) == (1, {"tiny": "v1"})
    assert desired.loaded == ["tiny-v1", "tiny-v2"]
    assert document.read_copy(part.root) == desired
    assert part.beats[-1].generation == 1
    part.step()
    assert len(part.beats) == 1


def test_before_the_first_task_only_what_serves_is_loaded(make_part):
    part = make_part(is_open=False)

    assert part.step() == ["tiny-v1"]

    part.reconciler._is_open = True
    assert part.step() == ["tiny-v1", "tiny-v2"]


def test_version_that_appears_is_held_only_when_somebody_asks_for_it(part):
    part.step()
    build_model(part.root, version="v3", strength=2.0)

    assert part.step() == ["tiny-v1", "tiny-v2"]

    part.begin(V3, activate=False)
    assert part.step() == ["tiny-v1", "tiny-v2", "tiny-v3"]
    assert part.desired().active == {"tiny": "v1"}


def test_watching_holds_what_appears_and_activates_nothing(make_part):
    part = make_part(watch=True)
    part.step()
    build_model(part.root, version="v3", strength=2.0)

    assert part.step() == ["tiny-v1", "tiny-v2", "tiny-v3"]

    assert part.desired().active == {"tiny": "v1"}
    rollout.unload(part.client, part.catalog, V3)
    assert part.step() == ["tiny-v1", "tiny-v2"]


def test_watching_waits_for_a_directory_that_is_written_in_place(make_part):
    part = make_part(watch=True)
    part.step()
    whole = build_model(part.root, version="v3", strength=2.0)
    content = (whole / "model.skops").read_bytes()
    manifest = (whole / "model.yaml").read_bytes()
    (whole / "model.yaml").unlink()
    (whole / "model.skops").write_bytes(content[:1000])
    told = []

    for write in (
        lambda: None,
        lambda: (whole / "model.yaml").write_bytes(manifest),
        lambda: (whole / "model.skops").write_bytes(content),
    ):
        write()
        part.step()
        told.append(part.told("tiny-v3").code)

    assert told == ["manifest_invalid", "artifact_mismatch", None]
    assert "tiny-v3" in part.ready()


def test_first_version_of_the_default_name_is_held_when_it_appears(make_part, tmp_path):
    (tmp_path / "empty").mkdir()
    part = make_part(tmp_path / "empty")
    assert part.step() == []

    build_model(part.root)

    assert part.step() == ["tiny-v1"]


def test_missing_models_directory_is_an_empty_one(make_part, tmp_path):
    part = make_part(tmp_path / "absent")

    assert part.step() == []
    assert part.desired().active == {}


def test_directories_with_names_that_are_not_allowed_keep_nothing_from_being_held(part):
    for name in ("Tiny/v1", "tiny/v-1", "tiny/V1"):
        shutil.copytree(part.root / "tiny/v1", part.root / name)

    assert part.step() == ["tiny-v1", "tiny-v2"]
    assert part.desired().loaded == ["tiny-v1", "tiny-v2"]


def test_active_version_that_left_the_disk_is_held_on_and_told(part):
    part.step()
    shutil.rmtree(part.root / "tiny/v1")

    assert part.step() == ["tiny-v1", "tiny-v2"]

    assert part.told("tiny-v1").code == "version_missing"
    assert str(part.catalog.resolve("tiny")) == "tiny-v1"
    assert part.catalog.get(V1).manifest is not None
    assert part.desired().active == {"tiny": "v1"}


def test_lone_version_does_not_take_the_place_of_an_active_one_that_is_not_here(make_part, part):
    part.step()
    shutil.rmtree(part.root / "tiny/v1")

    late = make_part(hostname="w2@test")
    late.step()

    assert late.catalog.active("tiny") is None
    assert late.told("tiny-v1").code == "version_missing"


def test_unloaded_version_retires_and_then_goes(make_part):
    part = make_part(retire_after_s=0.2)
    part.step()
    rollout.unload(part.client, part.catalog, V2)

    assert part.step() == ["tiny-v1"]
    assert part.told("tiny-v2").status == fleet.RETIRING
    assert eventually(lambda: part.step() and part.told("tiny-v2") is None)


def test_nobody_asks_for_an_unloaded_version_although_one_host_is_late(make_part, part):
    late = make_part(hostname="w2@test")
    part.step()
    late.step()

    rollout.unload(part.client, part.catalog, V2)
    part.step()

    assert late.told("tiny-v2").status == fleet.READY
    assert fleet.read(part.client).holders("tiny-v2") == []
    assert len(fleet.read(part.client).holders("tiny-v1")) == 2
