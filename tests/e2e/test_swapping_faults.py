"""Swaps while something fails: no prediction fails meanwhile, and none is of two versions."""

import pytest

from app import fleet
from app.models import desired, rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from tests.e2e.load import new_text
from tests.e2e.swapping import BEARER, Trickle, follows
from tests.waiting import eventually

# A worker that is killed is waited for until its last heartbeat runs out, and a little longer.
ENDS_WITHIN_S = 20.0
HEALS_WITHIN_S = 10.0
LATER = BEARER | {"Prefer": "respond-async"}

pytestmark = pytest.mark.usefixtures("on_v1")


def begin(stack, version):
    """Ask for a swap, and do not wait for it."""
    status, begun = stack.ask("POST", "/models/tiny/swap", {"version": version}, headers=LATER)
    assert status == 202
    return begun["id"]


def is_followed(stack, ref):
    return {stack.active(api) for api in (0, 1)} == {ref}


@pytest.mark.usefixtures("trickle")
def test_swap_that_no_broadcast_tells_of_is_carried_out(stack):
    with stack.redis.client() as client:
        catalog = Catalog(stack.models_dir, "tiny")
        catalog.entries(fresh=True)
        catalog.follow(fleet.read(client).desired)
        entry = catalog.get(Ref("tiny", "v2"))
        now = client.time()[0]
        rollout.begin(client, catalog, entry, activate=True, now=now, timeout_s=30)

    eventually(lambda: is_followed(stack, "tiny-v2"), ENDS_WITHIN_S)


@pytest.mark.usefixtures("trickle")
def test_worker_that_is_killed_amid_a_swap_costs_no_request(stack):
    killed = stack.workers[1]
    killed.pause()
    begin(stack, "v2")

    killed.kill()
    eventually(lambda: is_followed(stack, "tiny-v2"), ENDS_WITHIN_S)

    killed.launch().wait_until_ready()
    eventually(lambda: stack.is_held("tiny-v2"))


@pytest.mark.usefixtures("trickle")
def test_worker_that_starts_amid_a_swap_holds_the_version_too(stack):
    late = stack.workers[1]
    late.stop()
    begin(stack, "v2")

    late.launch().wait_until_ready()

    eventually(lambda: is_followed(stack, "tiny-v2"), ENDS_WITHIN_S)
    eventually(lambda: stack.is_held("tiny-v2"))


def test_emptied_redis_heals_from_the_disk_copy_under_predictions(stack):
    stack.ask("POST", "/models/tiny/swap", {"version": "v2"})
    follows(stack, "tiny-v2")
    eventually(lambda: (stack.models_dir / "desired.json").read_text().count('"tiny": "v2"'))

    with Trickle(stack) as trickle, stack.redis.client() as client:
        client.flushall()
        eventually(lambda: (known := desired.read(client)) and known.active == {"tiny": "v2"}, 10)
        for api in (0, 1):
            eventually(lambda api=api: _predicted(stack, api) == "tiny-v2", HEALS_WITHIN_S)

    # Until the first heartbeat an API process may say that no worker is there; nothing else.
    assert {one.code for one in trickle.seen} <= {"", "no_worker"}
    assert {one.version for one in trickle.seen if one.status == 200} == {"tiny-v2"}


def _predicted(stack, api):
    return stack.ask("POST", "/predict", {"text": new_text()}, api)[1].get("model_version")
