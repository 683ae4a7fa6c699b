"""Token ids of a Hugging Face tokenizer: lengths, cuts, pieces and padding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ManifestInvalid
from app.preprocessing.subwords import TokenizedTexts, subword_ids
from tests.hugging_face_models import TOKENS, tokenizer

ARTIFACT = json.loads(tokenizer().to_str())
CLS, SEP, GOOD = (TOKENS.index(token) for token in ("[CLS]", "[SEP]", "good"))

lengths = st.lists(st.integers(0, 40), max_size=30)


def tokenized(counts):
    return TokenizedTexts([list(range(1, count + 1)) for count in counts], [False] * len(counts))


def test_ids_have_the_special_tokens_of_the_tokenizer():
    found = subword_ids(ARTIFACT, max_tokens=8).extract(["Good", "", "good good"])

    ids, mask = found.padded(0)
    assert ids.tolist() == [[CLS, GOOD, SEP, 0], [CLS, SEP, 0, 0], [CLS, GOOD, GOOD, SEP]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert found.lengths == [3, 2, 4]


@given(st.integers(0, 12), st.integers(3, 8))
def test_exactly_the_texts_that_are_too_long_are_cut(words, max_tokens):
    found = subword_ids(ARTIFACT, max_tokens=max_tokens).extract(["good " * words])

    assert found.lengths == [min(words + 2, max_tokens)]
    assert found.truncated == [words + 2 > max_tokens]
    assert found.padded(0)[0][0, -1] == SEP


def test_padding_and_cutting_that_a_tokenizer_brings_are_left_out():
    brought = tokenizer()
    brought.enable_padding(length=30)
    brought.enable_truncation(5)

    found = subword_ids(json.loads(brought.to_str()), max_tokens=10).extract(["good " * 6])

    assert (found.lengths, found.truncated) == ([8], [False])


@given(lengths.filter(bool))
def test_packed_texts_follow_each_other_with_one_token_each_at_least(counts):
    ids, parts = tokenized(counts).packed(99)

    assert parts == [max(1, count) for count in counts]
    expected = [list(range(1, count + 1)) or [99] for count in counts]
    assert ids.tolist() == [token for row in expected for token in row]


@given(lengths)
def test_batch_costs_its_tokens_and_those_that_it_is_padded_with(counts):
    texts = tokenized(counts)

    assert texts.cost(pads=False) == sum(counts)
    assert texts.cost(pads=True) == len(counts) * max(counts, default=0)


@given(lengths.filter(bool), st.data())
def test_part_is_what_its_rows_are(counts, data):
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1))
    texts = tokenized(counts)

    part = texts[rows]

    assert part.lengths == [counts[row] for row in rows]
    ids, mask = part.padded(99)
    for at, row in enumerate(rows):
        assert ids[at, : counts[row]].tolist() == list(range(1, counts[row] + 1))
        assert set(ids[at, counts[row] :]) <= {99}
        assert mask[at].sum() == max(1, counts[row])


@pytest.mark.parametrize(
    ("artifact", "max_tokens", "sentence"),
    [(ARTIFACT, 2, "leaves no room for a text"), ([], 8, r"not the tokenizer\.json")],
)
def test_what_cannot_be_is_an_invalid_manifest(artifact, max_tokens, sentence):
    with pytest.raises(ManifestInvalid, match=sentence):
        subword_ids(artifact, max_tokens=max_tokens)
