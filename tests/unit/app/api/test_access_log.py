"""The line of a request in the log: for whom there is one, and what it tells."""

import logging

import pytest

from app.settings import Logging
from tests.unit.app.api.asgi import Client
from tests.unit.app.api.test_predict_routes import Unreachable

LOGGER = "app.api.access"
BODY = {"text": "good day"}


def lines(caplog):
    return [record for record in caplog.records if record.name == LOGGER]


@pytest.fixture(autouse=True)
def _at_info(caplog):
    caplog.set_level(logging.INFO, LOGGER)


def test_good_answers_have_no_line_unless_they_are_wanted(make_front, caplog):
    Client(make_front()).post("/predict", BODY)
    assert lines(caplog) == []

    Client(make_front(logging=Logging(access=True))).post("/predict", BODY)

    (line,) = lines(caplog)
    assert (line.levelname, line.route, line.status) == ("INFO", "/predict", 200)
    assert line.ref == "sentiment-v2"
    assert line.timing.startswith("batch;dur=")
    assert line.ms > 0
    assert "good day" not in str(vars(line))


@pytest.mark.parametrize("access", [False, True])
def test_refusals_have_a_line_in_every_case(make_front, caplog, access):
    client = Client(make_front(Unreachable(), logging=Logging(access=access)))

    client.post("/predict", {"text": " "})
    client.post("/predict", BODY)

    assert [(line.levelname, line.status) for line in lines(caplog)] == [
        ("INFO", 422),
        ("WARNING", 503),
    ]


def test_other_routes_have_lines_too_but_probes_have_none(make_client, caplog):
    client = make_client(logging=Logging(access=True))

    for path in ("/models", "/health/live", "/readyz", "/metrics"):
        client.get(path)

    assert [line.route for line in lines(caplog)] == ["/models"]
