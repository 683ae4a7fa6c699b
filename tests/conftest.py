"""Fixtures that all tests share: a Redis for as long as the run lasts, emptied for each test."""

import pytest
from hypothesis import settings

from tests.processes import RedisServer

# How long an example takes says more about the machine than about the code.
settings.register_profile("mlserve", deadline=None, database=None)
settings.load_profile("mlserve")


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
