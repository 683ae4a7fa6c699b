"""CLI. The HTTP client of the service: answers as data, failures as readable errors."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import urllib3

from app.errors import RequestRefused, ServiceUnreachable
from app.settings import Settings

# The service gives up by itself after `request_timeout_ms`; this much later it must be gone.
READ_MARGIN_S = 5.0
CONNECT_TIMEOUT_S = 2.0
STREAM_BYTES = 1 << 16
NO_CONTENT = 204
NO_JSON = "something that is not JSON; is it mlserve?"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, never bound


class Answer(dict[str, Any]):
    """A JSON object of an answer; `RequestRefused` where it has not got a key that we look for."""

    status = 200

    def __missing__(self, key: str) -> Any:
        raise RequestRefused(str(self.status), f"JSON without {key!r}; is it mlserve?")


class ServiceClient:
    """Talks to one service; may be used by several threads."""

    def __init__(
        self, settings: Settings, max_connections: int = 1, read_timeout_s: float | None = None
    ) -> None:
        self.url = service_url(settings)
        read_s = read_timeout_s or settings.request_timeout_ms / 1000 + READ_MARGIN_S
        self._pool = urllib3.PoolManager(
            maxsize=max_connections,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s),
        )

    def get(self, path: str, token: str | None = None) -> Any:
        """The decoded body; `ServiceUnreachable` or `RequestRefused`. `token` is `admin.token`."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._send("GET", path, headers=headers)

    def post(self, path: str, body: Any) -> Any:
        """Send `body` as JSON; the decoded answer, `ServiceUnreachable` or `RequestRefused`."""
        headers = {"Content-Type": "application/json"}
        return self._send("POST", path, json.dumps(body).encode(), headers)

    def told(self, path: str, body: Any, header: str) -> str:
        """As `post`, for a header of the answer."""
        headers = {"Content-Type": "application/json"}
        answer = self._request("POST", path, body=json.dumps(body).encode(), headers=headers)
        if header not in answer.headers:
            raise RequestRefused(str(answer.status), f"no {header}; is it mlserve?")
        return answer.headers[header]

    def delete(self, path: str) -> Any:
        """The decoded body; `ServiceUnreachable` or `RequestRefused`."""
        return self._send("DELETE", path)

    def upload(self, path: str, pieces: Iterator[bytes], headers: Mapping[str, str]) -> Any:
        """POST a body as it comes, never held as a whole; the decoded answer, errors as above."""
        return self._send("POST", path, pieces, headers)

    def lines(self, path: str) -> Iterator[Any]:
        """The objects of an answer, one a line, as they come; errors as above, also midway."""
        answer = self._request("GET", path, preload_content=False)
        rest = b""
        try:
            for piece in answer.stream(STREAM_BYTES):
                *whole, rest = (rest + piece).split(b"\n")
                yield from (_decode(answer.status, line) for line in whole)
            if rest:
                raise RequestRefused(str(answer.status), NO_JSON)
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnreachable(self.url, _reason(error)) from error
        finally:
            answer.close()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        answer = self._request(method, path, body=body, headers=headers)
        return None if answer.status == NO_CONTENT else _decode(answer.status, answer.data)

    def _request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(method, self.url + path, redirect=False, **options)
            if answer.status >= 300:
                raise _refusal(answer.status, _decode(answer.status, answer.data))
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnreachable(self.url, _reason(error)) from error
        return answer


def status_of(error: RequestRefused) -> int:
    """The HTTP status of an answer that was an error."""
    return int(error.args[0].split()[0])


def was_reached(error: ServiceUnreachable) -> bool:
    """Whether the service was there and may have got the request: it broke off later."""
    absent = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return not isinstance(error.__cause__, absent)


def service_url(settings: Settings) -> str:
    """Where a client on this machine reaches the service."""
    host = ANY_ADDRESS.get(settings.server.host, settings.server.host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.server.port}"


def _reason(error: Exception) -> str:
    # Not being able to connect counts as a timeout in urllib3.
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return str(error.__cause__ or error).rpartition("] ")[2].lower()
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return str(error)


@cache
def _decoder(status: int) -> json.JSONDecoder:
    """Kept, for there are as many objects as a job has results."""
    kind = type(Answer.__name__, (Answer,), {"status": status})
    return json.JSONDecoder(object_hook=kind)


def _decode(status: int, data: bytes) -> Answer:
    try:
        found = _decoder(status).decode(data.decode())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Answer):
        raise RequestRefused(str(status), NO_JSON)
    return found


def _refusal(status: int, problem: Answer) -> RequestRefused:
    fields = problem.get("errors")
    known = fields.items() if isinstance(fields, dict) else ()
    lines = [f"{field}: {_joined(messages)}" for field, messages in known]
    detail = "; ".join(lines) or problem.get("detail") or problem.get("title") or "no detail"
    return RequestRefused(f"{status} {problem.get('code') or ''}".strip(), str(detail))


def _joined(messages: Any) -> str:
    return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
