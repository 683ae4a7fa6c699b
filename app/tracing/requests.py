"""API process. The spans of requests, and of the chunks in which their texts travel.

A chunk holds texts of many requests: its span is a child of the first of them that is sampled, and
has links to all of them, as they have to it. Where none is sampled there is no span of it, and the
worker is told of no trace. Invariant: every span that is begun is ended.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from app.contract import Chunk, ChunkResult
from app.inference.timing import Timing
from app.settings import Settings
from app.tracing.provider import (
    carried,
    check,
    epoch_ns,
    make_provider,
    names_sampler,
    shut_down,
    tracer_of,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from app.tracing.sampler import AtMost

# Of the two seconds in which an API process has to be gone.
FLUSH_S = 1.0


class RequestSpan:
    """The span of one request that is sampled."""

    def __init__(self, tracing: "RequestTracing", span: "Span", request_id: str) -> None:
        self._tracing = tracing
        self.span = span
        self.request_id = request_id

    def waited(self, timing: Timing | None) -> None:
        """Tell how long its texts were held back; `timing` is None where none was sent."""
        if timing is not None:
            self._tracing.batch_wait(self.span, timing)

    def end(self, status: int | None) -> None:
        """It was answered with this HTTP status; None where it was not answered."""
        self._tracing.end(self, status)


class RequestTracing:
    """Spans of one API process; safe for several threads.

    `beginning` is the sampler of requests without a caller's trace, where it is ours.
    """

    def __init__(self, provider: "TracerProvider", beginning: "AtMost | None" = None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._provider, self._tracer = provider, tracer_of(provider)
        self._beginning = beginning
        self._propagator = TraceContextTextMapPropagator()
        self._lock = threading.Lock()
        # Callers choose the ids: two requests at the same time may have the same one.
        self._open: dict[str, list[RequestSpan]] = {}

    def begin(
        self, method: str, route: str, request_id: str, headers: Mapping[str, str | None]
    ) -> RequestSpan | None:
        """The span of a request, child of the caller's; None where it is not sampled.

        A `traceparent` that is not valid is taken for none.
        """
        if headers.get("traceparent") is None and self._beginning and self._beginning.is_spent:
            return None
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._propagator.extract(carried(headers)),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "mlserve.request_id": request_id,
            },
        )
        if not span.get_span_context().trace_flags.sampled:
            return None
        begun = RequestSpan(self, span, request_id)
        with self._lock:
            self._open.setdefault(request_id, []).append(begun)
        return begun

    def end(self, request: RequestSpan, status: int | None) -> None:
        """See `RequestSpan.end`."""
        with self._lock:
            others = [one for one in self._open[request.request_id] if one is not request]
            if others:
                self._open[request.request_id] = others
            else:
                del self._open[request.request_id]
        if status is not None:
            request.span.set_attribute("http.response.status_code", status)
        if status is None or status >= 500:
            request.span.set_status(self._trace.StatusCode.ERROR)
        request.span.end()

    def batch_wait(self, parent: "Span", timing: Timing) -> None:
        """A span that is over: from the arrival of texts in the coalescer to their sending."""
        begun_at = timing.asked_at
        span = self._tracer.start_span(
            "batch_wait",
            context=self._trace.set_span_in_context(parent),
            start_time=epoch_ns(begun_at),
        )
        span.end(epoch_ns(begun_at + timing.batch_s))

    def chunk(
        self, chunk: Chunk, task_id: str, queue: str, future: "Future[ChunkResult]"
    ) -> dict[str, str]:
        """Begin the span of a chunk that is about to be sent; it ends with `future`.

        The headers that make the worker's spans its children; none where no request is sampled.
        """
        with self._lock:
            requests = [one.span for i in chunk.request_ids for one in self._open.get(i, ())]
        if not requests:
            return {}
        parent: Any = min(requests, key=lambda span: getattr(span, "start_time", 0))
        span = self._tracer.start_span(
            "chunk",
            context=self._trace.set_span_in_context(parent),
            kind=self._trace.SpanKind.PRODUCER,
            links=[self._trace.Link(request.get_span_context()) for request in requests],
            attributes={
                "messaging.system": "celery",
                "messaging.destination.name": queue,
                "messaging.message.id": task_id,
                "mlserve.model_version": chunk.ref,
                "mlserve.texts": len(chunk.texts),
            },
        )
        for request in requests:
            request.add_link(span.get_span_context())
        future.add_done_callback(partial(self._landed, span))
        headers: dict[str, str] = {}
        self._propagator.inject(headers, self._trace.set_span_in_context(span))
        return headers

    def close(self) -> None:
        """Send what there is."""
        shut_down(self._provider, FLUSH_S)

    def _landed(self, span: "Span", done: "Future[ChunkResult]") -> None:
        if done.cancelled() or done.exception() is not None:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()


def trace_requests(settings: Settings) -> RequestTracing:
    """The spans of this API process; `ConfigError` where OpenTelemetry is not installed."""
    check(settings)
    from app.tracing.sampler import AtMost

    beginning = None if names_sampler() else AtMost(settings.tracing.max_traces_per_s)
    return RequestTracing(make_provider("api", beginning), beginning)
