"""What is held beside the active version: loaded by hand, to go back to, or unloaded."""

import pytest

from app.errors import ModelActive, NoPreviousVersion, SwapInProgress
from app.models import rollout
from app.models.base import Ref
from tests.unit.app.models.fleets import Looker, add, stored


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
