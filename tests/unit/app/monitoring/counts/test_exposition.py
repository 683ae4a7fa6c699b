"""A scrape has exactly the text that prometheus_client's encoders give it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder

from app.monitoring.counts import exposition
from app.monitoring.counts.exposition import Exposition

OPENMETRICS = "application/openmetrics-text"
ACCEPTS = [
    "",
    "*/*",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=1.0.0;escaping=dots",
    OPENMETRICS,
    f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.5",
    f"{OPENMETRICS};version=1.0.0;escaping=values",
    f"{OPENMETRICS};version=0.0.1",
]
ODD = [
    f"{OPENMETRICS};version=x",
    f"{OPENMETRICS};version=1.x.0",
    f"{OPENMETRICS};version=2.x",
    f'{OPENMETRICS}; version="1.0.0"',
    "text/plain;version=x",
]
NUMBERS = st.floats(allow_nan=True) | st.integers(-5, 10**9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


class Families:
    def __init__(self):
        self.families = []

    def collect(self):
        return self.families


def made(value, label, when):
    plain = GaugeMetricFamily("depth", 'How "deep"\\\nit is.', labels=("queue", "a.b"))
    plain.add_metric((label, "x"), value)
    plain.add_metric(("x", label), 1)
    counter = CounterMetricFamily("sent", "Sent.", labels=("code",))
    counter.add_metric((label,), value)
    dated = GaugeMetricFamily("seen", "Seen.", labels=())
    dated.add_metric((), value, timestamp=when)
    created = CounterMetricFamily("made", "Made.", value=value, created=when)
    buckets = [("1.0", 1.0), ("+Inf", 2.0)]
    info = InfoMetricFamily("build", "Build.", value={"version": label})
    unit = Metric("took", "Took.", "gauge", "seconds")
    unit.add_sample("took_seconds", {}, value)
    return [
        *(plain, counter, dated, created, info, unit),
        HistogramMetricFamily("size", "Size.", buckets=buckets, sum_value=value),
        GaugeHistogramMetricFamily("now", "Now.", buckets=buckets, gsum_value=value),
        GaugeMetricFamily("dotted.name", "Dotted.", value=value),
        GaugeMetricFamily("none", "None.", labels=("code",)),
    ]


@settings(max_examples=30)
@given(st.lists(st.tuples(NUMBERS, TEXTS, st.floats(0, 1e9)), min_size=1, max_size=3))
def test_text_is_that_of_the_encoder_that_is_asked_for(rounds):
    told, families = Exposition(), Families()
    for given_ in rounds:
        families.families = made(*given_)
        for accept in ACCEPTS:
            encode, content_type = choose_encoder(accept)

            assert told.encode(families, accept) == (encode(families).decode(), content_type)


@pytest.mark.parametrize("accept", ODD)
def test_version_that_is_none_gets_plain_text(accept):
    text, content_type = Exposition().encode(Families(), accept)

    assert (text, content_type) == ("", CONTENT_TYPE_PLAIN_0_0_4)


def test_format_with_a_version_that_is_none_leaves_the_others_to_choose_from():
    accept = f"{OPENMETRICS};version=x,{OPENMETRICS};version=1.0.0;q=0.5"

    assert Exposition().encode(Families(), accept)[0] == "# EOF\n"


@given(st.lists(st.sampled_from([*'01.x;,= "', "version=", "text/plain;", f"{OPENMETRICS};"])))
def test_no_accept_header_fails(parts):
    families = Families()
    families.families = made(1.0, "x", 0.0)

    assert "depth" in Exposition().encode(families, "".join(parts))[0]


def test_callers_can_not_fill_the_memory_with_formats_nor_old_samples():
    told, families = Exposition(), Families()
    for number in range(50):
        families.families = made(1.0, str(number), 0.0)
        told.encode(families, f"{OPENMETRICS};version=1.0.{number}")

    assert len(told._formats) == exposition.MAX_FORMATS
    sizes = {len(found._said.names) for found in told._formats.values()}
    families.families = made(1.0, "another", 0.0)
    accept = f"{OPENMETRICS};version=1.0.49"
    told.encode(families, accept)
    assert {len(found._said.names) for found in told._formats.values()} == sizes


@pytest.mark.parametrize("accept", ACCEPTS)
def test_collector_that_says_nothing_has_an_end_where_the_format_has_one(accept):
    encode, content_type = choose_encoder(accept)

    assert Exposition().encode(Families(), accept) == (encode(Families()).decode(), content_type)


PROMETHEUS = (
    f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (PROMETHEUS, f"{OPENMETRICS}; version=1.0.0"),
        (f"{OPENMETRICS};q=0, text/plain", "text/plain; version=0.0.4"),
        (f"{OPENMETRICS};q=0", "text/plain; version=0.0.4"),
        (f"{OPENMETRICS}; Q=0.000", "text/plain; version=0.0.4"),
        (f"{OPENMETRICS};q=0.5, text/plain", "text/plain; version=0.0.4"),
        (f"{OPENMETRICS};q=0.5, text/plain;version=1.0.0", "text/plain; version=1.0.0"),
        (f"{OPENMETRICS};q=0.5, */*;q=0.9", "text/plain; version=0.0.4"),
        (f"text/plain;version=0.0.4;q=0.5, {OPENMETRICS}", OPENMETRICS),
        (f"application/json, {OPENMETRICS};q=0.1", OPENMETRICS),
        (f"{OPENMETRICS};q=a lot, text/plain;q=0.9", OPENMETRICS),
    ],
)
def test_weights_say_which_format_is_chosen(accept, kind):
    assert Exposition().encode(Families(), accept)[1].startswith(kind)
