"""Where a version stands, by what the disk and every host say."""

import msgspec
import pytest

from app.contract import HeldModel, HostState, Refused
from app.errors import ManifestInvalid
from app.fleet import FAILED, READY, RETIRING, Fleet
from app.models.base import Ref
from app.models.catalog import Catalog, Entry
from app.models.desired import Desired
from app.models.standing import standing, wanted_refs
from tests.models import build_model

REF = Ref("tiny", "v1")
DIFFERS = ("golden_mismatch", "it answers differently")
HELD = HeldModel(str(REF), "0", READY)
KEPT = msgspec.structs.replace(HELD, status=RETIRING)
BROKEN = HeldModel(str(REF), "0", FAILED, error=DIFFERS[1], code=DIFFERS[0])
STALE = msgspec.structs.replace(HELD, error=DIFFERS[1], code=DIFFERS[0])
GIVEN_UP = Desired(generation=2, unloaded=[str(REF)])
AWAY = Fleet(reachable=False, reason="away")
REFUSED = {str(REF): Refused(reason="1 of 2 workers cannot hold it", code=DIFFERS[0], at=1.0)}


def fleet(*held, hosts=None, **more):
    rows = [[model] for model in held] if hosts is None else hosts
    states = [
        HostState(hostname=f"w{n}@test", pid=n, device="cpu", queues=[], models=models,
                  started_at=0.0, beat_at=0.0, memory_bytes=0, chunks=0)
        for n, models in enumerate(rows)
    ]  # fmt: skip
    return Fleet(reachable=True, hosts=states, **more)


def entry(error=None):
    return Entry(REF, None, None, error)


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        (fleet(HELD, KEPT), {REF}, ("ready", None, None)),
        (fleet(BROKEN, HELD), {REF}, ("ready", DIFFERS[1], DIFFERS[0])),
        (fleet(STALE), {REF}, ("ready", DIFFERS[1], DIFFERS[0])),
        (fleet(hosts=[[]]), {REF}, ("loading", None, None)),
        (fleet(hosts=[[]], refused=REFUSED), {REF}, ("loading", None, None)),
        (fleet(BROKEN), {REF}, ("failed", DIFFERS[1], DIFFERS[0])),
        (fleet(KEPT), set(), ("retiring", None, None)),
        (fleet(KEPT), {REF}, ("loading", None, None)),
        (fleet(BROKEN), set(), ("failed", DIFFERS[1], DIFFERS[0])),
        (fleet(HELD, desired=GIVEN_UP), set(), ("retiring", None, None)),
        (fleet(hosts=[[]]), set(), ("unloaded", None, None)),
        (
            fleet(hosts=[[]], refused=REFUSED),
            set(),
            ("failed", "1 of 2 workers cannot hold it", DIFFERS[0]),
        ),
        (fleet(), {REF}, ("unavailable", "there is no live worker", "no_worker")),
        (AWAY, {REF}, ("unavailable", "away", "broker_unavailable")),
    ],
)
def test_standing_is_the_best_that_any_host_says(seen, wanted, expected):
    assert standing(entry(), seen, wanted) == expected


def test_wrong_manifest_fails_whatever_hosts_say():
    found = standing(entry(ManifestInvalid("tiny-v1", "no labels")), fleet(HELD), {REF})

    assert found == ("failed", "model.yaml of tiny-v1: no labels", "manifest_invalid")


@pytest.mark.parametrize(
    ("desired", "watch", "expected"),
    [
        (None, False, {"v1", "v2"}),
        (Desired(generation=2, active={"tiny": "v1"}), False, {"v1"}),
        (Desired(generation=2, active={"tiny": "v1"}), True, {"v1", "v2"}),
    ],
)
def test_wanted_is_what_hosts_work_towards(tmp_path, desired, watch, expected):
    build_model(tmp_path, "tiny", "v1")
    build_model(tmp_path, "tiny", "v2")

    wanted = wanted_refs(Catalog(tmp_path, "tiny"), fleet(desired=desired), watch)

    assert {ref.version for ref in wanted} == expected
