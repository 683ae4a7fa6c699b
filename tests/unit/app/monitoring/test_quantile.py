"""Percentiles from histogram buckets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.monitoring.metrics import LATENCY_BUCKETS_S
from app.monitoring.stats import quantile

INF = float("inf")
BOUNDS = [*LATENCY_BUCKETS_S, INF]


def buckets(values):
    return [(bound, float(sum(value <= bound for value in values))) for bound in BOUNDS]


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.5, 1.0), (0.25, 0.5), (0.75, 1.5), (1.0, 2.0)],
)
def test_quantile_is_interpolated_inside_its_bucket(q, expected):
    assert quantile(q, [(1.0, 5.0), (2.0, 10.0), (INF, 10.0)]) == expected


def test_quantile_beyond_the_last_bound_is_that_bound():
    assert quantile(0.99, [(1.0, 1.0), (2.0, 1.0), (INF, 100.0)]) == 2.0


def test_quantile_of_nothing_is_zero():
    assert quantile(0.5, [(1.0, 0.0), (INF, 0.0)]) == 0.0


def test_empty_buckets_before_the_first_value_do_not_count():
    assert quantile(0.5, [(1.0, 0.0), (2.0, 4.0), (INF, 4.0)]) == 1.5


@given(
    st.lists(st.floats(0.0001, 20), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99])
)
def test_estimate_lies_in_the_bucket_of_the_true_quantile(values, q):
    true = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max((bound for bound in BOUNDS if bound < upper), default=0.0)

    estimate = quantile(q, buckets(values))

    assert lower <= estimate <= (upper if upper < INF else lower)
