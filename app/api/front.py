"""API process. The ASGI application: hot views on the event loop, everything else through Flask.

With a thread for each waiting request, the threads' contest for the interpreter lock cost four
times what the requests themselves do; here one thread serves them all. What is not hot goes through
Flask, in a few threads.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from a2wsgi import WSGIMiddleware
from flask import Flask

from app.api.affinity import OneCore
from app.api.door import MAX_UNREAD_DIGITS, Door
from app.api.exporter import Exchange, log_access
from app.api.gate import check_type
from app.api.hot import HEAD, METHOD, Answered, Call, HotView, HotViews
from app.api.reading import Message, Patience, Receive, discard, gather, left, whole
from app.api.refusal import refusal
from app.api.scope import HEADER, accepted_id
from app.api.services import Services
from app.errors import BodyTooLarge, Overloaded, UnsupportedMediaType
from app.garbage import settle
from app.inference.departures import CallerLeft
from app.logs import request_scope
from app.tracing.requests import RequestSpan

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Send = Callable[[Message], Awaitable[None]]

# How old what others read of this process's counts may be.
WRITE_COUNTS_EVERY_S = 0.05
# In the WSGI environment, where there is one: a `Departure`.
DEPARTURE = "mlserve.departure"
# What servers write down for a request whose client closed the connection, after nginx.
LEFT = 499

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


class Front:
    """Answers what `views` are for by itself."""

    def __init__(self, app: Flask, views: HotViews, services: Services, patience: Patience) -> None:
        self._views = views
        self._patience = patience
        self._services = services
        self._tracing = services.tracing
        max_wait_s = services.settings.request_timeout_ms / 1000
        self._door = Door(services.predictions, max_wait_s)
        self._logs_all = services.settings.logging.access
        self._writes_counts = False
        self._core = OneCore() if services.settings.server.cpu_affinity else None
        self._unsettled: OneCore | None = None
        self._flask: Any = WSGIMiddleware(
            cast(Any, with_end(app.wsgi_app)), workers=services.settings.server.threads
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if (core := self._unsettled) is not None:
            # Not before the first request: until then the server starts threads of its own.
            self._unsettled = None
            core.settle()
        try:
            if view := self._views.get((scope.get("method", ""), scope["path"])):
                await self._answer(view, scope, receive, send)
            else:
                await self._flask(_in_ascii(scope), whole(receive, self._patience), send)
        finally:
            self._write_counts_soon()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # The first look at the fleet blocks; later ones do not.
        await asyncio.to_thread(self._services.predictions.fleet)
        settle(collect=True)
        self._services.start()
        if self._services.metrics:
            self._services.metrics.deferred.defer()
        self._unsettled = self._core
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._services.close)
        if self._core is not None:
            self._core.leave()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, view: HotView, scope: Message, receive: Receive, send: Send) -> None:
        started, method, path = time.perf_counter(), scope["method"], scope["path"]
        # Of a header that comes twice, the first one counts.
        given = dict(reversed(scope["headers"]))
        request_id = accepted_id(_text(given.get(b"x-request-id")))
        span = self._begin(method, path, given, request_id)
        answered: Answered | None = None
        try:
            with request_scope(request_id):
                try:
                    body = b""
                    if method == METHOD:
                        body = await self._read(started, given, receive)
                    elif method == HEAD:
                        send = _without_body(send)
                    # Of these all lines count (RFC 7240, RFC 9110).
                    prefer = _joined(b"prefer", scope) if b"prefer" in given else None
                    accept = _joined(b"accept", scope) if method != METHOD else None
                    has_left = partial(left, receive)
                    call = Call(body, prefer, request_id, started, span, accept, has_left)
                    answered = await view(self._services, call)
                except CallerLeft:
                    self._observe(Exchange(method, path, LEFT, started, {}))
                    return
                except Exception as error:  # noqa: BLE001 - Flask, too, answers whatever a view raises
                    answered = refusal(self._services, error, request_id)
                await _respond(send, answered, request_id)
                # Last: nobody waits for it.
                status, details = answered.status, answered.details
                self._observe(Exchange(method, path, status, started, details))
        finally:
            if span is not None:
                span.end(None if answered is None else answered.status)

    def _begin(
        self, method: str, path: str, given: Mapping[bytes, bytes], request_id: str
    ) -> RequestSpan | None:
        if self._tracing is None or method != METHOD:
            return None
        names = (b"traceparent", b"tracestate")
        headers = {name.decode(): _text(given.get(name)) for name in names}
        return self._tracing.begin(method, path, request_id, headers)

    async def _read(self, started: float, given: Mapping[bytes, bytes], receive: Receive) -> bytes:
        kind, length = _text(given.get(b"content-type")), given.get(b"content-length")
        try:
            check_type(kind or "", _text(given.get(b"content-encoding")))
        except UnsupportedMediaType:
            if len(length or b"") > MAX_UNREAD_DIGITS or b"transfer-encoding" in given:
                await discard(receive, self._patience)
            raise
        max_bytes = self._services.gate.max_body_bytes
        try:
            self._door.enter(started, length)
        except Overloaded:
            await self._door.wait()
            raise
        try:
            with self._patience:
                message = await receive()
        finally:
            self._door.leave(started, time.perf_counter())
        body: bytes = message.get("body", b"")
        # To ask whether all there is was all costs another turn of the event loop.
        is_whole = b"%d" % len(body) == length
        if not is_whole or b"transfer-encoding" in given:
            return await gather(message, receive, self._patience, max_bytes)
        if len(body) > max_bytes:
            raise BodyTooLarge(max_bytes)
        return body

    def _write_counts_soon(self) -> None:
        if not self._writes_counts and self._services.metrics:
            self._writes_counts = True
            asyncio.get_running_loop().call_later(WRITE_COUNTS_EVERY_S, self._write_counts)

    def _write_counts(self) -> None:
        self._writes_counts = False
        if self._services.metrics:
            self._services.metrics.deferred.write()

    def _observe(self, exchange: Exchange) -> None:
        if self._services.exporter:
            self._services.exporter.count(exchange)
        log_access(exchange, self._logs_all)


def with_end(application: "WSGIApplication") -> "WSGIApplication":
    """Tells `application` that the stream ends with the body, also where that has no length."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["wsgi.input_terminated"] = True
        environ[DEPARTURE] = Departure(environ["wsgi.input"])
        return application(environ, start_response)

    return call


def _in_ascii(scope: Message) -> Message:
    """`scope` for a2wsgi, which takes no other bytes in a query than those that belong there."""
    query: bytes = scope.get("query_string", b"")
    if query.isascii():
        return scope
    return {**scope, "query_string": _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], query)}


class Departure:
    """Whether the client has left that is being answered: what it is sent then vanishes silently.

    `stream` is a2wsgi's. To be closed.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left: Future[None] | None = None

    def __call__(self) -> bool:
        """Asks for the first time, and looks whether there is an answer from then on."""
        if self._left is None:
            leaving = left(self._stream.receive)
            self._left = asyncio.run_coroutine_threadsafe(leaving, self._stream.loop)
        return self._left.done()

    def close(self) -> None:
        """Ask no more."""
        if self._left is not None:
            self._left.cancel()


async def _respond(send: Send, answered: Answered, request_id: str) -> None:
    body, kind = answered.body, answered.content_type
    headers = [(_names[name], value.encode("latin-1")) for name, value in answered.headers]
    headers.append((b"content-type", kind.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    headers.append((_names[HEADER], request_id.encode()))
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if "body" in message else message)

    return send_head


class _Names(dict[str, bytes]):
    """Names of headers as ASGI wants them. They are few: those that our own answers have."""

    def __missing__(self, name: str) -> bytes:
        raw = self[name] = name.lower().encode("latin-1")
        return raw


_names = _Names()


def _joined(name: bytes, scope: Message) -> str:
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
