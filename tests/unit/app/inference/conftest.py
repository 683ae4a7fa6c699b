"""A coalescer and predictions whose chunks land when the test says so."""

import msgspec
import pytest

from app.inference.batching import BatchLimits, Coalescer, Hooks
from app.inference.local import LocalGateway
from app.inference.pending import Pending
from app.inference.service import Predictions
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Limits, Redis, Settings
from tests.models import activate, build_model
from tests.unit.app.inference.callers import Callers, Hand
from tests.unit.app.inference.coalescing import Workers
from tests.unit.app.inference.sending import Clock, chunk


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def results():
    return []


@pytest.fixture
def make_coalescer(workers, results):
    made = []

    def make(**changes):
        limits = BatchLimits(changes.pop("max_batch_size", 4), changes.pop("max_hold_s", 60.0))
        now = changes.pop("now", lambda: 0.0)
        hooks = Hooks(**{"landed": results.extend} | changes)
        made.append(Coalescer(limits, workers.submit, now, hooks))
        return made[-1]

    yield make
    for coalescer in made:
        coalescer.close()


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "tiny", "v1", strength=1.0)
    build_model(root, "tiny", "v2")
    activate(root, tiny="v2")
    return root


@pytest.fixture
def make_predictions(models_dir):
    made = []

    def make(gateway, **changes):
        settings = Settings(default_model="tiny", redis=Redis(url="unix:///nonexistent/redis.sock"))
        settings = msgspec.structs.replace(settings, **changes)
        made.append(Predictions(settings, Catalog(models_dir, "tiny"), gateway))
        return made[-1]

    yield make
    for predictions in made:
        predictions.close()


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def call():
    """Start a request on an event loop that is there for all of them."""
    callers = Callers()
    yield callers.call
    callers.close()


@pytest.fixture(scope="module")
def local(models_dir):
    registry = Registry(Limits(), "cpu")
    registry.reconcile(Catalog(models_dir, "tiny").entries(fresh=True))
    return LocalGateway(registry, max_batch_size=32)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pending(clock):
    return Pending(clock.redis_now, clock.now)


@pytest.fixture
def send(pending, clock):
    return lambda budget_s=5.0, queue="predict.cpu", ref="tiny-v1": pending.add(
        chunk(clock.redis_now() + budget_s, ref=ref), queue
    )
