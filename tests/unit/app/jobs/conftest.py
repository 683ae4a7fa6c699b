"""A ledger of jobs in Redis, with a clock that stands still."""

import pytest

from app.jobs.chunks import Chunks
from tests.unit.app.jobs.jobs import Clock, ledger


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def book(redis_client, clock):
    return ledger(redis_client, clock)


@pytest.fixture
def chunks(book):
    return Chunks(book)
