"""Passes of one host by hand: what it holds, tells and writes, whatever Redis and the disk do."""

import shutil

import pytest
import redis

from app import fleet
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from app.models.desired import DESIRED_FILE, DESIRED_KEY
from app.models.rollout import OUTCOME_PREFIX
from tests.models import build_model, skops_bytes
from tests.waiting import eventually

V1, V2, V3 = (Ref("tiny", version) for version in ("v1", "v2", "v3"))


def begin(part, ref, activate=True):
    part.catalog.entries(fresh=True)
    part.catalog.follow(part.desired())
    return rollout.begin(
        part.client,
        part.catalog,
        part.catalog.get(ref),
        activate=activate,
        now=part.now,
        timeout_s=10,
    )


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


def test_host_that_starts_amid_a_swap_loads_what_is_coming_before_its_first_task(make_part, part):
    part.step()
    begin(part, V2)

    late = make_part(hostname="w2@test", is_open=False)

    assert late.step() == ["tiny-v1", "tiny-v2"]


def test_version_that_appears_is_held_only_when_somebody_asks_for_it(part):
    part.step()
    build_model(part.root, version="v3", strength=2.0)

    assert part.step() == ["tiny-v1", "tiny-v2"]

    begin(part, V3, activate=False)
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


def test_swap_of_one_host_is_carried_out_by_its_passes(part):
    part.step()
    begun = begin(part, V2)

    part.step()

    assert part.desired().active == {"tiny": "v2"}
    assert part.client.exists(OUTCOME_PREFIX + begun)
    assert part.reconciler.step() is None
    assert part.beats[-1].generation == part.desired().generation


def test_pass_while_others_are_waited_for_comes_back_soon(make_part, part):
    other = make_part(hostname="w2@test")
    part.step()
    other.step()
    build_model(part.root, version="v3", strength=2.0)
    begin(part, V3)

    assert 0 < part.reconciler.step() < 1
    assert part.desired().active == {"tiny": "v1"}
    other.step()
    assert part.desired().active == {"tiny": "v3"}


def test_swap_to_a_damaged_version_ends_with_the_reason_and_keeps_it(part):
    part.step()
    (build_model(part.root, version="v3") / "model.skops").write_bytes(b"damaged")
    begun = begin(part, V3)

    part.step()
    part.step()

    ended = rollout.look(part.client, part.catalog, fleet.read(part.client), begun)
    assert (ended.state, "7 bytes" in ended.workers[0].error) == ("failed", True)
    assert part.desired().active == {"tiny": "v1"}
    assert part.told("tiny-v3").code == "artifact_mismatch"


def test_asking_again_for_a_version_that_failed_tries_it_again(part):
    part.step()
    path = build_model(part.root, version="v3", strength=2.0)
    stat = (path / "model.skops").stat()
    (path / "model.skops").write_bytes(b"damaged")
    begin(part, V3)
    part.step()
    (path / "model.skops").write_bytes(skops_bytes(2.0))
    assert stat.st_size == len(skops_bytes(2.0))

    begin(part, V3)
    part.step()

    assert part.desired().active == {"tiny": "v3"}


def test_emptied_redis_is_filled_again(part):
    part.step()
    begin(part, V2)
    part.step()
    before = part.desired()
    part.client.flushall()

    part.step()

    assert part.desired() == before


def test_copy_on_disk_brings_back_what_served_before_everything_stopped(make_part, part):
    part.step()
    begin(part, V2)
    part.step()
    part.step()
    part.client.flushall()

    restarted = make_part(is_open=False)

    assert restarted.step() == ["tiny-v2"]
    assert restarted.desired().active == {"tiny": "v2"}


def test_state_of_another_version_of_mlserve_is_left_alone_and_told_once(part, caplog):
    part.client.set(DESIRED_KEY, b'{"v": 2}')

    assert part.step() == ["tiny-v1", "tiny-v2"]
    part.step()

    assert part.client.get(DESIRED_KEY) == b'{"v": 2}'
    assert not (part.root / DESIRED_FILE).exists()
    assert [record.cause for record in caplog.records if "not understood" in record.message] == [
        "message refused: version 2, this process speaks 1"
    ]


def test_copy_that_cannot_be_written_is_told_once_and_harms_nothing(part, caplog):
    (part.root / DESIRED_FILE).mkdir()

    assert part.step() == ["tiny-v1", "tiny-v2"]
    part.step()

    assert [r.cause for r in caplog.records if "no copy" in r.message] == ["Is a directory"]


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


@pytest.fixture
def running(part):
    """The host with its thread."""
    part.reconciler.start()
    yield part
    part.reconciler.stop()


def test_start_returns_when_the_active_version_is_held(make_part):
    part = make_part(is_open=False)

    part.reconciler.start()
    part.reconciler.stop()

    assert part.registry.holds("tiny-v1")


def test_start_returns_when_redis_holds_what_it_cannot_understand(make_part):
    part = make_part(is_open=False)
    part.client.set(DESIRED_KEY, b"garbage")

    part.reconciler.start()
    part.reconciler.stop()

    assert part.registry.holds("tiny-v1")


def test_start_returns_when_the_first_pass_fails(make_part, monkeypatch):
    part = make_part(is_open=False)
    monkeypatch.setattr(part.registry, "reconcile", lambda *_, **__: 1 // 0)

    part.reconciler.start()
    part.reconciler.stop()

    assert part.ready() == []


def test_open_sees_a_swap_that_was_decided_since_the_start(make_part, part):
    part.step()
    late = make_part(hostname="w2@test", is_open=False)
    late.is_announced = False
    late.reconciler.start()
    assert late.ready() == ["tiny-v1"]
    begin(part, V2)
    part.step()
    assert part.desired().active == {"tiny": "v2"}

    late.reconciler.open(timeout_s=10)

    assert "tiny-v2" in late.ready()
    late.reconciler.stop()


def test_who_waits_for_a_version_gets_it_with_the_next_pass(running):
    build_model(running.root, version="v3", strength=2.0)
    begin(running, V3, activate=False)

    running.reconciler.wait_for("tiny-v3", timeout_s=10)

    assert running.registry.holds("tiny-v3")


@pytest.mark.timeout(20)
def test_who_waits_for_a_version_that_does_not_come_is_let_go(running):
    running.reconciler.wait_for("tiny-v9", timeout_s=60)

    assert not running.registry.holds("tiny-v9")


def gone(*_):
    raise redis.ConnectionError("gone")


def test_pass_that_cannot_tell_the_fleet_goes_on(part, monkeypatch):
    monkeypatch.setattr(part.reconciler, "_beat", gone)

    assert part.step() == ["tiny-v1", "tiny-v2"]


def test_without_redis_the_copy_has_to_do(make_part, part, monkeypatch):
    part.step()
    begin(part, V2)
    part.step()
    part.step()
    monkeypatch.setattr(document, "agree", gone)

    alone = make_part(is_open=False)

    assert alone.step() == ["tiny-v2"]
    assert alone.reconciler.step() is None
