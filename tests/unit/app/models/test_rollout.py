"""A swap: every live host is ready before the name stands for another version, or it never does."""

import pytest

from app import fleet
from app.errors import (
    ManifestInvalid,
    ModelActive,
    NoPreviousVersion,
    NoWorker,
    RolloutNotFound,
    SwapInProgress,
)
from app.models import rollout
from app.models.base import Ref
from app.models.progress import NO_HEARTBEAT, WorkerRow
from app.models.rollout import MISSING_S, OUTCOME_TTL_S, REPORT_S
from tests.models import activate
from tests.unit.app.models.fleets import Host, Looker, add, outcome, stored

VERSIONS = [Ref(name, version) for name in ("tiny", "other") for version in ("v1", "v2", "v3")]


@pytest.fixture
def root(tmp_path):
    for ref in VERSIONS:
        add(tmp_path, ref)
    activate(tmp_path, tiny="v1", other="v1")
    return tmp_path


@pytest.fixture
def hosts(redis_client, root):
    """Two that hold what is on disk."""
    found = [Host(redis_client, root, f"w{number}@test") for number in (1, 2)]
    for host in found:
        host.work()
    return found


@pytest.fixture
def looker(redis_client, root, hosts):
    return Looker(redis_client, root)


def test_name_moves_when_all_hosts_are_ready_and_not_before(redis_client, hosts, looker):
    for host in hosts:
        host.broken.clear()
        host.models.pop("tiny-v2")
        host.beat()
    begun = looker.begin("tiny-v2", now=0)
    hosts[0].work()

    assert looker.advance(now=1).active["tiny"] == "v1"
    assert looker.progress(begun).workers == [
        WorkerRow("w1@test", "ready"),
        WorkerRow("w2@test", "waiting"),
    ]
    hosts[1].work()
    after = looker.advance(now=2)

    assert (after.active["tiny"], after.previous["tiny"]) == ("v2", "v1")
    assert after.rollouts == {}
    ended = looker.progress(begun)
    assert (ended.state, ended.ended_at, ended.reason) == ("done", 2, None)
    assert 0 < redis_client.ttl(rollout.OUTCOME_PREFIX + begun) <= OUTCOME_TTL_S


def test_host_that_cannot_hold_it_ends_the_rollout_and_the_name_stays(hosts, looker):
    for host in hosts:
        host.models.pop("tiny-v2")
        host.beat()
    hosts[1].broken.add("tiny-v2")
    begun = looker.begin("tiny-v2", now=0)
    for host in hosts:
        host.work()

    after = looker.advance(now=1)

    ended = looker.progress(begun)
    assert (ended.state, ended.reason) == ("failed", "1 of 2 workers cannot hold it")
    assert WorkerRow("w2@test", "failed", "it is broken", "artifact_invalid") in ended.workers
    assert (after.active["tiny"], after.previous, after.rollouts) == ("v1", {}, {})


def test_failure_of_an_earlier_attempt_does_not_count(hosts, looker):
    hosts[0].models.pop("tiny-v2")
    hosts[0].broken.add("tiny-v2")
    hosts[0].work()
    hosts[0].broken.clear()

    begun = looker.begin("tiny-v2", now=0)
    assert looker.advance(now=0).rollouts
    hosts[0].models.pop("tiny-v2")
    hosts[0].work()
    looker.advance(now=1)

    assert looker.progress(begun).state == "done"


def test_host_with_another_artifact_of_the_version_cannot_hold_it(tmp_path, hosts, looker):
    add(tmp_path / "elsewhere", Ref("tiny", "v2"), labels=["a", "b"])
    hosts[1].catalog.root = tmp_path / "elsewhere"
    hosts[1].catalog.entries(fresh=True)
    hosts[1].models.clear()
    begun = looker.begin("tiny-v2", now=0)
    for host in hosts:
        host.work()

    looker.advance(now=1)

    assert WorkerRow("w2@test", "failed", "it holds another artifact of this version") in (
        looker.progress(begun).workers
    )


def test_same_rollout_begun_twice_is_one_and_another_is_refused(hosts, looker):
    begun = looker.begin("tiny-v2", now=0)

    assert looker.begin("tiny-v2", now=1) == begun
    with pytest.raises(SwapInProgress, match="tiny is being changed to tiny-v2"):
        looker.begin("tiny-v3", now=1)
    with pytest.raises(SwapInProgress):
        looker.begin("tiny-v2", now=1, activate=False)


def test_rollouts_of_two_names_do_not_meet(hosts, looker):
    looker.begin("tiny-v2", now=0)
    looker.begin("other-v3", now=0)

    after = looker.advance(now=1)

    assert after.active == {"tiny": "v2", "other": "v3"}


def test_rollout_is_ended_by_whoever_looks_when_its_initiator_is_gone(
    redis_client, root, hosts, looker
):
    begun = looker.begin("tiny-v2", now=0)

    Looker(redis_client, root).advance(now=1)

    assert outcome(redis_client, begun).state == "done"


def test_late_look_at_a_rollout_that_was_ended_moves_nothing(redis_client, root, hosts, looker):
    late = Looker(redis_client, root)
    begun = looker.begin("tiny-v2", now=0)
    late.look()
    looker.advance(now=1)
    looker.begin("tiny-v1", now=2)
    looker.advance(now=3)
    before = stored(redis_client)

    rollout.advance(redis_client, late.catalog, fleet.read(redis_client), 4)

    assert before.active["tiny"] == "v1"
    assert stored(redis_client) == before
    assert outcome(redis_client, begun).ended_at == 1


def test_rollout_whose_time_is_up_names_those_who_were_late(hosts, looker):
    hosts[1].models.pop("tiny-v2")
    hosts[1].beat()
    begun = looker.begin("tiny-v2", now=0, timeout_s=10)

    assert looker.advance(now=10 + REPORT_S - 0.1).rollouts
    looker.advance(now=10 + REPORT_S)

    assert looker.progress(begun).reason == "not ready in time: w2@test"


def test_rollout_that_nobody_looked_at_in_time_is_not_committed_hours_later(hosts, looker):
    begun = looker.begin("tiny-v2", now=0)

    after = looker.advance(now=7200)

    assert after.active["tiny"] == "v1"
    assert looker.progress(begun).reason == "its time was up before it was looked at"


def test_host_that_died_is_not_waited_for_long(hosts, looker):
    hosts[1].models.pop("tiny-v2")
    hosts[1].beat()
    begun = looker.begin("tiny-v2", now=0)
    hosts[1].die()

    assert looker.advance(now=1).rollouts
    assert looker.progress(begun).workers[-1] == WorkerRow("w2@test", "waiting", NO_HEARTBEAT)
    assert looker.advance(now=1 + MISSING_S - 0.1).rollouts
    after = looker.advance(now=1 + MISSING_S)

    assert after.active["tiny"] == "v2"
    assert looker.progress(begun).workers == [WorkerRow("w1@test", "ready")]


def test_redis_that_was_emptied_does_not_hide_a_host_that_is_not_ready(redis_client, hosts, looker):
    """The first host to be back would otherwise be all hosts, and all ready."""
    hosts[1].models.pop("tiny-v2")
    hosts[1].beat()
    looker.begin("tiny-v2", now=0)
    redis_client.flushall()
    hosts[0].work()

    assert looker.advance(now=1).active["tiny"] == "v1"
    hosts[1].beat()
    assert looker.advance(now=1.5).active["tiny"] == "v1"
    assert looker.advance(now=1.5 + 2 * MISSING_S).active["tiny"] == "v1"
    hosts[1].work()

    assert looker.advance(now=9).active["tiny"] == "v2"


def test_host_that_comes_while_a_swap_runs_is_waited_for(redis_client, root, hosts, looker):
    hosts[0].models.pop("tiny-v2")
    hosts[0].beat()
    looker.begin("tiny-v2", now=0)
    late = Host(redis_client, root, "w3@test")
    late.beat()
    hosts[0].work()

    assert looker.advance(now=1).active["tiny"] == "v1"
    late.work()

    assert looker.advance(now=2).active["tiny"] == "v2"


def test_hosts_without_a_gpu_are_not_asked_to_hold_what_needs_one(redis_client, root, looker):
    add(root, Ref("tiny", "v4"), device="gpu")
    looker.catalog.entries(fresh=True)
    with pytest.raises(NoWorker):
        looker.begin("tiny-v4", now=0)

    gpu = Host(redis_client, root, "gpu@test", device="gpu")
    gpu.work()
    begun = looker.begin("tiny-v4", now=0)
    gpu.work()
    looker.advance(now=1)

    assert looker.progress(begun).workers == [WorkerRow("gpu@test", "ready")]
    assert looker.progress(begun).state == "done"


def test_without_a_live_worker_nothing_is_begun(redis_client, root):
    with pytest.raises(NoWorker):
        Looker(redis_client, root).begin("tiny-v2", now=0)
    assert stored(redis_client).rollouts == {}


def test_version_without_a_valid_manifest_is_refused_with_its_own_error(root, looker):
    (root / "tiny/v2/model.yaml").write_text("not: a manifest")
    looker.catalog.entries(fresh=True)

    with pytest.raises(ManifestInvalid):
        looker.begin("tiny-v2", now=0)


def test_swap_to_what_is_active_changes_nothing_but_tells_who_holds_it(hosts, looker):
    begun = looker.begin("tiny-v1", now=0)

    after = looker.advance(now=1)

    assert (after.active["tiny"], after.previous) == ("v1", {})
    assert looker.progress(begun).state == "done"


def test_load_holds_a_version_and_moves_no_name(hosts, looker):
    looker.begin("tiny-v2", now=0, activate=False)

    after = looker.advance(now=1)

    assert after.active["tiny"] == "v1"
    assert "tiny-v2" in after.loaded


def test_first_version_of_a_name_becomes_active_with_its_load(root, hosts, looker):
    add(root, Ref("new", "v1"))
    for one in (looker, *hosts):
        one.catalog.entries(fresh=True)
    looker.begin("new-v1", now=0, activate=False)
    for host in hosts:
        host.work()

    after = looker.advance(now=1)

    assert after.active["new"] == "v1"


def test_load_moves_no_name_whose_active_version_is_not_on_this_disk(
    redis_client, root, tmp_path, hosts
):
    for version in ("v2", "v3"):
        add(tmp_path / "elsewhere", Ref("tiny", version))
    looker = Looker(redis_client, tmp_path / "elsewhere")
    looker.begin("tiny-v3", now=0, activate=False)

    assert looker.advance(now=1).active["tiny"] == "v1"


def test_roll_back_goes_to_the_version_before(hosts, looker):
    with pytest.raises(NoPreviousVersion):
        rollout.previous(looker.catalog, "tiny")
    looker.begin("tiny-v2", now=0)
    looker.advance(now=1)

    assert rollout.previous(looker.catalog, "tiny") == Ref("tiny", "v1")
    looker.begin("tiny-v1", now=2)
    after = looker.advance(now=3)

    assert (after.active["tiny"], after.previous["tiny"]) == ("v1", "v2")


def test_version_that_was_only_swapped_to_is_let_go_of_with_the_swap_after_the_next(
    root, hosts, looker
):
    add(root, Ref("tiny", "v4"))
    for one in (looker, *hosts):
        one.catalog.entries(fresh=True)
    held = []
    for now, ref in enumerate(("tiny-v4", "tiny-v1", "tiny-v2")):
        looker.begin(ref, now=now)
        for host in hosts:
            host.work()
        wanted = looker.advance(now=now).wanted(looker.catalog.entries(), watch=False)
        held.append(Ref("tiny", "v4") in wanted)

    assert held == [True, True, False]


def test_unload_is_refused_for_what_serves_or_is_on_its_way(hosts, looker):
    with pytest.raises(ModelActive, match="tiny-v1 is active"):
        rollout.unload(looker.client, looker.catalog, Ref("tiny", "v1"))
    looker.begin("tiny-v2", now=0)
    with pytest.raises(SwapInProgress):
        rollout.unload(looker.client, looker.catalog, Ref("tiny", "v3"))


def test_default_version_is_not_unloaded_even_where_another_is_active(hosts, looker):
    looker.catalog.default_model = "tiny-v3"

    with pytest.raises(ModelActive):
        rollout.unload(looker.client, looker.catalog, Ref("tiny", "v3"))


def test_previous_version_may_be_unloaded_and_is_then_no_way_back(hosts, looker):
    looker.begin("tiny-v2", now=0)
    looker.advance(now=1)

    rollout.unload(looker.client, looker.catalog, Ref("tiny", "v1"))

    after = stored(looker.client)
    assert "tiny" not in after.previous
    assert "tiny-v1" not in after.loaded
    assert after.unloaded == ["tiny-v1"]
    with pytest.raises(NoPreviousVersion):
        rollout.previous(looker.catalog, "tiny")


def test_swap_to_an_unloaded_version_loads_it_again(hosts, looker):
    rollout.unload(looker.client, looker.catalog, Ref("tiny", "v2"))
    for host in hosts:
        host.work()
    looker.begin("tiny-v2", now=0)
    assert looker.advance(now=0).active["tiny"] == "v1"
    for host in hosts:
        host.work()

    after = looker.advance(now=1)

    assert (after.active["tiny"], after.unloaded) == ("v2", [])


def test_unknown_id_is_told_with_how_long_one_is_remembered(looker):
    with pytest.raises(RolloutNotFound, match="3600 s"):
        looker.progress("nothing")
