"""The table of bad inputs over a real socket, to the real server, with a real worker behind it."""

import json
import socket

import pytest

from tests.bad_inputs import BAD_INPUTS, TOO_LARGE
from tests.models import build_model
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.waiting import eventually


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1")
    redis = RedisServer()
    worker, api = WorkerProcess(redis.url, root), ApiProcess(redis.url, root)
    with redis, side_by_side(worker, api):
        eventually(lambda: call(api.port, request("GET", "/health/ready", b""))[0] == 200)
        yield api, worker, redis


def request(method, path, body, headers=(), chunked=False):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    if chunked:
        parts = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    elif body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def call(port, sent):
    """(status, headers, body) of one answer; the connection ends with it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *rows = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), dict(row.lower().split(": ", 1) for row in rows), body


def chunks_answered(redis):
    with redis.client() as client:
        states = [json.loads(client.get(key)) for key in client.scan_iter("mlserve:host:*")]
    return [state["chunks"] for state in states]


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_bad_input_is_refused_over_a_socket(service, case):
    api, _, _ = service
    sent = request(case.method, case.path, case.body, case.headers, case.chunked)

    status, headers, body = call(api.port, sent)

    problem = json.loads(body)
    assert (status, problem["code"]) == (case.status, case.code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["request_id"]


@pytest.mark.parametrize("path", ["//predict", "/%2Fpredict", "//health/live", "///models"])
def test_path_that_begins_with_several_slashes_is_not_found(service, path):
    api, _, _ = service
    sent = request("POST", path, b'{"text": "good"}', {"Content-Type": "application/json"})

    status, _, body = call(api.port, sent)

    assert (status, json.loads(body)["code"]) == (404, "not_found")


def test_no_bad_input_reaches_a_worker(service):
    api, worker, redis = service
    json_type = {"Content-Type": "application/json"}
    first, last = (
        request("POST", "/predict", b'{"text": "good %d"}' % n, json_type) for n in (1, 2)
    )
    assert call(api.port, first)[0] == 200
    eventually(lambda: chunks_answered(redis) == [1])

    for case in BAD_INPUTS:
        call(api.port, request(case.method, case.path, case.body, case.headers, case.chunked))
    assert call(api.port, last)[0] == 200

    eventually(lambda: chunks_answered(redis) != [1])
    assert chunks_answered(redis) == [2]
    assert worker.returncode is None


def test_sender_of_a_large_body_sees_the_refusal_on_a_connection_that_goes_on(service):
    api, _, _ = service
    json_type = {"Content-Type": "application/json"}
    bad = request("POST", "/predict", TOO_LARGE, json_type).replace(b"Connection: close\r\n", b"")
    good = request("POST", "/predict", b'{"text": "good"}', json_type)

    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(bad + good)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.count(b"HTTP/1.1 413 ") == 1
    assert received.count(b"HTTP/1.1 200 ") == 1


def test_endless_body_is_refused_without_reading_it_all(service):
    api, _, _ = service
    head = request("POST", "/predict", b"", {"Content-Type": "application/json"}, chunked=True)
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = []

    def refused():
        try:
            connection.sendall(part)
        except OSError:
            return True
        sent.append(part)
        return False

    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head.removesuffix(b"0\r\n\r\n"))
        eventually(refused, every_s=0.0001)

    assert len(sent) * 65536 < 64 << 20
