"""Laws of the measures of drift, and the figures of scipy beside them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from app.monitoring.drift import methods

count = st.integers(0, 5000)
pairs = st.lists(st.tuples(count, count), min_size=1, max_size=30).filter(
    lambda rows: all(sum(side) for side in zip(*rows, strict=True))
)
few = settings(max_examples=40)
MEASURES = [methods.psi, methods.jensen_shannon, methods.ks]
measure = st.sampled_from(MEASURES)


def sides(rows):
    return [list(side) for side in zip(*rows, strict=True)]


@few
@given(pairs, measure)
def test_no_measure_is_below_zero(rows, of):
    assert of(*sides(rows)) >= 0


@few
@given(pairs, measure, st.integers(1, 1000))
def test_measures_of_equal_shares_are_zero(rows, of, times):
    before, _ = sides(rows)

    assert of(before, [times * n for n in before]) == pytest.approx(0, abs=1e-12)


@few
@given(pairs, measure)
def test_measures_are_symmetric(rows, of):
    before, after = sides(rows)

    assert of(before, after) == pytest.approx(of(after, before), abs=1e-12)


@few
@given(pairs, measure, st.integers(2, 1000))
def test_measures_depend_on_shares_alone(rows, of, times):
    before, after = sides(rows)

    assert of(before, [times * n for n in after]) == pytest.approx(of(before, after), abs=1e-9)


@few
@given(pairs, st.sampled_from([methods.psi, methods.jensen_shannon]), st.randoms())
def test_order_of_bins_means_nothing_to_categories(rows, of, random):
    mixed = random.sample(rows, len(rows))

    assert of(*sides(mixed)) == pytest.approx(of(*sides(rows)), abs=1e-9)


@few
@given(pairs, st.sampled_from([methods.jensen_shannon, methods.ks]))
def test_jensen_shannon_and_ks_are_at_most_one(rows, of):
    assert of(*sides(rows)) <= 1


@pytest.mark.parametrize("of", [methods.jensen_shannon, methods.ks])
def test_jensen_shannon_and_ks_of_disjoint_counts_are_one(of):
    assert of([3, 4, 0, 0], [0, 0, 5, 6]) == pytest.approx(1)


@few
@given(pairs)
def test_putting_bins_together_makes_no_difference_larger(rows):
    before, after = sides(rows)
    into = [range(at, min(at + 2, len(rows))) for at in range(0, len(rows), 2)]
    coarse = methods.grouped(before, into), methods.grouped(after, into)

    assert methods.jensen_shannon(*coarse) <= methods.jensen_shannon(before, after) + 1e-12
    assert methods.ks(*coarse) <= methods.ks(before, after) + 1e-12


def test_psi_is_the_textbook_sum():
    assert methods.psi([50, 50], [40, 60]) == pytest.approx(
        (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    )


@few
@given(pairs)
def test_jensen_shannon_is_the_square_of_scipys_distance(rows):
    before, after = sides(rows)

    expected = distance.jensenshannon(before, after, base=2)
    assert methods.jensen_shannon(before, after) == pytest.approx(
        0.0 if np.isnan(expected) else expected**2, abs=1e-9
    )


@few
@given(pairs)
def test_ks_is_scipys_statistic_of_the_values_spread_out(rows):
    before, after = ([n // 100 for n in side] for side in sides(rows))
    if not sum(before) or not sum(after):
        return
    values = [np.repeat(np.arange(len(rows)), side) for side in (before, after)]

    with np.errstate(divide="ignore"):  # the p-value of one value on each side, not asked for here
        expected = stats.ks_2samp(*values, method="asymp").statistic
    assert methods.ks(before, after) == pytest.approx(expected, abs=1e-9)


@few
@given(st.floats(0.001, 200), st.integers(1, 60))
def test_chi_square_tail_is_that_of_scipy(value, degrees):
    expected = stats.chi2.sf(value, degrees)

    assert methods.chi_square_tail(value, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@few
@given(pairs)
def test_chi_square_p_value_is_that_of_scipy(rows):
    before, after = sides(rows)
    used = [row for row in rows if sum(row)]
    expected = stats.chi2_contingency(sides(used), correction=False).pvalue if len(used) > 1 else 1

    found = methods.chi_square_p_value(before, after)

    assert found == pytest.approx(expected, rel=1e-6, abs=1e-300)


@few
@given(st.floats(0.02, 0.9), st.integers(60, 5000), st.integers(60, 5000))
def test_ks_p_value_is_near_that_of_scipys_limit(gap, m, n):
    scaled = gap * math.sqrt(m * n / (m + n))

    found = methods.ks_p_value(gap, m, n)

    # Stephens' correction makes small samples a little more significant than the bare limit.
    assert found <= stats.kstwobign.sf(scaled) + 1e-9
    assert found >= stats.kstwobign.sf(scaled * 1.04 + 0.03) - 1e-9


@few
@given(st.floats(1e-6, 0.1), st.integers(50, 5000), st.integers(50, 5000))
def test_chance_reaches_the_critical_distance_as_often_as_it_says(significance, m, n):
    critical = methods.ks_critical(significance, m, n)

    assert methods.ks_p_value(critical, m, n) == pytest.approx(significance, rel=1e-3)


@pytest.mark.parametrize(
    ("of", "by_chance"),
    [
        (methods.psi, methods.psi_by_chance),
        (methods.jensen_shannon, methods.jensen_shannon_by_chance),
    ],
)
def test_average_by_chance_is_what_samples_show(of, by_chance):
    draws = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    samples = [
        of(draws.multinomial(2000, shares).tolist(), draws.multinomial(200, shares).tolist())
        for _ in range(400)
    ]

    assert np.mean(samples) == pytest.approx(by_chance(10, 2000, 200), rel=0.15)


@few
@given(st.lists(count, min_size=1, max_size=40).filter(sum), st.floats(0.01, 0.9))
def test_groups_cover_every_bin_once_and_in_order(counts, least):
    groups = methods.groups(counts, least)

    assert [at for group in groups for at in group] == list(range(len(counts)))
    assert sum(methods.grouped(counts, groups)) == sum(counts)


def test_heavy_bin_is_a_group_of_its_own():
    groups = methods.groups([1, 1, 98, 0, 0], 0.1)

    assert methods.grouped([1, 1, 98, 0, 0], groups) == [2, 98, 0]
