"""Which hosts a rollout waits for: those that die, come back, are new, or have no GPU."""

import pytest

from app.errors import NoWorker
from app.models.base import Ref
from app.models.progress import NO_HEARTBEAT, WorkerRow
from app.models.rollout import MISSING_S
from tests.unit.app.models.fleets import Host, Looker, add, stored


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
