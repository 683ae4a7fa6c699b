"""Fixtures that all tests share: a Redis for as long as the run lasts, emptied for each test."""

import gc
import os
import signal

# As in a worker, and before torch reads it: many tests run at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import redis
from hypothesis import settings

from tests.processes import RedisServer

# How long an example takes says more about the machine than about the code.
settings.register_profile("mlserve", deadline=None, database=None)
settings.load_profile("mlserve")

# A shell has what it starts in the background ignore Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported stays: a look at all of it takes half a second, and a run would take hundreds.
gc.disable()


def pytest_collection_finish():
    """From here on the collector looks at what the tests make, and at nothing else."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def redis_server():
    """A redis-server on a unix socket. Tests that stop or freeze it start their own instead."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_client(redis_server):
    """A client of the shared server, which is emptied first."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def client_without_info(redis_server, redis_client):
    """A client of the shared server that may run nothing dangerous: no INFO, for one."""
    redis_client.acl_setuser(
        "plain", enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all", "-@dangerous"]
    )
    path = str(redis_server.socket)
    with redis.Redis(unix_socket_path=path, username="plain", password="pw") as client:
        yield client
    redis_client.acl_deluser("plain")


def pytest_addoption(parser):
    """`--soak`: fault tests run for minutes instead of seconds."""
    parser.addoption("--soak", action="store_true", help="run the fault tests for minutes")


@pytest.fixture(scope="session")
def soak(pytestconfig):
    """Whether there is time for the long form of a test."""
    return pytestconfig.getoption("soak")


@pytest.fixture
def exporter():
    """Keeps the spans that `tracing` ends."""
    # Here and below: only tests of traces need OpenTelemetry.
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    """The tracing of an API process."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from app.tracing.requests import RequestTracing

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield RequestTracing(provider)
    provider.shutdown()
