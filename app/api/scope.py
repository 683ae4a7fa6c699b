"""API process. Gives every request its id: in the answer's headers and in every log line.

WSGI middleware, so that it holds for whatever Flask answers, errors included.
"""

import random
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.logs import request_scope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADER = "X-Request-ID"
REQUEST_ID = "mlserve.request_id"
STARTED = "mlserve.started"

# What is echoed into headers and logs: nothing that could end a line or start a markup.
_random = random.Random()  # noqa: S311 - ids are not secrets
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestScope:
    """Wraps a WSGI application."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """The caller's id where it is well-formed, else a new one."""
        request_id = accepted_id(environ.get("HTTP_X_REQUEST_ID"))
        environ[REQUEST_ID] = request_id
        environ[STARTED] = time.perf_counter()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((HEADER, request_id))
            return start_response(status, headers, exc_info)

        with request_scope(request_id):
            return self._application(environ, start)


def accepted_id(given: str | None) -> str:
    """The caller's id where it is well-formed, else a new one."""
    # Not `uuid4`: it asks the kernel, and gives up the interpreter lock meanwhile.
    if given and _ACCEPTED.fullmatch(given):
        return given
    return _random.getrandbits(128).to_bytes(16).hex()


def elapsed_ms(started: float) -> float:
    """Milliseconds since `started`, in seconds of `time.perf_counter`."""
    # `round` would take twice as long.
    return int((time.perf_counter() - started) * 1e6) / 1000
