"""Every address that redis.url may have means the same to the service's clients and to Celery."""

import pytest

from app.broker import make_celery, redis_client
from app.inference.gateway import CeleryGateway
from app.settings import Redis, Settings
from tests.integration.hand import HandWorker, chunk
from tests.models import build_model
from tests.processes import RedisServer, WorkerProcess
from tests.tls import Authority, tls_in_front


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tcp_server():
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def tls_port(tcp_server, authority):
    with tls_in_front(tcp_server.port, authority.server_context()) as port:
        yield port


def at(url):
    return Settings(redis=Redis(url=url))


def test_worker_and_caller_meet_over_tls(tls_port, authority, tmp_path):
    build_model(tmp_path, "tiny", "v1")
    url = f"rediss://localhost:{tls_port}/0?ssl_ca_certs={authority.file}"
    gateway = CeleryGateway(at(url))

    with WorkerProcess(url, tmp_path, env={"MLSERVE_DEFAULT_MODEL": "tiny"}):
        future = gateway.submit(chunk("good", deadline=gateway.now() + 10), "cpu")
        (outcome,) = future.result(10).outcomes
        gateway.close()

    assert outcome.error is None


def test_certificate_of_an_unknown_authority_is_refused(tls_port):
    celery = make_celery(at(f"rediss://localhost:{tls_port}/0"), "cli")

    with (
        celery.connection_for_write() as broker,
        pytest.raises(Exception, match="certificate verify failed"),
    ):
        broker.default_channel.client.ping()


@pytest.mark.parametrize("form", ["unix://{socket}?db=2", "redis://127.0.0.1:{port}?db=2"])
def test_database_of_an_address_is_that_of_queues_and_replies(form, redis_server, tcp_server):
    settings = at(form.format(socket=redis_server.socket, port=tcp_server.port))
    gateway = CeleryGateway(settings)

    with redis_client(settings) as client:
        future = gateway.submit(chunk("a text", deadline=gateway.now() + 5), "cpu")
        message = HandWorker(settings, client).take()
        gateway.close()

    assert client.connection_pool.connection_kwargs["db"] == 2
    assert message["args"][0]["texts"] == ["a text"]
    assert future.done()
