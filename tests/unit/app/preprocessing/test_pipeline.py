"""Pipelines are built from a manifest's steps, and refuse what they do not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ManifestInvalid
from app.models.base import StepSpec
from app.preprocessing.pipeline import FEATURE_STEPS, STEPS, TEXT_STEPS, Pipeline


def build(*steps, artifact=None):
    specs = [StepSpec(step=name, options=options) for name, options in steps]
    return Pipeline.build(specs, lambda file: artifact)


def test_clean_runs_the_steps_in_their_order():
    upper_first = build(("special_characters", {"keep": "@"}), ("mentions", {}), ("whitespace", {}))
    mentions_last = build(("special_characters", {}), ("mentions", {}), ("whitespace", {}))

    assert upper_first.clean("hi @bob!") == "hi"
    assert mentions_last.clean("hi @bob!") == "hi bob"


def test_extract_without_a_feature_step_gives_the_texts():
    assert build(("lowercase", {})).extract(("a", "b")) == ["a", "b"]


def test_extract_asks_for_the_artifact_that_the_step_names():
    asked = []

    def artifact(file):
        asked.append(file)
        return ["film"]

    spec = StepSpec(step="token_ids", options={"artifact": "vocabulary.json", "max_tokens": 2})
    pipeline = Pipeline.build([spec], artifact)

    assert asked == ["vocabulary.json"]
    assert pipeline.extract(["film unseen film"]).tolist() == [[2, 1]]


def test_tokens_are_what_stands_between_white_space():
    pipeline = build(("tokenize", {"pattern": "social"}))

    assert pipeline.tokens(pipeline.clean("so good!!! :)")) == ["so", "good", "!!!", ":)"]
    assert pipeline.is_known("anything")


@given(st.lists(st.sampled_from(sorted(TEXT_STEPS))), st.text(st.characters(exclude_categories=())))
def test_any_order_of_text_steps_cleans_any_text(steps, text):
    assert isinstance(build(*((step, {}) for step in steps)).clean(text), str)


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([("lowercase", {}), ("lowercas", {})], r"pipeline\[1\].*unknown step 'lowercas'"),
        ([("lowercase", {"locale": "tr"})], r"pipeline\[0\].lowercase.*`locale`"),
        ([("unicode", {"form": "NFX"})], r"pipeline\[0\].unicode.*'NFX'.*form"),
        ([("repeats", {"max_run": "3"})], r"pipeline\[0\].repeats.*max_run"),
        ([("token_ids", {"artifact": "v.json"})], r"pipeline\[0\].token_ids.*max_tokens"),
        ([("token_ids", {"artifact": "v.json", "max_tokens": 0})], "max_tokens"),
        ([("token_ids", {"max_tokens": 8})], r"pipeline\[0\].token_ids.*artifact"),
        ([("tfidf", {"artifact": "../features.json"})], r"pipeline\[0\].tfidf.*artifact"),
        ([("token_ids", {"artifact": "v.json", "max_tokens": 8}), ("lowercase", {})], "last step"),
    ],
    ids=[
        "a step that is misspelt",
        "an option that no step has",
        "an option with an unknown value",
        "an option of the wrong type",
        "an option that is missing",
        "an option out of its range",
        "no artifact",
        "an artifact outside the directory",
        "text after features",
    ],
)
def test_build_refuses_and_names_what_is_wrong(steps, named):
    with pytest.raises(ManifestInvalid, match=named):
        build(*steps, artifact=["film"])


@pytest.mark.parametrize(
    "content",
    [[], {}, {"texts": 1, "sublinear_tf": True, "blocks": []}, {"texts": 1, "extra": 2}, None],
)
def test_build_refuses_a_vocabulary_of_another_shape(content):
    with pytest.raises(ManifestInvalid, match=r"pipeline\[0\].tfidf: .*features.json"):
        build(("tfidf", {"artifact": "features.json"}), artifact=content)


def test_steps_table_holds_every_step_once():
    assert STEPS.keys() == TEXT_STEPS.keys() | FEATURE_STEPS.keys()
    assert not TEXT_STEPS.keys() & FEATURE_STEPS.keys()
