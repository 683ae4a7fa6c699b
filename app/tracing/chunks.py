"""Worker process. The spans of chunks: one for the task, and one for each forward pass in it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from app.contract import Chunk
from app.tracing.provider import carried, epoch_ns, shut_down, tracer_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

# Of the time that a worker is given to stop.
FLUSH_S = 2.0


class Pass(NamedTuple):
    """A forward pass over some texts; times are in seconds of `time.perf_counter`."""

    texts: int
    began_at: float
    ended_at: float


class ChunkTracing:
    """Spans of one worker process."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._provider, self._tracer = provider, tracer_of(provider)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def chunk(
        self, chunk: Chunk, request: Mapping[str, Any], passes: Sequence[Pass]
    ) -> Iterator[None]:
        """A span while the chunk is computed, child of the API's, where that sampled it.

        `request` is Celery's, with the headers of the message; `passes` are those that were made
        when it ends, with whatever error.
        """
        parent = self._propagator.extract(carried(request))
        if not self._trace.get_current_span(parent).get_span_context().trace_flags.sampled:
            yield
            return
        with self._tracer.start_as_current_span(
            "predict_chunk",
            context=parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "celery",
                "messaging.message.id": str(request.get("id")),
                "mlserve.model_version": chunk.ref,
                "mlserve.texts": len(chunk.texts),
            },
            # The message of an exception may quote a text; its kind is in the log.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException:
                span.set_status(self._trace.StatusCode.ERROR)
                raise
            finally:
                self._tell(span, passes)

    def close(self) -> None:
        """Send what there is."""
        shut_down(self._provider, FLUSH_S)

    def _tell(self, parent: "Span", passes: Sequence[Pass]) -> None:
        context = self._trace.set_span_in_context(parent)
        for one in passes:
            span = self._tracer.start_span(
                "inference",
                context=context,
                start_time=epoch_ns(one.began_at, time.perf_counter),
                attributes={"mlserve.texts": one.texts},
            )
            span.end(epoch_ns(one.ended_at, time.perf_counter))
