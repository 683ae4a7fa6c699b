"""A coalescer whose chunks land when the test says so."""

import pytest

from app.inference.batching import BatchLimits, Coalescer, Hooks
from tests.unit.app.inference.coalescing import Workers


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
        hooks = Hooks(**{"landed": lambda rows, _: results.extend(rows)} | changes)
        made.append(Coalescer(limits, workers.submit, now, hooks))
        return made[-1]

    yield make
    for coalescer in made:
        coalescer.close()
