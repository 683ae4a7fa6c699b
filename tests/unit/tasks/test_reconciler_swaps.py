"""Swaps as the passes of hosts carry them out."""

from app import fleet
from app.models import rollout
from app.models.base import Ref
from app.models.rollout import OUTCOME_PREFIX
from tests.models import build_model, skops_bytes

V2, V3 = Ref("tiny", "v2"), Ref("tiny", "v3")


def test_host_that_starts_amid_a_swap_loads_what_is_coming_before_its_first_task(make_part, part):
    part.step()
    part.begin(V2)

    late = make_part(hostname="w2@test", is_open=False)

    assert late.step() == ["tiny-v1", "tiny-v2"]


def test_swap_of_one_host_is_carried_out_by_its_passes(part):
    part.step()
    begun = part.begin(V2)

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
    part.begin(V3)

    assert 0 < part.reconciler.step() < 1
    assert part.desired().active == {"tiny": "v1"}
    other.step()
    assert part.desired().active == {"tiny": "v3"}


def test_swap_to_a_damaged_version_ends_with_the_reason_and_keeps_it(part):
    part.step()
    (build_model(part.root, version="v3") / "model.skops").write_bytes(b"damaged")
    begun = part.begin(V3)

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
    part.begin(V3)
    part.step()
    (path / "model.skops").write_bytes(skops_bytes(2.0))
    assert stat.st_size == len(skops_bytes(2.0))

    part.begin(V3)
    part.step()

    assert part.desired().active == {"tiny": "v3"}
