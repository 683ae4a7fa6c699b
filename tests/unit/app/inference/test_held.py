"""Texts that are held: what is left of them and of their costs when some are gone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.held import Held
from app.inference.slots import Ask, Slot

COST = st.sampled_from([1.0, 8.0, 64.0, 256.0])
UNIT_S = 0.001


def slot(name, cost=1.0):
    return Slot(Ask(name.encode(), name, None, 0, 1e12, "r", cost), 0.0)


def take(held, max_texts=128):
    return held.take(max_texts, 500.0, UNIT_S, lambda slot: False)


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "add_first"]), COST),
        st.tuples(st.just("discard"), st.integers(0, 100)),
        st.tuples(st.just("take"), st.integers(1, 8)),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_comes_and_goes_the_rest_is_there_and_what_it_costs(history):
    held, known = Held(), []
    for number, (what, value) in enumerate(history):
        if what in ("add", "add_first"):
            made = slot(str(number), value)
            getattr(held, what)(made)
            known.insert(len(known) if what == "add" else 0, made)
        elif known:
            gone = take(held, value) if what == "take" else [known[value % len(known)]]
            assert what == "take" or held.discard(gone[0])
            assert gone
            assert not any(held.discard(one) for one in gone)
            known = [one for one in known if one not in gone]
        assert list(held) == known
        assert len(held) == len(known)
        assert held.cost == pytest.approx(sum(one.cost for one in known))
        assert not known or held.oldest is known[0]
        assert not held.is_even or all(one.cost == 1.0 for one in known)


def test_thousands_who_leave_at_once_cost_little_more_each_than_few():
    """As when a proxy is restarted."""

    def seconds_each(count):
        held, slots = Held(), [slot(str(n), 4.0 + n % 7) for n in range(count)]
        for one in slots:
            held.add(one)
        started = time.process_time()
        for one in reversed(slots):
            held.discard(one)
        return (time.process_time() - started) / count

    assert seconds_each(40_000) < 20 * seconds_each(1000)
