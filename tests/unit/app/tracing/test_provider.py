"""How OpenTelemetry is set up: from the standard variables, or not at all."""

import subprocess
import sys
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.errors import ConfigError
from app.settings import Settings, Tracing
from app.tracing.provider import check, epoch_ns, make_provider, shut_down, tracer_of
from app.tracing.sampler import AtMost
from tests.receivers import Receiver

WITHOUT_OTEL = """
import sys
sys.modules["opentelemetry"] = None
from app.api import create_front
from app.errors import ConfigError
from app.settings import Settings, Tracing
create_front(Settings(models_dir="nowhere"))
try:
    create_front(Settings(models_dir="nowhere", tracing=Tracing(enabled=True)))
except ConfigError as error:
    print(error)
"""


@pytest.fixture
def collector(monkeypatch):
    with Receiver() as collector:
        where = f"http://127.0.0.1:{collector.port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", where)
        yield collector


def told(collector):
    (received,) = collector.received
    assert received.path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(received.body).resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    return attributes, [span.name for scope in resource.scope_spans for span in scope.spans]


def test_what_was_not_sent_yet_is_sent_at_the_end(collector):
    provider = make_provider("worker")
    tracer_of(provider).start_span("one").end()

    shut_down(provider, 10)

    attributes, names = told(collector)
    assert names == ["one"]
    assert attributes["service.name"] == "mlserve-worker"


def test_standard_variables_count(collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "texts")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    provider = make_provider("api")
    tracer_of(provider).start_span("one").end()

    shut_down(provider, 10)

    attributes, _ = told(collector)
    assert attributes["service.name"] == "texts"
    assert attributes["deployment.environment.name"] == "test"


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")]
)
def test_sampler_and_switch_of_the_environment_count(collector, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    provider = make_provider("api")

    tracer_of(provider).start_span("one").end()

    shut_down(provider, 10)
    assert collector.received == []


def test_collector_that_hangs_does_not_hold_up_the_end(collector):
    collector.hold.clear()
    provider = make_provider("api")
    tracer_of(provider).start_span("one").end()
    started = time.monotonic()

    shut_down(provider, 0.1)

    assert time.monotonic() - started < 5


def test_moment_of_another_clock_is_told_in_nanoseconds_since_the_epoch():
    moment = time.monotonic() - 2

    assert abs(epoch_ns(moment) - (time.time_ns() - 2e9)) < 1e9


def test_without_opentelemetry_all_works_but_tracing(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_OTEL], capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == (
        "tracing.enabled = true: OpenTelemetry is not installed; "
        "pip install -c constraints.txt -e '.[otel]'"
    )


def test_missing_library_is_no_matter_where_tracing_is_disabled(monkeypatch):
    monkeypatch.setattr("app.tracing.provider.LIBRARIES", ("no_such_library",))

    check(Settings())
    with pytest.raises(ConfigError, match="not installed"):
        check(Settings(tracing=Tracing(enabled=True)))


@pytest.mark.parametrize(
    ("sampler", "sampled"), [(None, 2), ("", 2), ("always_on", 5), ("always_off", 0)]
)
def test_so_many_traces_begin_in_a_second_unless_the_standard_variable_says_otherwise(
    monkeypatch, sampler, sampled
):
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    if sampler is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    tracer = tracer_of(make_provider("api", AtMost(2)))

    spans = [tracer.start_span("one") for _ in range(5)]

    assert sum(span.get_span_context().trace_flags.sampled for span in spans) == sampled
