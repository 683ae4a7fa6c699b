"""Clients that send a part of a body and stay: over real sockets, to the real server."""

import contextlib
import http.client
import json
import socket

import pytest

from tests.models import build_model
from tests.processes import ApiProcess, RedisServer, side_by_side
from tests.waiting import eventually

HEAD = (
    "POST {} HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)
THROUGH_FLASK = "/models/load"
THREADS = 16
PROBES = {"/health/live": 200, "/livez": 200, "/health/ready": 503, "/healthz": 503}


class Impatient(ApiProcess):
    """Waits for a piece of a body no longer than a moment."""

    name = "impatient"

    def argv(self):
        return [*super().argv()[:-1], "tests.e2e.impatient:application"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1")
    redis = RedisServer()
    patient, impatient = ApiProcess(redis.url, root), Impatient(redis.url, root)
    with redis, side_by_side(patient, impatient):
        yield patient, impatient


@contextlib.contextmanager
def stalled(port, path, sent=b"{"):
    """A connection whose client sends the head of a request and `sent`, and no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(HEAD.format(path).encode() + sent)
        yield connection


def answer_to(connection):
    """The status and the body of the answer, whether or not the connection ends with it."""
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, answer.read()


def get(port, path, timeout_s=10.0):
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return answer_to(connection)


def is_held_up(port, path):
    try:
        get(port, path, timeout_s=0.3)
    except TimeoutError:
        return True
    return False


def test_probes_are_answered_while_stalled_bodies_hold_every_thread(servers):
    patient, _ = servers
    with contextlib.ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(stalled(patient.port, THROUGH_FLASK))
        eventually(lambda: is_held_up(patient.port, "/models"))

        answered = {path: get(patient.port, path)[0] for path in PROBES}

    assert answered == PROBES


@pytest.mark.parametrize("sent", [b"", b"{"], ids=["nothing", "a byte"])
@pytest.mark.parametrize("path", ["/predict", "/batch-predict", "/jobs", THROUGH_FLASK])
def test_client_that_stops_sending_is_told_so(servers, path, sent):
    _, impatient = servers
    with stalled(impatient.port, path, sent) as connection:
        status, body = answer_to(connection)

    assert (status, json.loads(body)["code"]) == (400, "malformed_body")
    assert "nothing more of it came" in json.loads(body)["detail"]


def test_threads_that_stalled_bodies_held_are_given_back(servers):
    _, impatient = servers
    with contextlib.ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(stalled(impatient.port, THROUGH_FLASK))

        assert get(impatient.port, "/models")[0] == 200
