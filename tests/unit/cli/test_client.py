"""The HTTP client against a small real server: what it makes of answers that are not 200."""

import socket

import msgspec
import pytest

from app.errors import RequestRefused, ServiceUnreachable
from app.settings import Server, Settings
from cli.client import ServiceClient, service_url
from tests.local_server import Handler, LocalServer

ANSWERS = {
    "/fields": (422, {"code": "invalid_fields", "errors": {"text": ["is blank.", "is short."]}}),
    "/detail": (503, {"code": "no_worker", "detail": "no worker holds sentiment-v2"}),
    "/html": (502, b"<html>bad gateway</html>"),
    "/errors": (422, {"code": "invalid_fields", "errors": ["text"], "detail": 7}),
    "/hello": (200, b"hello"),
    "/null": (200, b"null"),
    "/list": (200, [{"label": "positive"}]),
    "/nested": (200, b"[" * 100_000),
    "/latin": (200, b'{"label": "\xe9"}'),
    "/moved": (302, b""),
    "/nothing": (204, b""),
    "/empty": (202, {"inner": {}}),
    "/good": (200, {"label": "positive"}),
}


class Canned(Handler):
    def do_GET(self):
        self.answer(*ANSWERS[self.path])


@pytest.fixture
def client():
    with LocalServer(Canned) as server:
        yield ServiceClient(Settings(server=Server(port=server.port)))


def test_good_answer_is_decoded(client):
    assert client.get("/good") == {"label": "positive"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/fields", "the service answered 422 invalid_fields: text: is blank. is short."),
        ("/detail", "the service answered 503 no_worker: no worker holds sentiment-v2"),
        ("/errors", "the service answered 422 invalid_fields: 7"),
        *(
            (path, f"the service answered {status}: something that is not JSON; is it mlserve?")
            for path, status in {
                "/html": 502,
                "/hello": 200,
                "/null": 200,
                "/list": 200,
                "/nested": 200,
                "/latin": 200,
                "/moved": 302,
            }.items()
        ),
    ],
)
def test_problem_becomes_one_readable_line(client, path, line):
    with pytest.raises(RequestRefused) as refused:
        client.get(path)

    assert str(refused.value) == line


def test_answer_without_content_is_no_problem(client):
    assert client.get("/nothing") is None


def test_key_that_an_answer_has_not_becomes_one_readable_line(client):
    found = client.get("/empty")

    for part in (found, found["inner"]):
        with pytest.raises(RequestRefused) as refused:
            part["label"]
        line = "the service answered 202: JSON without 'label'; is it mlserve?"
        assert str(refused.value) == line


@pytest.mark.parametrize("path", ["/hello", "/moved"])
def test_lines_that_are_not_of_the_service_become_one_readable_line(client, path):
    with pytest.raises(RequestRefused, match="something that is not JSON; is it mlserve"):
        list(client.lines(path))


def test_nobody_there_names_the_address_and_the_command():
    client = ServiceClient(Settings(server=Server(port=1)))

    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:1 \(connection refused\).*serve"):
        client.get("/health/live")


def test_silent_service_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = Settings(server=Server(port=mute.getsockname()[1]))
        client = ServiceClient(settings, read_timeout_s=0.2)

        with pytest.raises(ServiceUnreachable, match="no answer in time"):
            client.get("/good")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 - never bound here
        ("::", "http://[::1]:8000"),
        ("example", "http://example:8000"),
    ],
)
def test_client_reaches_what_listens_on_all_addresses(host, url):
    settings = msgspec.structs.replace(Settings(), server=Server(host=host))

    assert service_url(settings) == url
