"""Counts that are written together: none is lost, and none is written before its time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from app.monitoring.counts.deferred import Deferred
from app.monitoring.metrics import Distribution


class Counted:
    """Two counters and a distribution, and what they hold."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.counters = [Counter(name, "help", registry=self.registry) for name in ("a", "b")]
        self.distribution = Distribution("d", "help", buckets=(1.0, 2.0), registry=self.registry)

    def value(self, name):
        return self.registry.get_sample_value(name)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans())))
def test_every_amount_arrives_once_whenever_it_is_written(steps):
    deferred, together, alone = Deferred(), Counted(), Counted()
    deferred.defer()
    for place, amount, is_written in steps:
        if place == 2:
            deferred.observe(together.distribution, amount)
            alone.distribution.observe(amount)
        else:
            deferred.add(together.counters[place], amount)
            alone.counters[place].inc(amount)
        if is_written:
            deferred.write()
    deferred.stop()

    for name in ("a_total", "b_total", "d_sum", "d_count"):
        assert together.value(name) == pytest.approx(alone.value(name))
    for bound in ("1.0", "2.0", "+Inf"):
        found, expected = (
            counted.registry.get_sample_value("d_bucket", {"le": bound})
            for counted in (together, alone)
        )
        assert found == expected


def test_amounts_are_written_at_once_until_they_are_deferred_and_after_the_stop():
    deferred, counted = Deferred(), Counted()
    (counter, _) = counted.counters
    deferred.add(counter)
    assert counted.value("a_total") == 1

    deferred.defer()
    deferred.add(counter)
    assert counted.value("a_total") == 1

    deferred.stop()
    assert counted.value("a_total") == 2
    deferred.add(counter)
    assert counted.value("a_total") == 3


def test_none_is_lost_while_threads_count_and_write():
    deferred, counted = Deferred(), Counted()
    deferred.defer()

    def count(_):
        deferred.add(counted.counters[0])
        deferred.write()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(2000)))
    deferred.write()

    assert counted.value("a_total") == 2000
