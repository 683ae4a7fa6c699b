"""The split depends on the text alone, so that no text is on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import TrainingDataInvalid
from app.training.data import Dataset, Labelled
from app.training.split import is_held_out, split

ROWS = [(f"text number {n}", "even" if n % 2 == 0 else "odd") for n in range(400)]
shares = st.integers(0, 100).map(lambda percent: percent / 100)


def dataset(rows):
    texts, labels = zip(*rows, strict=True)
    return Dataset("d.csv", "0" * 64, Labelled(list(texts), list(labels)))


def pairs(part):
    return list(zip(part.texts, part.labels, strict=True))


def test_rule_stays_what_the_published_figures_were_measured_with():
    held_out = [n for n in range(30) if is_held_out(f"text number {n}")]

    assert held_out == [11, 25, 28]


@given(st.text(st.characters(exclude_categories=())), shares)
def test_rule_ignores_case_and_white_space(text, share):
    assert is_held_out(f"  {text}\n", share) == is_held_out(text, share)
    assert is_held_out(text.casefold(), share) == is_held_out(text, share)


@given(st.text(max_size=5), shares, shares)
def test_greater_share_never_lets_a_text_go_back_to_training(text, one, other):
    small, great = sorted([one, other])

    assert is_held_out(text, great) or not is_held_out(text, small)


def test_split_holds_out_about_its_share_and_loses_nothing():
    training, held_out = split(dataset(ROWS), 0.25)

    assert sorted(pairs(training) + pairs(held_out)) == sorted(ROWS)
    assert 70 <= len(held_out) <= 130


def test_split_does_not_depend_on_the_order_of_rows():
    assert sorted(pairs(split(dataset(ROWS[::-1]))[1])) == sorted(pairs(split(dataset(ROWS))[1]))


def test_split_keeps_copies_of_a_text_on_one_side():
    copies = [(text.upper() + "  ", label) for text, label in ROWS]

    training, held_out = split(dataset(ROWS + copies))

    seen = {" ".join(text.lower().split()) for text in training.texts}
    assert not seen & {" ".join(text.lower().split()) for text in held_out.texts}


@pytest.mark.parametrize(("share", "part"), [(1e-9, "held-out"), (1 - 1e-9, "training")])
def test_split_refuses_a_part_without_a_label(share, part):
    with pytest.raises(TrainingDataInvalid, match=rf"^d\.csv: no {part} text has the label 'even'"):
        split(dataset(ROWS), share)
