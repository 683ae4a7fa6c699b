"""The gateway that needs neither Redis nor workers, used through what the API uses."""

import asyncio

import pytest

from app.contract import Chunk
from app.errors import ModelUnavailable
from app.inference.engine import EXPIRED
from app.inference.local import LocalGateway
from app.inference.service import Predictions
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Settings
from tests.models import LIMITS, build_model


@pytest.fixture
def catalog(tmp_path):
    build_model(tmp_path)
    return Catalog(tmp_path, "tiny")


@pytest.fixture
def gateway(catalog):
    registry = Registry(LIMITS, "cpu")
    registry.reconcile(catalog.entries())
    return LocalGateway(registry, max_batch_size=2)


def chunk(gateway, ref="tiny-v1", seconds_left=60.0):
    deadline = gateway.now() + seconds_left
    return Chunk(ref=ref, texts=["good day", "table", "bad"], deadline=deadline, request_ids=["r"])


def test_future_is_done_when_it_is_handed_out(gateway):
    future = gateway.submit(chunk(gateway), "cpu")

    assert future.done()
    assert len(future.result().outcomes) == 3


def test_deadline_holds_without_workers_too(gateway):
    result = gateway.submit(chunk(gateway, seconds_left=-1), "cpu").result()

    assert result.outcomes == [EXPIRED] * 3


def test_version_that_is_not_held_fails_the_future(gateway):
    future = gateway.submit(chunk(gateway, ref="tiny-v9"), "cpu")

    with pytest.raises(ModelUnavailable):
        future.result()


def test_predictions_of_the_api_run_on_it(gateway, catalog):
    predictions = Predictions(Settings(default_model="tiny"), catalog, gateway)

    result = asyncio.run(predictions.predict(["good day"], None, "request-1"))

    assert result.ref == "tiny-v1"
    assert max(result.outcomes[0].probabilities) > 0.5
    gateway.close()
