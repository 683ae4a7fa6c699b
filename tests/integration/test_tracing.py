"""Traces through a real worker: its spans, and that none is lost when it stops."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.contract import Chunk
from app.inference.gateway import CeleryGateway
from tests.processes import WorkerProcess
from tests.receivers import Receiver


@pytest.fixture
def traced(settings, client, tracing):
    """A gateway whose chunks have spans."""
    gateway = CeleryGateway(settings, tracing)
    yield gateway
    gateway.close()


@pytest.fixture
def collector():
    with Receiver() as collector:
        yield collector


@pytest.fixture
def worker(server, client, models_dir, collector):
    env = {
        "MLSERVE_DEFAULT_MODEL": "tiny",
        "MLSERVE_TRACING__ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        # Nothing is sent before the end.
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    with WorkerProcess(server.url, models_dir, hostname="traced@test", env=env) as worker:
        yield worker


def test_spans_of_the_worker_are_children_of_the_chunk_and_are_sent_when_it_stops(
    worker, traced, tracing, exporter, collector
):
    request = tracing.begin("POST", "/predict", "r1", {})
    for request_id in ("r1", "not sampled"):
        chunk = Chunk(ref="tiny-v1", texts=["good day"], deadline=traced.now() + 10,
                      request_ids=[request_id])  # fmt: skip
        traced.submit(chunk, "cpu").result(10)
    request.end(200)
    assert collector.received == []

    worker.stop()

    (sent,) = collector.received
    (resource,) = ExportTraceServiceRequest.FromString(sent.body).resource_spans
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    (of_api,) = [span for span in exporter.get_finished_spans() if span.name == "chunk"]
    of_worker = spans["predict_chunk"]
    assert set(spans) == {"predict_chunk", "inference"}
    assert int.from_bytes(of_worker.trace_id) == request.span.get_span_context().trace_id
    assert int.from_bytes(of_worker.parent_span_id) == of_api.context.span_id
    assert spans["inference"].parent_span_id == of_worker.span_id
    assert of_worker.end_time_unix_nano > of_worker.start_time_unix_nano
    assert b"good day" not in sent.body
