"""The front: probes and scrapes, and what it makes of paths, queries and headers."""

import asyncio
import threading
from urllib.parse import quote

import pytest

from app.api import create_front
from tests.unit.app.api.asgi import JSON, Client, Exchange, pieces, scope
from tests.unit.app.api.test_front import TROUBLES, assert_same, run


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text;version=1.0.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_scrape_is_answered_as_flask_would(make_client, make_front, method, accept):
    given = {"Accept": accept, "X-Request-ID": "r1"}

    through_flask = make_client().open("/metrics", method=method, headers=given)
    in_front = Client(make_front()).open("/metrics", method, headers=given)

    assert in_front.status == through_flask.status_code == 200
    assert {name for name, _ in in_front.headers} == {
        name.lower() for name, _ in through_flask.headers
    }
    assert in_front.header("content-type") == through_flask.content_type
    assert in_front.header("x-request-id") == "r1"
    names = [
        [line.rpartition(" ")[0] for line in answer.text.splitlines()]
        for answer in (through_flask, in_front)
    ]
    assert names[0] == names[1]
    assert bool(names[0]) == (method == "GET")


@pytest.mark.parametrize(
    "path", ["/metrics", "/health/live", "/livez", "/health/ready", "/readyz", "/healthz"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_scrape_and_probes_wait_for_no_request_that_flask_is_busy_with(make_front, path, method):
    front, held = make_front(), threading.Event()
    threads = front._flask.executor
    for _ in range(threads._max_workers):
        threads.submit(held.wait)

    try:
        assert Client(front).open(path, method).status == 200
    finally:
        held.set()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
@pytest.mark.parametrize("trouble", ["no trouble", "no Redis", "no worker"])
def test_probe_is_answered_as_flask_would(make_client, make_front, gateway, trouble, path):
    given = {"X-Request-ID": "r1"}
    asked = TROUBLES.get(trouble, lambda: gateway)()

    in_front = Client(make_front(asked)).get(path, headers=given)

    assert_same(make_client(asked).get(path, headers=given), in_front)
    assert in_front.status == (503 if "ready" in path and trouble != "no trouble" else 200)


@pytest.mark.parametrize("trouble", ["no trouble", "no worker"])
def test_head_of_a_probe_is_that_of_get_without_a_body(make_front, gateway, trouble):
    front = Client(make_front(TROUBLES.get(trouble, lambda: gateway)()))
    given = {"X-Request-ID": "r1"}

    head = front.open("/readyz", "HEAD", headers=given)

    get = front.get("/readyz", headers=given)
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize("query", ["modèle", "é=ü&limit=1", "model_version=\U0001f600", "%C3%A9=é"])
@pytest.mark.parametrize("path", ["/stats", "/jobs", "/nothing"])
def test_query_that_is_not_ascii_is_read_as_if_it_were_encoded(front, client, path, query):
    headers = {"X-Request-ID": "r1"}

    answer = Client(front).get(f"{path}?{query}", headers=headers)

    encoded = client.get(f"{path}?{quote(query, safe='=&%')}", headers=headers)
    assert answer.status == encoded.status_code
    assert path == "/stats" or answer.json == encoded.json


def test_query_of_any_bytes_is_no_error_of_ours(front):
    given = scope("/stats", "GET") | {"query_string": bytes(range(1, 256))}

    assert asyncio.run(Exchange(given, pieces()).run(front)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "//predict"), ("GET", "//models"), ("GET", "///metrics"), ("GET", "//livez")],
)
def test_path_that_begins_with_several_slashes_is_not_found(front, method, path):
    """It may have come by a proxy that lets only other paths through."""
    given = scope("/", method, JSON.items()) | {"path": path}

    answer = asyncio.run(Exchange(given, pieces(b'{"text": "good"}')).run(front))

    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_formats_of_a_scrape_may_come_in_several_lines(front):
    lines = ["application/json", "application/openmetrics-text"]
    given = scope("/metrics", "GET", [("Accept", line) for line in lines])

    answer = asyncio.run(Exchange(given, pieces()).run(front))

    assert answer.header("Content-Type").startswith("application/openmetrics-text")


@pytest.mark.parametrize("method", ["post", "Post", "get"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/predict", {"POST", "OPTIONS"}), ("/models/v2", {"GET", "HEAD", "OPTIONS", "DELETE"})],
)
def test_method_is_another_one_in_lower_case(front, client, method, path, allowed):
    """RFC 9110: methods are case-sensitive."""
    answer = Client(front).open(path, method, b'{"text": "good"}', JSON)

    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert set(answer.header("Allow").split(", ")) == allowed


def test_path_that_does_not_exist_is_not_found_by_any_method(front):
    assert Client(front).open("/nothing", "get").status == 404


@pytest.mark.parametrize(
    ("lines", "honoured"),
    [
        (["handling=lenient", "wait=3"], "wait=3"),
        (["wait=soon", "wait=4", "wait=5"], "wait=4"),
        (["wait=6", "respond-async"], "wait=6"),
        ([""], None),
    ],
)
@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "flask"])
def test_preferences_may_come_in_several_lines(settings, gateway, is_hot, lines, honoured):
    front = create_front(settings, gateway)
    if not is_hot:
        front._views = {}
    headers = [*JSON.items(), *(("Prefer", line) for line in lines)]

    answer = run(front, pieces(b'{"text": "good"}'), headers)

    assert (answer.status, answer.header("Preference-Applied")) == (200, honoured)


def test_answer_is_put_off_where_a_later_line_asks_for_it(front):
    headers = [*JSON.items(), ("Prefer", "handling=lenient"), ("Prefer", "respond-async")]

    answer = run(front, pieces(b'{"text": "good"}'), headers)

    # The one worker here takes no jobs, which an answer at once would not need.
    assert (answer.status, answer.json["code"]) == (503, "no_worker")
