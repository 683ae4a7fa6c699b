"""The front: what it answers by itself is what Flask would answer."""

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import create_app, create_front
from app.api.front import Front
from app.api.reading import Patience
from app.api.services import services_of
from app.errors import WorkerOutOfMemory
from app.inference.local import LocalGateway
from app.models.registry import Registry
from app.settings import Limits
from tests.bad_inputs import BAD_INPUTS, BATCH
from tests.unit.app.api.asgi import JSON, Client, Exchange, encode, pieces, scope
from tests.unit.app.api.test_gate import send
from tests.unit.app.api.test_predict_routes import Answering, Unreachable, failed

DIGITS = re.compile(r"[0-9.]+")
TIMES = {"latency_ms", "total_latency_ms"}
GOOD = [
    ("/predict", {"text": "good day"}, {}),
    ("/predict", {"text": "bad night \U0001f600", "top_k": 2}, {}),
    ("/predict", {"text": "good day", "model_version": "v1"}, {"X-Request-ID": "r-1"}),
    ("/predict", {"text": "table"}, {"Prefer": "respond-async, wait=2"}),
    ("/predict", {"text": "chair"}, {"Prefer": "wait=soon"}),
    (
        BATCH,
        {"texts": ["good day", "new", "new"]},
        {"Content-Type": "application/json;charset=UTF8"},
    ),
    (BATCH, {"texts": ["good"] * 100, "model_version": "sentiment-v1"}, {}),
]
ROUTES = [("/predict", {"text": "a"}), (BATCH, {"texts": ["a", "b"]})]
BODY = b'{"text": "good day", "top_k": 3}'
TROUBLES = {
    "text fails": lambda: failed("text_failed"),
    "text expires": lambda: failed("expired"),
    "no Redis": Unreachable,
    "no worker": lambda: LocalGateway(Registry(Limits(), "cpu"), 1),
    "no answer": Answering,
    "worker's error": lambda: Answering(error=WorkerOutOfMemory()),
    "a bug": lambda: Answering(error=RuntimeError("secret")),
}


@pytest.fixture(scope="module")
def pair(settings, gateway):
    """A client of Flask and one of the front, that remember the same as they are asked the same."""
    return create_app(settings, gateway).test_client(), Client(create_front(settings, gateway))


def headers_of(answer):
    """Names in lower case. The length is that of the body, which the time it took is part of."""
    found = sorted((name.lower(), value) for name, value in answer.headers)
    found = [(n, DIGITS.sub("0", value) if n == "server-timing" else value) for n, value in found]
    lengths = [value for name, value in found if name == "content-length"]
    assert lengths == [str(len(answer_body(answer)))]
    return [row for row in found if row[0] != "content-length"]


def answer_body(answer):
    return answer.data if hasattr(answer, "data") else answer.body


def assert_same(through_flask, in_front):
    assert in_front.status == through_flask.status_code
    assert headers_of(in_front) == headers_of(through_flask)
    bodies = [through_flask.json, in_front.json]
    times = [{key: body.pop(key) for key in TIMES & set(body)} for body in bodies]
    assert bodies[0] == bodies[1]
    assert times[0].keys() == times[1].keys()
    assert all(value > 0 for value in times[1].values())


@pytest.mark.parametrize(("path", "body", "headers"), GOOD)
def test_good_body_is_answered_as_flask_would_the_first_time_and_again(pair, path, body, headers):
    flask, front = pair
    given = JSON | {"X-Request-ID": "caller-1"} | headers

    sources = []
    for _ in range(2):
        answer = front.open(path, "POST", encode(body), given)
        assert_same(flask.post(path, data=encode(body), headers=given), answer)
        assert answer.status == 200
        sources.append(answer.header("X-Cache"))

    assert sources[1] == "hit"


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_bad_input_is_refused_as_flask_would(client, front, case):
    case = case._replace(headers=case.headers | {"X-Request-ID": "r1"})

    answer = Client(front).open(case.path, case.method, case.body, case.headers, case.chunked)

    assert (answer.status, answer.json["code"]) == (case.status, case.code)
    assert_same(send(client, case), answer)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_failure_is_told_as_flask_would(make_client, make_front, trouble, path, body):
    # A bug is told at once, which takes a loaded machine more than a moment.
    settings = {"request_timeout_ms": 5000 if trouble == "a bug" else 20}
    headers = {"X-Request-ID": "r1"}
    flask = make_client(TROUBLES[trouble](), **settings)
    front = Client(make_front(TROUBLES[trouble](), **settings))

    answer = front.post(path, json=body, headers=headers)

    assert_same(flask.post(path, json=body, headers=headers), answer)
    assert "secret" not in answer.text


def test_error_that_nobody_expected_is_told_as_flask_would(make_client, make_front, caplog):
    class Broken(Answering):
        def fleet(self):
            raise RuntimeError("secret")

    headers = {"X-Request-ID": "r1"}
    answer = Client(make_front(Broken())).post("/predict", {"text": "a"}, headers)

    flask = make_client(Broken()).post("/predict", json={"text": "a"}, headers=headers)
    assert_same(flask, answer)
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert caplog.messages.count("request failed") == 2


@pytest.mark.parametrize(
    "path", ["/predict", BATCH, "/livez", "/models", "/nothing", "/openapi.json"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "predict"])
def test_other_paths_and_methods_go_through_flask(client, front, path, method):
    headers = {"X-Request-ID": "r1"}

    answer = Client(front).open(path, method, headers=headers)

    through_flask = client.open(path, method=method, headers=headers)
    assert (answer.status, answer.body) == (through_flask.status_code, through_flask.data)
    names = {"content-type", "content-length", "allow", "x-request-id"}
    assert {row for row in answer.headers if row[0] in names} == {
        (name.lower(), value) for name, value in through_flask.headers if name.lower() in names
    }


@pytest.mark.parametrize("chunked", [False, True])
def test_body_reaches_flask_with_and_without_a_length(settings, gateway, chunked):
    app = create_app(settings, gateway)
    client = Client(Front(app, {}, services_of(app), Patience()))

    answer = client.open("/predict", "POST", BODY, JSON, chunked=chunked)

    assert (answer.status, len(answer.json["scores"])) == (200, 3)


def test_query_string_changes_nothing_on_a_hot_path(front):
    assert Client(front).open("/predict?a=b", "POST", b'{"text": "a"}', JSON).status == 200


def test_websocket_is_closed_on_any_path(front):
    for path in ("/predict", "/nothing"):
        given = scope(path) | {"type": "websocket"}
        del given["method"]
        socket = Exchange(given, [{"type": "websocket.connect"}])

        asyncio.run(front(given, socket.receive, socket.send))

        assert [message["type"] for message in socket.sent] == ["websocket.close"]


@pytest.mark.parametrize("given", ["", "has a blank", "ü", "x" * 129, "a\tb"])
def test_id_that_is_not_well_formed_is_replaced(front, given):
    client = Client(front)
    made = {client.post("/predict", {"text": "a"}, {"X-Request-ID": given}).header("X-Request-ID")
            for _ in range(2)}  # fmt: skip

    assert len(made) == 2
    assert all(len(one) == 32 and one.isalnum() for one in made)


def test_first_of_two_equal_headers_counts(front):
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Type", "text/plain"),
        ("Prefer", "wait=1"),
        ("Prefer", "wait=2"),
        ("X-Request-ID", "first"),
        ("X-Request-ID", "second"),
    ]

    answer = run(front, pieces(b'{"text": "good"}'), headers)

    assert (answer.status, answer.header("Preference-Applied")) == (200, "wait=1")
    assert answer.header("X-Request-ID") == "first"


def run(front, messages, headers):
    return asyncio.run(Exchange(scope("/predict", headers=headers), messages).run(front))


@given(st.sets(st.integers(0, len(BODY))), st.booleans(), st.booleans())
def test_body_is_the_same_in_however_many_pieces_it_comes(front, cuts, has_length, has_end):
    places = [0, *sorted(cuts), len(BODY)]
    parts = [BODY[start:end] for start, end in pairwise(places)]
    framing = ("Content-Length", str(len(BODY))) if has_length else ("Transfer-Encoding", "chunked")

    answer = run(front, pieces(*parts, more_body=has_end), [*JSON.items(), framing])

    assert answer.status == 200
    assert len(answer.json["scores"]) == 3


def test_length_beside_chunks_does_not_cut_the_body_off(front):
    """RFC 9112: `Transfer-Encoding` overrides `Content-Length`."""
    whole, more = b'{"text": "good day"}', b" and something else"
    headers = {"Content-Length": str(len(whole)), "Transfer-Encoding": "chunked"} | JSON

    answer = run(front, pieces(whole, more), headers.items())

    assert (answer.status, answer.json["code"]) == (400, "malformed_body")
