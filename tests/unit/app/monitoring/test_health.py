"""Whether the service is well, from what the workers say."""

import pytest

from app.contract import HeldModel, HostState
from app.fleet import FAILED, READY, Fleet
from app.inference.breaker import Breaker
from app.inference.service import Predictions
from app.models.catalog import Catalog
from app.monitoring.health import CACHE_ALONE, Health, judge
from app.settings import Redis, Settings
from tests.models import activate, build_model


class Seen:
    """A gateway that sees a fleet."""

    def __init__(self, *hosts, **fleet):
        self._fleet = Fleet(**{"reachable": True, "hosts": list(hosts)} | fleet)

    def fleet(self):
        return self._fleet

    def now(self):
        return 0.0

    def submit(self, chunk, device):
        raise AssertionError("nothing is asked for")

    def close(self):
        pass


def host(name, *ready, failed=()):
    models = [HeldModel(ref, "0" * 64, READY) for ref in ready]
    models += [HeldModel(ref, "0" * 64, FAILED, "torch is missing", "load") for ref in failed]
    return HostState(hostname=name, pid=1, device="cpu", queues=["predict.cpu"], models=models,
                     started_at=0.0, beat_at=0.0, memory_bytes=0, chunks=0)  # fmt: skip


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for ref in (("tiny", "v1"), ("tiny", "v2"), ("other", "v1")):
        build_model(root, *ref)
    activate(root, tiny="v1", other="v1")
    return root


@pytest.fixture
def judged(models_dir):
    made = []

    def predictions(gateway):
        nowhere = Redis(url="unix:///nonexistent/redis.sock")
        settings = Settings(default_model="tiny", redis=nowhere)
        made.append(Predictions(settings, Catalog(models_dir, "tiny"), gateway))
        return made[-1]

    yield predictions
    for one in made:
        one.close()


ALL = ("tiny-v1", "other-v1")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(host("w1", *ALL), host("w2", *ALL)), Health("ok", [])),
        (Seen(reachable=False, reason="Redis cannot be reached"),
         Health("down", ["Redis cannot be reached"])),
        (Seen(), Health("down", ["no worker holds tiny-v1"])),
        (Seen(host("w1", "other-v1")), Health("down", ["no worker holds tiny-v1"])),
        (Seen(host("w1", failed=["tiny-v1"])),
         Health("down", ["model tiny-v1 cannot be served: torch is missing"])),
        (Seen(host("w1", *ALL), host("w2", "other-v1", failed=["tiny-v1"])),
         Health("degraded", ["tiny-v1 failed on 1 of 2 workers: torch is missing"])),
        (Seen(host("w1", "tiny-v1", failed=["other-v1"])),
         Health("degraded", ["other-v1 failed on 1 of 1 workers: torch is missing"])),
        (Seen(host("w1", *ALL, failed=["tiny-v2"])), Health("ok", [])),
        (Seen(host("w1", *ALL), host("w2")), Health("ok", [])),
    ],
    ids=["all well", "no Redis", "no worker", "no default", "default failed everywhere",
         "default failed on one", "another name failed", "a version that is not active failed",
         "a worker that only starts"],
)  # fmt: skip
def test_health_and_why(judged, seen, expected):
    assert judge(judged(seen)) == expected


def test_cache_that_is_left_alone_is_a_reason(judged):
    predictions = judged(Seen(host("w1", *ALL)))
    breaker = predictions.cache._shared.breaker
    while breaker.is_closed:
        breaker.trip()

    assert isinstance(breaker, Breaker)
    assert judge(predictions) == Health("degraded", [CACHE_ALONE])
