"""Fixtures for tests with real worker processes."""

import zlib

import pytest
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestWorker,
    CeleryWorkerCluster,
    RedisTestBackend,
    RedisTestBroker,
)

from app.settings import Redis, Settings
from tests.integration.hand import HandWorker, opened
from tests.integration.jobs import build_deadly
from tests.integration.machines import Machine, Operator
from tests.integration.nodes import RedisNode, WorkerNode
from tests.integration.workers import FaultyWorker
from tests.models import activate, build_model
from tests.processes import RedisServer, side_by_side


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory):
    """A models directory with `tiny-v1`; do not write to it."""
    root = tmp_path_factory.mktemp("models")
    build_model(root, "tiny", "v1")
    return root


@pytest.fixture
def tcp_redis():
    """A Redis of this test's own, to be stopped and frozen at will."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def server():
    """A Redis for the tests of one module, that a test may stop and start again."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server):
    """A client of that Redis, which is emptied first."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture(scope="module")
def settings(server):
    """An API process beside that Redis."""
    return Settings(redis=Redis(url=server.url, socket_timeout_s=0.5))


@pytest.fixture
def gateway(settings, client):
    """The gateway of that process, which has looked at the fleet."""
    gateway = opened(settings)
    yield gateway
    gateway.close()


@pytest.fixture
def worker(settings, client):
    """A worker whose part the test plays, message by message."""
    return HandWorker(settings, client)


@pytest.fixture(scope="module")
def cluster_redis():
    """The Redis of a module's cluster."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def cluster_workers(cluster_redis, models_dir):
    """Two workers; what they leave unacknowledged is delivered again after 3 s."""
    env = {"FAULTS_VISIBILITY_TIMEOUT_S": "3", "MLSERVE_WORKER__HARD_LIMIT_S": "2.9"}
    workers = [
        FaultyWorker(cluster_redis.url, models_dir, hostname=f"w{i}@cluster", env=env)
        for i in (1, 2)
    ]
    with side_by_side(*workers):
        yield workers


@pytest.fixture
def celery_broker_cluster(cluster_redis):
    """pytest-celery's broker: a local process in place of a container."""
    return CeleryBrokerCluster(RedisTestBroker(RedisNode(cluster_redis)))


@pytest.fixture
def celery_backend_cluster(cluster_redis):
    """pytest-celery's result backend: the same process."""
    return CeleryBackendCluster(RedisTestBackend(RedisNode(cluster_redis)))


@pytest.fixture
def celery_worker_cluster(celery_setup_app, cluster_workers):
    """pytest-celery's workers: all of them running, whatever the last test did to one."""
    for worker in cluster_workers:
        if worker.returncode is not None:
            worker.launch()
    for worker in cluster_workers:
        worker.wait_until_ready()
    nodes = [CeleryTestWorker(WorkerNode(worker), celery_setup_app) for worker in cluster_workers]
    return CeleryWorkerCluster(*nodes)


@pytest.fixture(scope="module")
def deadly_dir(tmp_path_factory):
    """A models directory with `deadly-v1` and `deadly-v2`, which is active."""
    root = tmp_path_factory.mktemp("deadly")
    build_deadly(root, "v1")
    build_deadly(root, "v2")
    activate(root, deadly="v2")
    return root


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    """Two workers, each with a models directory of its own that holds `tiny-v1`."""
    directory = tmp_path_factory.mktemp("fleet")
    with RedisServer() as redis:
        found = [Machine(redis, directory, number) for number in (1, 2)]
        for machine in found:
            machine.add("tiny", "v1")
        with side_by_side(*(machine.worker for machine in found)):
            yield found


@pytest.fixture(scope="module")
def operator(machines):
    """An API process that sees the models directory of the first machine."""
    for machine in machines:
        machine.worker.wait_until_ready()
    operator = Operator(machines)
    yield operator
    operator.close()


@pytest.fixture
def name(request):
    """A model name of the test's own: the fleet is shared."""
    return f"m{zlib.crc32(request.node.nodeid.encode())}"
