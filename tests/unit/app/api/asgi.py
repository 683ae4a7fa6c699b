"""An ASGI server in the hands of the test: it hands an app one request and keeps the answer.

It passes bodies on as granian does: in pieces, and then an empty one that says that they were all.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

MAX_WAIT_S = 20.0
DISCONNECT = {"type": "http.disconnect"}


class Answer(NamedTuple):
    """What was sent; names of headers in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    def header(self, name):
        """The value of a header that comes once at most."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else None


class Exchange:
    """One request on a connection; `answer` is None as long as there is none."""

    def __init__(self, scope, messages: Iterable[dict]):
        self.scope = scope
        self.taken = 0
        self.sent = []
        self._messages = iter(messages)

    async def run(self, app):
        """The answer of `app`, once it is done with the request."""
        async with asyncio.timeout(MAX_WAIT_S):
            await app(self.scope, self.receive, self.send)
        return self.answer

    @property
    def answer(self):
        if not self.sent:
            return None
        start, *rest = self.sent
        assert start["type"] == "http.response.start"
        is_open = [message.get("more_body", False) for message in rest]
        assert is_open == [True] * (len(rest) - 1) + [False]
        headers = [(name.decode("latin-1"), value.decode("latin-1"))
                   for name, value in start["headers"]]  # fmt: skip
        return Answer(start["status"], headers, b"".join(message["body"] for message in rest))

    async def receive(self):
        """The next message; none comes after the last one, and the client stays."""
        message = next(self._messages, None)
        if message is None:
            await asyncio.Event().wait()
        self.taken += len(message.get("body", b""))
        return message

    async def send(self, message):
        """Keep what the app answers."""
        self.sent.append(message)


def scope(path, method="POST", headers=()):
    """That of a request; `path` is as the client sends it, `headers` are pairs."""
    parts = urlsplit(path)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip


def pieces(*bodies, more_body=True):
    """A body in pieces and its end; with `more_body=False` the last piece is the end."""
    messages = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    if more_body:
        return [*messages, {"type": "http.request", "body": b"", "more_body": False}]
    return [*messages[:-1], messages[-1] | {"more_body": False}]


class Client:
    """Sends whole requests, each on an event loop of its own, as Flask's test client does."""

    def __init__(self, app):
        self.app = app

    def open(self, path, method="GET", data=b"", headers=None, chunked=False):
        """The answer to a request."""
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(data))}
        given = scope(path, method, ((headers or {}) | length).items())
        return asyncio.run(Exchange(given, pieces(data)).run(self.app))

    def get(self, path, **options):
        return self.open(path, **options)

    def post(self, path, json, headers=None):
        return self.open(path, "POST", encode(json), JSON | (headers or {}))


JSON = {"Content-Type": "application/json"}


def encode(body):
    return json.dumps(body).encode()
