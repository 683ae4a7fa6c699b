"""Messages between API and worker: what is sent arrives, what is foreign is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import Chunk, ChunkResult, Outcome
from app.errors import MessageRefused

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
chunks = st.builds(
    Chunk,
    ref=st.just("m-v1"),
    texts=st.lists(texts, max_size=5),
    deadline=st.floats(0, 1e10),
    request_ids=st.lists(st.just("id"), max_size=3),
)


@given(chunks)
def test_chunk_survives_json(chunk):
    assert Chunk.from_message(json.loads(json.dumps(chunk.to_message()))) == chunk


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_probabilities_survive_json_exactly(probabilities):
    result = ChunkResult(
        ref="m-v1", labels=[], outcomes=[Outcome(probabilities)], preprocess_s=0.1, inference_s=0.2
    )

    received = ChunkResult.from_message(json.loads(json.dumps(result.to_message())))

    assert received.outcomes[0].probabilities == probabilities


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"v": 2}, "version 2, this process speaks 1", id="newer version"),
        pytest.param({"colour": "red"}, "unknown field `colour`", id="unknown field"),
        pytest.param({"texts": "a"}, "Expected `array`", id="wrong type"),
        pytest.param({"\ud800": 1}, "surrogates not allowed", id="name that is not Unicode"),
    ],
)
def test_foreign_message_is_refused_with_its_reason(change, reason):
    message = Chunk(ref="m-v1", texts=["a"], deadline=1.0, request_ids=[]).to_message() | change

    with pytest.raises(MessageRefused, match=reason):
        Chunk.from_message(message)


def test_something_else_than_a_message_is_refused():
    with pytest.raises(MessageRefused):
        Chunk.from_message(["a"])
