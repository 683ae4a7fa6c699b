"""What the ASGI front hands to Flask: bodies however they come, and the caller's address."""

import asyncio
import json

import msgspec
import pytest

from app.api import create_front
from app.settings import Admin

TOKEN = "correct-horse-battery-staple"
BEARER = (b"authorization", f"Bearer {TOKEN}".encode())


class Ready:
    """Awaitable and no coroutine, as what granian's `receive` returns."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from ()
        return self.value


@pytest.fixture
def front(settings, gateway):
    return create_front(settings, gateway)


def ask(front, *parts, path="/models/load", client=("127.0.0.1", 1), headers=()):
    """The status and the decoded body for a POST whose body comes in `parts`."""
    messages = [
        {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
        for at, part in enumerate(parts)
    ]
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
        "client": client,
    }
    asyncio.run(front(scope, lambda: Ready(messages.pop(0)), send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)["code"]


@pytest.mark.parametrize(
    "parts", [(b'{"model_version": 1}',), (b'{"model_ver', b'sion"', b": 1}")], ids=["one", "three"]
)
def test_body_without_a_length_is_read_to_its_end(front, parts):
    assert ask(front, *parts) == (422, "invalid_fields")


def test_body_with_a_length_is_read(front):
    body = b'{"model_version": 1}'

    headers = [(b"content-length", str(len(body)).encode())]

    assert ask(front, body, headers=headers) == (422, "invalid_fields")


@pytest.mark.parametrize(
    ("client", "status"),
    [(("127.0.0.1", 1), 422), (("::1", 1), 422), (("192.0.2.7", 1), 403), (None, 422)],
    ids=str,
)
def test_address_of_the_caller_decides_without_a_token(front, client, status):
    assert ask(front, b"{}", client=client)[0] == status


def test_token_of_the_caller_is_looked_at(settings, gateway):
    closed = msgspec.structs.replace(settings, admin=Admin(token=TOKEN))
    front = create_front(closed, gateway)

    assert ask(front, b"{}") == (401, "token_refused")
    assert ask(front, b"{}", client=("192.0.2.7", 1), headers=[BEARER])[0] == 422
    assert ask(front, b"{}", headers=[BEARER, BEARER])[0] == 401
