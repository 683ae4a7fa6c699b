"""Fixtures that all tests share: a Redis for as long as the run lasts, emptied for each test."""

import pytest

from tests.processes import RedisServer


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
