"""What a text costs, told from its length."""

from hypothesis import given
from hypothesis import strategies as st

from app.inference.costs import SPECIAL_TOKENS, measure
from app.models.base import Batching, Manifest, StepSpec


def manifest(cost, *steps):
    return Manifest(
        name="m",
        version="v1",
        format="transformers",
        labels=["a", "b"],
        artifacts=[],
        pipeline=list(steps),
        batching=Batching(cost=cost),
    )


def test_texts_of_a_linear_model_are_not_measured():
    assert measure(manifest("texts")) is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_longer_texts_cost_more(text, more):
    cost = measure(manifest("padded_tokens"))

    assert SPECIAL_TOKENS <= cost(text) <= cost(text + more)


def test_text_costs_no_more_than_the_model_reads():
    cost = measure(
        manifest("padded_tokens", StepSpec(step="subword_ids", options={"max_tokens": 256}))
    )

    assert cost("word " * 10_000) == 256
