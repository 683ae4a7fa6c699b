"""The front: bodies of requests that are refused before anybody reads them."""

import asyncio
import itertools

import pytest

from app.api.gate import MAX_DRAINED_BYTES
from tests.bad_inputs import BATCH, TOO_LARGE
from tests.unit.app.api.asgi import DISCONNECT, JSON, Exchange, pieces, scope

CHUNKED = {"Transfer-Encoding": "chunked"} | JSON
REFUSED = [
    ("POST", "/predict", {"Content-Type": "text/plain"}, 415),
    ("POST", BATCH, {"Content-Encoding": "gzip"}, 415),
    ("POST", "/nothing", {}, 404),
    ("PUT", "/predict", {}, 405),
    ("POST", "/models/load", {"Via": "1.1 proxy"}, 403),
    ("POST", "/models/load", {"Content-Type": "text/plain"}, 415),
    ("POST", "/jobs", {"Content-Type": "text/plain"}, 415),
    ("POST", "/jobs", {"Idempotency-Key": ""}, 422),
]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSED)
def test_large_body_is_taken_also_where_it_is_refused_unread(
    front, method, path, headers, status, is_chunked
):
    """A client that reads only when all is sent would otherwise see a reset connection."""
    framing = {} if is_chunked else {"Content-Length": str(len(TOO_LARGE))}
    given = (CHUNKED if is_chunked else JSON) | framing | headers
    sent = pieces(TOO_LARGE[:65_536], TOO_LARGE[65_536:])
    exchange = Exchange(scope(path, method, given.items()), sent)

    assert asyncio.run(exchange.run(front)).status == status
    assert exchange.taken == len(TOO_LARGE)


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSED)
def test_refusal_does_not_wait_for_a_body_that_the_server_takes_by_itself(
    front, method, path, headers, status
):
    given = JSON | {"Content-Length": "99999"} | headers
    exchange = Exchange(scope(path, method, given.items()), ())

    assert asyncio.run(exchange.run(front)).status == status


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSED)
def test_refusal_stands_where_the_rest_of_the_body_does_not_come(
    front, method, path, headers, status
):
    exchange = Exchange(scope(path, method, (CHUNKED | headers).items()), [DISCONNECT])

    assert asyncio.run(exchange.run(front)).status == status


def test_refused_body_without_end_is_taken_up_to_a_bound(front):
    piece = {"type": "http.request", "body": b"x" * 65_536, "more_body": True}
    headers = CHUNKED | {"Content-Type": "text/plain"}
    exchange = Exchange(scope("/predict", headers=headers.items()), itertools.repeat(piece))

    assert asyncio.run(exchange.run(front)).status == 415
    assert exchange.taken == MAX_DRAINED_BYTES
