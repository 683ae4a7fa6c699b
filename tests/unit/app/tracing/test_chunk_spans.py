"""Spans of a worker: the chunk and its forward passes."""

import time

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from app.contract import Chunk
from app.errors import ModelUnavailable
from app.inference.engine import Spent, predict
from app.models.loader import load
from app.tracing.chunks import ChunkTracing, Pass
from tests.models import LIMITS, build_model, entry

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
REQUEST = {"id": "chunk-1", "traceparent": f"00-{TRACE}-{PARENT}-01", "argsrepr": "<2 texts>"}
CHUNK = Chunk(ref="tiny-v1", texts=["a secret", "good"], deadline=9e9, request_ids=["r1"])


@pytest.fixture
def tracing(provider):
    return ChunkTracing(provider)


def test_chunk_is_a_child_of_the_span_that_sent_it(tracing, exporter):
    with tracing.chunk(CHUNK, REQUEST, []):
        pass

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("predict_chunk", SpanKind.CONSUMER)
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.attributes["messaging.message.id"] == "chunk-1"
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(
    "traceparent", [None, f"00-{TRACE}-{PARENT}-00", "nonsense", f"00-{'0' * 32}-{PARENT}-01"]
)
def test_chunk_that_nobody_samples_has_no_span(tracing, exporter, traceparent):
    with tracing.chunk(CHUNK, REQUEST | {"traceparent": traceparent}, [Pass(1, 0.0, 1.0)]):
        pass

    assert exporter.get_finished_spans() == ()


def test_each_forward_pass_has_a_span_inside_that_of_the_chunk(tracing, exporter, tmp_path):
    model, spent = load(entry(build_model(tmp_path)), LIMITS), Spent()

    with tracing.chunk(CHUNK, REQUEST, spent.passes):
        predict(model, CHUNK, max_batch_size=1, now=time.monotonic, spent=spent)

    *passes, chunk = exporter.get_finished_spans()
    assert [one.name for one in passes] == ["inference", "inference"]
    for one in passes:
        assert one.parent.span_id == chunk.context.span_id
        assert chunk.start_time <= one.start_time <= one.end_time <= chunk.end_time
        assert one.attributes["mlserve.texts"] == 1
    total_s = sum(one.end_time - one.start_time for one in passes) / 1e9
    assert total_s == pytest.approx(spent.inference_s, abs=1e-4)


@pytest.mark.parametrize("error", [ModelUnavailable("tiny-v1", "broken"), ValueError("a secret")])
def test_chunk_that_fails_is_an_error_without_the_words_of_the_exception(tracing, exporter, error):
    with pytest.raises(type(error)), tracing.chunk(CHUNK, REQUEST, []):
        raise error

    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.events, span.status.description) == ((), None)
