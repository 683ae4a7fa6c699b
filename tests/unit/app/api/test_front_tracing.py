"""A prediction through the front, as its trace shows it."""

import pytest

from app.api import create_front
from app.inference.pending import Pending
from tests.unit.app.api.asgi import Client
from tests.unit.app.api.test_predict_routes import Unreachable

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def traced(settings, gateway, tracing):
    """A client of a front whose predictions are traced."""
    return Client(create_front(settings, Chunks(gateway, tracing), tracing))


class Chunks:
    """A gateway as far as spans go, around another one."""

    def __init__(self, gateway, tracing):
        self._gateway, self._tracing, self._pending = gateway, tracing, Pending(lambda: 0.0)

    def submit(self, chunk, device):
        sent = self._pending.add(chunk, device)
        sent.headers = self._tracing.chunk(chunk, sent.task_id, sent.queue, sent.future)
        future = self._gateway.submit(chunk, device)
        sent.resolve(future.result())
        return future

    def __getattr__(self, name):
        return getattr(self._gateway, name)


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_prediction_leaves_a_whole_trace(traced, exporter):
    assert traced.post("/predict", {"text": "a good day"}, {"traceparent": SAMPLED}).status == 200

    spans = by_name(exporter)
    request, wait, chunk = spans["POST /predict"], spans["batch_wait"], spans["chunk"]
    assert len(exporter.get_finished_spans()) == 3
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert {wait.parent.span_id, chunk.parent.span_id} == {request.context.span_id}
    assert request.start_time <= wait.start_time
    assert wait.end_time <= chunk.end_time <= request.end_time


def test_prediction_that_is_remembered_has_no_chunk(traced, exporter):
    traced.post("/predict", {"text": "a good day"})
    exporter.clear()

    traced.post("/predict", {"text": "a good day"})

    assert set(by_name(exporter)) == {"POST /predict"}


def test_prediction_that_its_caller_does_not_sample_leaves_none(traced, exporter):
    traced.post("/predict", {"text": "a good day"}, {"traceparent": UNSAMPLED})

    assert exporter.get_finished_spans() == ()


def test_request_that_is_refused_has_its_status(settings, tracing, exporter):
    traced = Client(create_front(settings, Unreachable(), tracing))

    traced.post("/predict", {"text": "a"})
    traced.post("/predict", {"text": " "})

    codes = [s.attributes["http.response.status_code"] for s in exporter.get_finished_spans()]
    assert codes == [503, 422]
