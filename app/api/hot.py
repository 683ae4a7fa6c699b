"""API process. Hot views: what they get and give, whichever server asks.

A hot view is a coroutine that needs no Flask, so that the many requests that wait for a worker need
no thread each: `app.api.front` awaits it on the event loop. It is registered and documented with
flask-smorest as every other view, and under a plain WSGI server it answers the same through Flask.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from app.api.gate import Gate
from app.api.scope import REQUEST_ID, STARTED
from app.api.services import Services
from app.tracing.requests import RequestSpan

METHOD = "POST"


class Call(NamedTuple):
    """A request; `started` is in seconds of `time.perf_counter`, `prefer` its `Prefer` header.

    `span` is None where it is not traced.
    """

    body: bytes
    prefer: str | None
    request_id: str
    started: float
    span: RequestSpan | None = None

    @classmethod
    def of(cls, environ: Mapping[str, Any], gate: Gate) -> "Call":
        """That of a WSGI request; raises what `Gate.read` raises."""
        prefer = environ.get("HTTP_PREFER")
        return cls(gate.read(environ), prefer, environ[REQUEST_ID], environ[STARTED])


class Answered(NamedTuple):
    """A JSON body, and its headers besides type and length; `details` are for the log alone."""

    body: bytes
    headers: list[tuple[str, str]]
    status: int = 200
    details: Mapping[str, str] = {}


HotView = Callable[[Services, Call], Coroutine[Any, Any, Answered]]
