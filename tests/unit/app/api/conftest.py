"""The application over real models that this process holds itself."""

import json
import shutil

import msgspec
import pytest

from app.api import create_app, create_front
from app.api.services import services_of
from app.contract import JOB_QUEUES
from app.inference.local import LocalGateway
from app.jobs.chunks import Chunks
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Limits, Monitoring, Redis, Settings
from tests.hosts import Hosts
from tests.models import activate, build_model
from tests.unit.app.jobs.jobs import commit, run_all

QUEUE = JOB_QUEUES["cpu"]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory):
    """sentiment-v1 and sentiment-v2, which is active; broken-v1 has no valid manifest."""
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1", strength=1.0)
    build_model(root, "sentiment", "v2")
    activate(root, sentiment="v2")
    (root / "broken" / "v1").mkdir(parents=True)
    return root


@pytest.fixture
def judged(models_dir):
    """The directory of a version that no other test sees."""
    yield build_model(models_dir, "judged", "v1")
    shutil.rmtree(models_dir / "judged")


@pytest.fixture(scope="session")
def settings(models_dir):
    # The cache would otherwise look for the Redis of a service that runs in this directory.
    nowhere = Redis(url="unix:///nonexistent/redis.sock")
    return Settings(models_dir=str(models_dir), redis=nowhere)


@pytest.fixture(scope="session")
def gateway(models_dir):
    registry = Registry(Limits(), "cpu")
    registry.reconcile(Catalog(models_dir, "sentiment").entries(fresh=True))
    return LocalGateway(registry, max_batch_size=32)


@pytest.fixture(scope="session")
def client(settings, gateway):
    """Shared: for tests that do not look at what was counted."""
    return create_app(settings, gateway).test_client()


@pytest.fixture
def make_client(settings, gateway):
    """A client of an app with other settings or another gateway."""

    def make(replaced_gateway=gateway, monitoring=True, **changes):
        changed = msgspec.structs.replace(settings, monitoring=Monitoring(monitoring), **changes)
        return create_app(changed, replaced_gateway).test_client()

    return make


@pytest.fixture(scope="session")
def front(settings, gateway):
    """Shared: for tests that do not look at what was counted."""
    return create_front(settings, gateway)


@pytest.fixture
def make_front(settings, gateway):
    """A front with other settings or another gateway."""

    def make(replaced_gateway=gateway, **changes):
        return create_front(msgspec.structs.replace(settings, **changes), replaced_gateway)

    return make


@pytest.fixture
def hosts(redis_client, models_dir):
    """Publishes what workers would say of themselves."""
    return Hosts(redis_client, models_dir)


@pytest.fixture
def connect(redis_server, settings):
    """Makes clients of apps that look at the real Redis; their threads end with the test."""
    made = []

    def make(**changes):
        where = Redis(url=redis_server.url)
        app = create_app(msgspec.structs.replace(settings, redis=where, **changes))
        made.append(app)
        return app.test_client()

    yield make
    for app in made:
        services_of(app).close()


@pytest.fixture
def fleet_client(hosts, connect):
    """A client of an app that sees two workers, which hold sentiment-v2."""
    for hostname in ("w1@test", "w2@test"):
        hosts.hold(hostname, "sentiment-v2")
    return connect()


@pytest.fixture(scope="session")
def lasting_app(redis_server, settings):
    """One app for many tests: to start its threads takes longer than most of them."""
    app = create_app(msgspec.structs.replace(settings, redis=Redis(url=redis_server.url)))
    yield app
    services_of(app).close()


@pytest.fixture
def job_client(hosts, lasting_app):
    """A client of that app, which sees two workers that hold sentiment-v2."""
    for hostname in ("w1@test", "w2@test"):
        hosts.hold(hostname, "sentiment-v2")
    services_of(lasting_app).predictions._gateway.nudge()
    return lasting_app.test_client()


@pytest.fixture
def small_client(hosts, connect):
    """Makes clients of apps with other limits; they see a worker that holds sentiment-v2."""

    def make(**changes):
        hosts.hold("w1@test", "sentiment-v2")
        return connect(**changes)

    return make


@pytest.fixture
def worked(job_client, redis_client):
    """Computes a job of `job_client` as a worker would; `bad` are the texts that fail."""

    def work(job_id, bad=()):
        book = services_of(job_client.application).jobs.ledger
        chunks = Chunks(book)
        # Its first chunks were sent by the API, the last one of them is computed first.
        sent = [json.loads(json.loads(raw)["body"])[0] for raw in redis_client.lrange(QUEUE, 0, -1)]
        for first in [first for name, first in sent if name == job_id]:
            claim = chunks.claim(job_id, first, "w1", 10)
            commit(chunks, claim, bad)
        return run_all(book, book.read(job_id), bad)

    return work
