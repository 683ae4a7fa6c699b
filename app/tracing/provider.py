"""Shared. Where spans go: OTLP, as the standard OTEL_* variables say; and what times they get.

The one module that knows how OpenTelemetry is set up. It is the extra `otel`, so nothing of it is
imported before `tracing.enabled` asks for it.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from app.errors import INSTALL, ConfigError
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Tracer

LIBRARIES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
MISSING = f"tracing.enabled = true: OpenTelemetry is not installed; {INSTALL} '.[otel]'"
NAMESPACE = "mlserve"


def check(settings: Settings) -> None:
    """`ConfigError` where tracing is enabled and cannot be done."""
    if settings.tracing.enabled and not all(map(_is_installed, LIBRARIES)):
        raise ConfigError(MISSING)


def make_provider(process: str, beginning: "Sampler | None" = None) -> "TracerProvider":
    """A provider for `process` ("api" or "worker") with an OTLP exporter.

    Limits, batches, endpoint and resource are read from the environment by the SDK, and so is the
    sampler where OTEL_TRACES_SAMPLER names one. Otherwise a trace is gone on with as its beginning
    was decided, and `beginning` decides of new ones; None samples them all.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased

    own = Resource({SERVICE_NAME: f"{NAMESPACE}-{process}", "process.pid": os.getpid()})
    # Its own `create` would have our name win over that of OTEL_SERVICE_NAME.
    resource = Resource.create().merge(own).merge(OTELResourceDetector().detect())
    sampler = None if beginning is None or names_sampler() else ParentBased(beginning)
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def names_sampler() -> bool:
    """Whether the environment says which traces begin."""
    return bool(os.environ.get("OTEL_TRACES_SAMPLER"))


def tracer_of(provider: "TracerProvider") -> "Tracer":
    """Where the spans of mlserve are begun."""
    return provider.get_tracer(NAMESPACE, version("mlserve"))


def shut_down(provider: "TracerProvider", timeout_s: float) -> None:
    """Send what there is, for `timeout_s` at most: a collector that is away holds up no exit."""
    thread = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
    thread.start()
    thread.join(timeout_s)


def epoch_ns(moment_s: float, clock: Callable[[], float] = time.monotonic) -> int:
    """What OpenTelemetry takes for a time: nanoseconds since the epoch at `moment_s` of `clock`."""
    return time.time_ns() - round((clock() - moment_s) * 1e9)


def carried(headers: Mapping[str, Any]) -> dict[str, str]:
    """The trace context among `headers`, whose names are in lower case."""
    names = ("traceparent", "tracestate")
    return {name: str(value) for name in names if (value := headers.get(name))}


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ImportError:
        return False
