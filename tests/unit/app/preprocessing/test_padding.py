"""Batches of texts of different lengths: what they may cost, and that no others cost less."""

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.preprocessing.padding import PASS_SHARE, batches, full_batches

lengths = st.lists(st.integers(0, 60), max_size=14)
budgets = st.integers(1, 400)


def cost(rows_of_batches, counts, max_tokens):
    """What the passes cost, in tokens."""
    padded = sum(len(rows) * max(counts[row] for row in rows) for rows in rows_of_batches)
    return padded + len(rows_of_batches) * PASS_SHARE * max_tokens


def least_cost(counts, max_tokens):
    """Of all ways to cut the texts, in the order of their lengths, into batches."""
    ordered = sorted(counts)

    @cache
    def least(end):
        if not end:
            return 0.0
        length, found = ordered[end - 1], []
        for start in range(end - 1, -1, -1):
            if end - start > 1 and (end - start) * length > max_tokens:
                break
            found.append(least(start) + (end - start) * length + PASS_SHARE * max_tokens)
        return min(found)

    return least(len(ordered))


@given(lengths, budgets)
def test_each_text_is_in_one_batch_and_no_batch_is_too_large(counts, max_tokens):
    found = list(batches(counts, max_tokens))

    assert sorted(row for rows in found for row in rows) == list(range(len(counts)))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(counts[row] for row in rows) <= max_tokens


@given(lengths, budgets)
def test_shorter_texts_come_first(counts, max_tokens):
    order = [counts[row] for rows in batches(counts, max_tokens) for row in rows]

    assert order == sorted(counts)


@given(st.lists(st.integers(1, 60), unique=True, max_size=14), st.integers(60 * 14, 4000))
def test_nothing_costs_less_where_all_would_fit_into_one_batch(counts, max_tokens):
    found = list(batches(counts, max_tokens))

    assert cost(found, counts, max_tokens) == pytest.approx(least_cost(counts, max_tokens))


@given(st.lists(st.integers(1, 60), max_size=14), budgets)
def test_no_two_neighbours_would_cost_less_as_one(counts, max_tokens):
    found = list(batches(counts, max_tokens))

    for shorter, longer in pairwise(found):
        joined = [*shorter, *longer]
        if len(joined) * max(counts[row] for row in joined) <= max_tokens:
            apart = cost([shorter, longer], counts, max_tokens)
            assert apart <= cost([joined], counts, max_tokens) + 1e-9


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], []),
        ([10, 10, 250], [[0, 1], [2]]),
        ([250, 250, 20], [[2], [0, 1]]),
        ([8, 12, 40, 44], [[0, 1], [2, 3]]),
        ([600], [[0]]),
        ([100] * 6, [[0], [1, 2, 3, 4, 5]]),
    ],
)
def test_texts_are_together_where_padding_costs_less_than_a_pass(counts, expected):
    assert list(batches(counts, 512)) == expected


@given(lengths, budgets)
def test_batches_without_padding_are_full_and_not_too_large(counts, max_tokens):
    found = list(full_batches(counts, max_tokens))

    assert sorted(row for rows in found for row in rows) == list(range(len(counts)))
    for rows in found:
        assert len(rows) == 1 or sum(counts[row] for row in rows) <= max_tokens
    for rows, (following, *_) in pairwise(found):
        assert sum(counts[row] for row in (*rows, following)) > max_tokens


@given(lengths, budgets)
def test_shorter_texts_come_first_without_padding_too(counts, max_tokens):
    order = [counts[row] for rows in full_batches(counts, max_tokens) for row in rows]

    assert order == sorted(counts)
