"""The feature steps: the same numbers as scikit-learn, and ids of a fixed length."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import make_union

from app.preprocessing.features import PADDING, UNKNOWN, tfidf, token_ids
from app.training.vocabulary import learn_block

CORPUS = ["good film", "a bad bad film", "the plot is good", "bad plot", "film about a film"]
words = st.sampled_from(["a", "bad", "good", "film", "plot", "the", "unseen", "x"])
texts = st.lists(st.lists(words, max_size=12).map(" ".join), min_size=1, max_size=5)


def sklearn_vectorizer(kind, ngrams, sublinear_tf):
    pattern = {"token_pattern": r"\S+"} if kind == "word" else {}
    options = {"analyzer": kind, "ngram_range": ngrams, "sublinear_tf": sublinear_tf}
    return TfidfVectorizer(**options, lowercase=False, dtype=np.float32, **pattern)


def vocabulary(blocks, sublinear_tf):
    learned = [learn_block(CORPUS, kind, ngrams, 1) for kind, ngrams in blocks]
    found = {"texts": len(CORPUS), "sublinear_tf": sublinear_tf, "blocks": learned}
    return msgspec.json.decode(msgspec.json.encode(found))


@settings(max_examples=25)
@given(texts, st.booleans())
@pytest.mark.parametrize(
    "blocks",
    [[("word", (1, 2))], [("char_wb", (2, 4))], [("word", (1, 1)), ("char", (1, 3))]],
    ids=["words", "characters", "words beside characters"],
)
def test_tfidf_gives_what_scikit_learn_gives(blocks, given_texts, sublinear_tf):
    ours = tfidf(vocabulary(blocks, sublinear_tf)).extract(given_texts)

    fitted = make_union(*(sklearn_vectorizer(*block, sublinear_tf) for block in blocks)).fit(CORPUS)
    np.testing.assert_allclose(ours.toarray(), fitted.transform(given_texts).toarray(), atol=1e-6)


def test_tfidf_of_no_text_is_an_empty_matrix_of_full_width():
    extractor = tfidf(vocabulary([("word", (1, 1))], True))

    assert extractor.extract([]).shape == (0, extractor.extract(["a"]).shape[1])


def test_tfidf_knows_the_words_of_its_word_block():
    extractor = tfidf(vocabulary([("word", (1, 2)), ("char", (1, 3))], True))

    assert extractor.is_known("film")
    assert not extractor.is_known("ilm")


def test_tfidf_of_characters_alone_calls_no_token_unknown():
    assert tfidf(vocabulary([("char_wb", (2, 3))], True)).is_known("unseen")


def test_tfidf_takes_a_fitted_vectorizer_of_a_user():
    fitted = sklearn_vectorizer("word", (1, 1), False).fit(CORPUS)

    extractor = tfidf(fitted)

    assert (extractor.extract(CORPUS) != fitted.transform(CORPUS)).nnz == 0
    assert extractor.is_known("film")
    assert not extractor.is_known("unseen")


def test_tfidf_takes_a_transformer_without_a_vocabulary():
    assert tfidf(HashingVectorizer(n_features=16)).is_known("unseen")


@given(texts, st.integers(1, 6))
def test_token_ids_are_padded_and_cut_to_one_length(given_texts, max_tokens):
    ids = token_ids(["film", "good"], max_tokens=max_tokens).extract(given_texts)

    assert ids.shape == (len(given_texts), max_tokens)
    for row, text in zip(ids.tolist(), given_texts, strict=True):
        expected = [{"film": 2, "good": 3}.get(word, UNKNOWN) for word in text.split()]
        assert row == (expected + [PADDING] * max_tokens)[:max_tokens]


def test_token_ids_know_their_vocabulary_only():
    extractor = token_ids(["film"], max_tokens=2)

    assert extractor.is_known("film")
    assert not extractor.is_known("good")
