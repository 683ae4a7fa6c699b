"""API process. The hot routes, answered in front of Flask.

Flask's contexts, routing and response objects cost a request three times what reading, checking,
counting and answering it do. A hot view takes the WSGI environment instead of Flask's request; it
is registered and documented with flask-smorest as every other, and would answer the same there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from app.api.exporter import AccessLog, Exchange
from app.api.gate import JSON_TYPE
from app.api.refusal import refusal
from app.api.scope import REQUEST_ID, STARTED
from app.api.services import Services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

METHOD = "POST"


class Answered(NamedTuple):
    """A JSON body for a 200, and its headers besides type and length."""

    body: bytes
    headers: list[tuple[str, str]]


HotView = Callable[[Services, Mapping[str, Any]], Answered]


class HotRoutes:
    """WSGI middleware: answers `POST` to the paths of `views`, leaves the rest to Flask."""

    def __init__(
        self,
        application: "WSGIApplication",
        views: Mapping[str, HotView],
        services: Services,
        access_log: AccessLog,
    ) -> None:
        self._application = application
        self._views = views
        self._services = services
        self._access_log = access_log

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer as Flask would: the same body, headers, counters and log lines."""
        path = environ["PATH_INFO"]
        view = self._views.get(path)
        if view is None or environ["REQUEST_METHOD"] != METHOD:
            return self._application(environ, start_response)
        try:
            body, headers = view(self._services, environ)
        except Exception as error:  # noqa: BLE001 - Flask, too, answers whatever a view raises
            answer = refusal(self._services, error, environ[REQUEST_ID])
            self._observe(environ, path, answer.status_code)
            return answer(environ, start_response)
        self._observe(environ, path, 200)
        headers += [("Content-Type", JSON_TYPE), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return (body,)

    def _observe(self, environ: "WSGIEnvironment", path: str, status: int) -> None:
        exchange = Exchange(METHOD, path, status, environ[STARTED])
        if self._services.exporter:
            self._services.exporter.count(exchange)
        self._access_log.log(exchange)
