"""Spans of requests and chunks in the API process, and what a message carries of them."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from app.contract import Chunk
from app.errors import ServingError
from app.inference.pending import Pending
from app.inference.timing import Timing
from app.settings import Settings, Tracing
from app.tracing.requests import RequestTracing, trace_requests
from app.tracing.sampler import AtMost

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
INVALID = [
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"ff-{TRACE}-{PARENT}-01",
    f"00-{TRACE}-{PARENT}",
    "00-" + "a" * 1000,
    "",
    "\u00e9",
]


@pytest.fixture
def tracing(provider):
    return RequestTracing(provider)


@pytest.fixture
def pending():
    return Pending(lambda: 0.0)


def begin(tracing, request_id="r1", traceparent=SAMPLED):
    headers = {"traceparent": traceparent, "tracestate": None}
    return tracing.begin("POST", "/predict", request_id, headers)


def send(tracing, pending, *request_ids):
    chunk = Chunk(ref="tiny-v1", texts=["a secret"], deadline=9e9, request_ids=list(request_ids))
    sent = pending.add(chunk, "predict.cpu")
    sent.headers = tracing.chunk(chunk, sent.task_id, sent.queue, sent.future)
    return sent


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def linked(span):
    return {link.context.span_id for link in span.links}


def test_request_goes_on_with_the_trace_of_its_caller(tracing, exporter):
    begin(tracing).end(200)

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("POST /predict", SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["mlserve.request_id"] == "r1"


@pytest.mark.parametrize("traceparent", [None, *INVALID])
def test_request_without_a_valid_caller_begins_a_trace(tracing, exporter, traceparent):
    begin(tracing, traceparent=traceparent).end(200)

    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_request_that_the_caller_does_not_sample_has_no_span_nor_has_its_chunk(
    tracing, exporter, pending
):
    assert begin(tracing, traceparent=UNSAMPLED) is None

    sent = send(tracing, pending, "r1")
    sent.future.set_result(None)

    assert sent.headers == {}
    assert exporter.get_finished_spans() == ()


def test_sampler_decides_where_there_is_no_caller(exporter):
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = RequestTracing(provider)

    assert begin(tracing, traceparent=None) is None
    begin(tracing, traceparent=SAMPLED).end(200)

    assert len(exporter.get_finished_spans()) == 1
    provider.shutdown()


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_callers_that_sample_are_followed_however_many_traces_were_begun(exporter, is_asked_first):
    beginning = AtMost(1)
    provider = TracerProvider(sampler=ParentBased(beginning))
    tracing = RequestTracing(provider, beginning if is_asked_first else None)

    begun = [begin(tracing, traceparent=None) is not None for _ in range(3)]
    followed = [begin(tracing, traceparent=SAMPLED) is not None for _ in range(3)]

    assert (begun, followed) == ([True, False, False], [True, True, True])
    provider.shutdown()


def test_chunk_and_its_requests_are_linked_both_ways(tracing, exporter, pending):
    requests = [begin(tracing, one, traceparent=None) for one in ("r1", "r2")]
    begin(tracing, "r3", traceparent=UNSAMPLED)
    begin(tracing, "elsewhere", traceparent=None).end(200)
    exporter.clear()

    sent = send(tracing, pending, "r1", "r2", "r3")
    sent.future.set_result(None)
    for request in requests:
        request.end(200)

    chunk, *ended = exporter.get_finished_spans()
    ids = [span.context.span_id for span in ended]
    assert (chunk.name, chunk.kind) == ("chunk", SpanKind.PRODUCER)
    assert (chunk.parent.span_id, linked(chunk)) == (ids[0], set(ids))
    assert all(linked(span) == {chunk.context.span_id} for span in ended)
    assert chunk.attributes["messaging.message.id"] == sent.task_id
    assert chunk.attributes["mlserve.texts"] == 1
    assert "secret" not in chunk.to_json()


def test_message_carries_the_context_of_the_chunk(tracing, exporter, pending):
    begin(tracing)

    sent = send(tracing, pending, "r1")
    sent.future.set_result(None)

    span = by_name(exporter)["chunk"]
    assert sent.headers == {"traceparent": f"00-{TRACE}-{span.context.span_id:016x}-01"}


def test_two_requests_with_the_same_id_are_both_linked_and_both_ended(tracing, exporter, pending):
    first, second = begin(tracing), begin(tracing, traceparent=None)

    sent = send(tracing, pending, "r1")
    sent.future.set_result(None)
    second.end(200)
    alone = send(tracing, pending, "r1")
    alone.future.set_result(None)
    first.end(200)

    both, only_first = [s for s in exporter.get_finished_spans() if s.name == "chunk"]
    assert (len(both.links), len(only_first.links)) == (2, 1)
    assert send(tracing, pending, "r1").headers == {}


@pytest.mark.parametrize("how", ["error", "cancelled"])
def test_chunk_that_is_not_answered_ends_as_an_error(tracing, exporter, pending, how):
    begin(tracing)
    sent = send(tracing, pending, "r1")

    if how == "error":
        sent.future.set_exception(ServingError())
    else:
        sent.future.cancel()

    assert by_name(exporter)["chunk"].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(("status", "expected"), [(404, StatusCode.UNSET), (503, StatusCode.ERROR),
                                                  (None, StatusCode.ERROR)])  # fmt: skip
def test_request_is_an_error_where_the_service_failed(tracing, exporter, status, expected):
    begin(tracing).end(status)

    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is expected


def test_wait_for_the_chunk_has_the_times_of_the_coalescer(tracing, exporter):
    request = begin(tracing)

    request.waited(Timing(1.0, 0.25, 9.0, 9.0, 9.0))
    request.waited(None)
    request.end(200)

    wait, whole = exporter.get_finished_spans()
    assert (wait.name, wait.parent.span_id) == ("batch_wait", whole.context.span_id)
    assert wait.end_time - wait.start_time == pytest.approx(0.25e9, abs=1e6)


@pytest.mark.parametrize(("sampler", "begun"), [(None, 2), ("always_on", 5), ("always_off", 0)])
def test_process_begins_as_many_traces_as_it_is_told_to(monkeypatch, sampler, begun):
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    if sampler is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    tracing = trace_requests(Settings(tracing=Tracing(enabled=True, max_traces_per_s=2)))

    spans = [begin(tracing, f"r{number}", traceparent=None) for number in range(5)]

    tracing.close()
    assert sum(span is not None for span in spans) == begun
