"""API process. Hot views: what they get and give, whichever server asks.

A hot view is a coroutine that needs no Flask, so that the many requests that wait for a worker need
no thread each, and a probe or a scrape waits for no thread: `app.api.front` awaits it on the event
loop. It is registered and documented with flask-smorest as every other view, and under a plain WSGI
server it answers the same through Flask.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from app.api.gate import JSON_TYPE, Gate
from app.api.scope import REQUEST_ID, STARTED
from app.api.services import Services
from app.inference.departures import Left
from app.tracing.requests import RequestSpan

# Only this one has a body that is read.
METHOD = "POST"
GET, HEAD = "GET", "HEAD"


class Call(msgspec.Struct, frozen=True):
    """A request; `started` is in seconds of `time.perf_counter`, `prefer` its `Prefer` header.

    `span` is None where it is not traced; `accept` is the `Accept` header, which no
    POST needs; `left` returns when the caller has left, None where nobody can tell.
    """

    body: bytes
    prefer: str | None
    request_id: str
    started: float
    span: RequestSpan | None = None
    accept: str | None = None
    left: Left | None = None

    @classmethod
    def of(cls, environ: Mapping[str, Any], gate: Gate) -> "Call":
        """That of a WSGI request; raises what `Gate.read` raises."""
        body = gate.read(environ) if environ["REQUEST_METHOD"] == METHOD else b""
        prefer, accept = environ.get("HTTP_PREFER"), environ.get("HTTP_ACCEPT")
        return cls(body, prefer, environ[REQUEST_ID], environ[STARTED], accept=accept)


class Answered(msgspec.Struct, frozen=True):
    """A body, and its headers besides type and length; `details` are for the log alone."""

    body: bytes
    headers: list[tuple[str, str]]
    status: int = 200
    details: Mapping[str, str] = {}
    content_type: str = JSON_TYPE


HotView = Callable[[Services, Call], Coroutine[Any, Any, Answered]]
# By method and path.
HotViews = Mapping[tuple[str, str], HotView]
