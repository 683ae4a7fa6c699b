"""API process. Which requests begin a trace: so many a second that tracing costs little in a rush.

Imports OpenTelemetry, the extra `otel`: to be imported where `tracing.enabled` asks for it.
"""

import threading
from collections.abc import Sequence

from kombu.utils.limits import TokenBucket
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class AtMost(Sampler):
    """Samples the first `max_per_s` of each second, as a token bucket counts them."""

    def __init__(self, max_per_s: int) -> None:
        self._max_per_s = max_per_s
        self._bucket = TokenBucket(max_per_s, max_per_s)
        self._lock = threading.Lock()

    @property
    def is_spent(self) -> bool:
        """Whether no trace can begin now: who asks first makes nothing that would be dropped."""
        with self._lock:
            return bool(self._bucket.expected_time() > 0)

    def should_sample(  # noqa: PLR0913 - as OpenTelemetry has it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Whether this span, which has no parent, begins a trace."""
        with self._lock:
            is_sampled = self._bucket.can_consume()
        if is_sampled:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """What OpenTelemetry calls it."""
        return f"AtMost{{{self._max_per_s}/s}}"
