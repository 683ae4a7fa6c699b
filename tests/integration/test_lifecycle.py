"""Versions are swapped, loaded and unloaded over two workers, whatever is lost meanwhile."""

import pytest

from app import fleet
from app.errors import LoadFailed, NoPreviousVersion, SwapFailed, SwapInProgress
from app.models import rollout
from app.models.base import Ref
from app.models.progress import NO_HEARTBEAT
from tests.integration.machines import Machine, Operator
from tests.processes import RedisServer
from tests.waiting import eventually

WATCH = {"MLSERVE_MODELS__WATCH": "true"}


def begin_unheard(operator, ref, activate=True):
    """A rollout that no broadcast tells of."""
    operator.catalog.entries(fresh=True)
    operator.catalog.follow(operator.desired())
    return rollout.begin(
        operator.client,
        operator.catalog,
        operator.catalog.get(ref),
        activate=activate,
        now=operator.gateway.now(),
        timeout_s=30,
    )


def test_swap_makes_a_version_active_that_all_workers_hold(operator, machines, name):
    operator.add(name, "v1")
    for machine in machines:
        machine.add(name, "v2")

    ended = operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 30)

    assert [(row.hostname, row.status) for row in ended.workers] == [
        ("w1@fleet", "ready"),
        ("w2@fleet", "ready"),
    ]
    assert operator.desired().active[name] == "v2"
    assert operator.statuses(f"{name}-v2") == ["ready", "ready"]
    assert str(operator.catalog.resolve(name)) == f"{name}-v2"
    assert operator.predict(f"{name}-v1") != operator.predict(f"{name}-v2")


def test_roll_back_is_a_swap_to_the_version_before(operator, name):
    operator.add(name, "v1", "v2")
    with pytest.raises(NoPreviousVersion):
        operator.rollouts.roll_back(name)
    operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 30)

    operator.rollouts.wait(operator.rollouts.roll_back(name), 30)

    assert operator.desired().active[name] == "v1"
    assert operator.desired().previous[name] == "v2"


def test_swap_without_any_broadcast_is_carried_out_by_the_workers_alone(operator, machines, name):
    operator.add(name, "v1")
    for machine in machines:
        machine.add(name, "v2")

    begun = begin_unheard(operator, Ref(name, "v2"))

    eventually(lambda: operator.desired().active[name] == "v2", timeout_s=10)
    assert operator.progress(begun).state == "done"


def test_worker_without_the_version_keeps_the_name_where_it_is(operator, machines, name):
    operator.add(name, "v1")
    machines[0].add(name, "v2")

    with pytest.raises(SwapFailed) as caught:
        operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 30)

    reason = f"{name}-v2 is not in the models directory of this worker"
    assert caught.value.errors == {"w2@fleet": [reason]}
    assert "1 of 2 workers cannot hold it" in str(caught.value)
    assert operator.desired().active[name] == "v1"
    assert operator.predict(f"{name}-v1")


def test_worker_with_a_damaged_file_keeps_the_name_where_it_is_and_tells_why(
    operator, machines, name
):
    operator.add(name, "v1")
    machines[0].add(name, "v2")
    (machines[1].add(name, "v2") / "model.skops").write_bytes(b"damaged")

    with pytest.raises(LoadFailed) as caught:
        operator.rollouts.wait(operator.rollouts.load(Ref(name, "v2")), 30)

    assert "7 bytes" in caught.value.errors["w2@fleet"][0]
    assert operator.desired().active[name] == "v1"
    # Longer than the rollout, for as long as the file is there.
    eventually(lambda: operator.statuses(f"{name}-v2") == ["retiring", "failed"])
    assert operator.held(f"{name}-v2")["w2@fleet"].code == "artifact_mismatch"
    eventually(lambda: operator.statuses(f"{name}-v2") == ["failed"])


def test_version_whose_golden_texts_are_answered_otherwise_is_not_swapped_to(
    operator, machines, name
):
    operator.add(name, "v1")
    for machine in machines:
        golden = machine.add(name, "v2") / "golden.jsonl"
        golden.write_text('{"text": "good day", "label": "negative"}\n')

    with pytest.raises(SwapFailed) as caught:
        operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 30)

    said = f"{name}-v2: golden text 1 is 'positive', expected 'negative'"
    assert {reason for (reason,) in caught.value.errors.values()} == {said}
    assert operator.desired().active[name] == "v1"


def test_unloaded_version_retires_answers_on_and_goes(operator, name):
    operator.add(name, "v1", "v2")

    operator.rollouts.unload(Ref(name, "v2"))

    eventually(lambda: operator.statuses(f"{name}-v2") == ["retiring", "retiring"])
    assert operator.predict(f"{name}-v2")
    assert fleet.read(operator.client).holders(f"{name}-v2") == []
    eventually(lambda: operator.held(f"{name}-v2") == {}, timeout_s=15)
    assert operator.desired().active[name] == "v1"


def test_emptied_redis_heals_in_seconds_and_nothing_swapped_is_lost(operator, name):
    operator.add(name, "v1", "v2")
    operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 30)
    eventually(operator.is_copied)
    before = operator.desired()

    operator.client.flushall()

    healed = eventually(operator.desired, timeout_s=5)
    assert (healed.active, healed.loaded) == (before.active, before.loaded)
    assert healed.generation >= before.generation
    eventually(lambda: len(fleet.read(operator.client).hosts) == 2, timeout_s=5)
    assert operator.predict(f"{name}-v2")


def test_worker_that_is_killed_amid_a_swap_is_not_waited_for_and_comes_back_with_the_new_version(
    operator, machines, name
):
    operator.add(name, "v1")
    for machine in machines:
        machine.add(name, "v2")
    machines[1].worker.pause()
    begun = operator.rollouts.swap(Ref(name, "v2"))
    eventually(lambda: operator.statuses(f"{name}-v2") == ["ready"])
    with pytest.raises(SwapInProgress):
        operator.rollouts.swap(Ref(name, "v1"))
    machines[1].worker.kill()

    eventually(lambda: operator.progress(begun).workers[-1].error == NO_HEARTBEAT, timeout_s=10)
    eventually(lambda: operator.desired().active[name] == "v2", timeout_s=10)

    assert [row.hostname for row in operator.progress(begun).workers] == ["w1@fleet"]
    machines[0].worker.pause()
    try:
        machines[1].worker.launch()
        # Only the one that starts can take this, and it is its first task.
        assert operator.predict(f"{name}-v2", in_s=60)
    finally:
        machines[0].worker.resume()
    machines[1].worker.wait_until_ready()


def test_worker_that_starts_amid_a_swap_holds_the_version_before_its_first_task(
    operator, machines, name
):
    operator.add(name, "v1")
    for machine in machines:
        machine.add(name, "v2")
    machines[1].worker.stop()
    machines[0].worker.pause()
    try:
        begin_unheard(operator, Ref(name, "v2"))
        machines[1].worker.launch()
        assert operator.predict(f"{name}-v2", in_s=60)
    finally:
        machines[0].worker.resume()

    eventually(lambda: operator.desired().active[name] == "v2")
    machines[1].worker.wait_until_ready()
    eventually(lambda: operator.statuses(f"{name}-v2") == ["ready", "ready"])


def test_watching_worker_holds_what_is_moved_in_and_activates_nothing(tmp_path):
    with RedisServer() as redis:
        machine = Machine(redis, tmp_path, 1, **WATCH)
        machine.add("tiny", "v1")
        with machine.worker:
            operator = Operator([machine])
            elsewhere = Machine(redis, tmp_path, 2).add("tiny", "v2")

            elsewhere.rename(machine.models_dir / "tiny/v2")

            eventually(lambda: operator.statuses("tiny-v2") == ["ready"])
            assert operator.desired().active == {"tiny": "v1"}
            assert operator.desired().generation == 1
            operator.close()
