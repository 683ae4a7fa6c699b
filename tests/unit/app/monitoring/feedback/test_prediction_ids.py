"""Prediction ids say what was signed, and nothing else is taken for one."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.monitoring.feedback.ids import (
    MAX_SHARES,
    SCALE,
    Predicted,
    Signer,
    number_of,
    shares_of,
)

SIGNER = Signer(b"one secret of ours")
SAID = Predicted("sentiment-v2", "c64a408a", 1_795_619_448, 7, 2, (6554, 13107, 45874))


def as_base64(raw):
    return urlsafe_b64encode(raw).decode().rstrip("=")


shares = st.lists(st.integers(0, SCALE), min_size=1, max_size=MAX_SHARES)


@given(
    ref=st.from_regex(r"[a-z][a-z0-9._-]{0,63}-[a-z0-9]{1,63}", fullmatch=True),
    mark=st.binary(min_size=4, max_size=4),
    at=st.integers(0, (1 << 32) - 1),
    number=st.integers(0, (1 << 64) - 1),
    parts=shares,
)
def test_an_id_says_what_it_was_made_of(ref, mark, at, number, parts):
    said = Predicted(ref, mark.hex(), at, number, len(parts) - 1, tuple(parts))

    text = SIGNER.make(said)

    assert SIGNER.read(text) == said
    assert text.isascii()
    assert "=" not in text


@given(st.text() | st.binary(min_size=30, max_size=300).map(as_base64))
def test_no_other_text_is_an_id(text):
    assert SIGNER.read(text) is None


def test_changed_id_is_none():
    text = SIGNER.make(SAID)
    # The last character also holds bits that belong to no byte.
    changed = [
        text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]
        for at in range(len(text) - 1)
    ]

    assert [one for one in changed if SIGNER.read(one)] == []


def test_id_of_another_secret_is_none():
    assert Signer(b"another secret").read(SIGNER.make(SAID)) is None


def test_id_of_a_short_ref_and_three_labels_is_short():
    assert len(SIGNER.make(SAID)) == 72


@given(st.lists(st.floats(0, 1), min_size=2, max_size=MAX_SHARES))
def test_probabilities_are_kept_to_five_digits(probabilities):
    label = probabilities.index(max(probabilities))

    said = SAID._replace(label=label, shares=shares_of(probabilities, label))

    assert said.probabilities == pytest.approx(probabilities, abs=8e-6)
    assert said.confidence == pytest.approx(max(probabilities), abs=8e-6)


def test_only_the_confidence_of_many_labels_is_kept():
    probabilities = [0.5] + [0.5 / MAX_SHARES] * MAX_SHARES

    said = SAID._replace(label=0, shares=shares_of(probabilities, 0))

    assert said.probabilities is None
    assert said.confidence == pytest.approx(0.5, abs=8e-6)


def test_each_text_of_a_job_has_one_number():
    numbers = {number_of(job, index) for job in ("a", "b") for index in range(1000)}

    assert len(numbers) == 2000
    assert number_of("a", 7) == number_of("a", 7)
