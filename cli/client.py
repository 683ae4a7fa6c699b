"""CLI. The HTTP client of the service: answers as data, failures as readable errors."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from app.errors import RequestRefused, ServiceUnreachable
from app.settings import Settings

# The service gives up by itself after `request_timeout_ms`; this much later it must be gone.
READ_MARGIN_S = 5.0
CONNECT_TIMEOUT_S = 2.0
STREAM_BYTES = 1 << 16
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, never bound


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

    def told(self, path: str, body: Any) -> tuple[Any, Mapping[str, str]]:
        """As `post`, with the headers of the answer."""
        headers = {"Content-Type": "application/json"}
        answer = self._request("POST", path, body=json.dumps(body).encode(), headers=headers)
        return _decode(answer.data), answer.headers

    def delete(self, path: str) -> Any:
        """The decoded body; `ServiceUnreachable` or `RequestRefused`."""
        return self._send("DELETE", path)

    def upload(self, path: str, pieces: Iterator[bytes], headers: Mapping[str, str]) -> Any:
        """POST a body as it comes, never held as a whole; the decoded answer, errors as above."""
        return self._send("POST", path, pieces, headers)

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of an answer as they come, errors as above: also in the midst of it.

        Only whole lines, without their ends.
        """
        answer = self._request("GET", path, preload_content=False)
        rest = b""
        try:
            for piece in answer.stream(STREAM_BYTES):
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
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
        return _decode(self._request(method, path, body=body, headers=headers).data)

    def _request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(method, self.url + path, redirect=False, **options)
            if answer.status >= 400:
                raise _refusal(answer.status, _decode(answer.data))
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


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _refusal(status: int, problem: Any) -> RequestRefused:
    if not isinstance(problem, dict):
        return RequestRefused(str(status), "something that is not JSON; is it mlserve?")
    fields = problem.get("errors") or {}
    lines = [f"{field}: {_joined(messages)}" for field, messages in fields.items()]
    detail = "; ".join(lines) or problem.get("detail") or problem.get("title") or "no detail"
    return RequestRefused(f"{status} {problem.get('code', '')}".strip(), detail)


def _joined(messages: Any) -> str:
    return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
