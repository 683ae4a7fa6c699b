"""A swap: every live host is ready before the name stands for another version, or it never does."""

import pytest

from app import fleet
from app.errors import ManifestInvalid, RolloutNotFound, SwapInProgress
from app.models import rollout
from app.models.base import Ref
from app.models.progress import WorkerRow
from app.models.rollout import OUTCOME_TTL_S, REPORT_S
from tests.unit.app.models.fleets import Looker, add, outcome, stored


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


def test_unknown_id_is_told_with_how_long_one_is_remembered(looker):
    with pytest.raises(RolloutNotFound, match="3600 s"):
        looker.progress("nothing")
