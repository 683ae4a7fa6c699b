"""The Structs of the hot routes and the schemas that document them are two spellings of one law."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.gate import Gate
from app.api.schemas.predict import BatchBody, PredictBody, is_clean, text_problem
from app.errors import InvalidFields
from app.settings import Limits

LIMITS = Limits(max_text_chars=20, max_batch_texts=3)
GATE = Gate(LIMITS)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=8,
)
# st.text() alone never makes a lone surrogate.
wild_text = st.text(st.characters(exclude_categories=()), max_size=25)
text = st.text(" \t\n\x00\x85\xa0ab\ud800\U0001f600é", max_size=22) | wild_text
model = st.sampled_from(["sentiment", "v2", "sentiment-v2", "", "-v2", "V2", "v2\n", "../x"])
top_k = st.integers(-2, 105) | st.sampled_from([1.0, 2.5, True, "3", 10**40])


def bodies(**known):
    fields = {name: strategy | st.none() | anything for name, strategy in known.items()}
    return st.fixed_dictionaries({}, optional=fields | {"unknown": anything}) | anything


def accepted_by_struct(raw, kind):
    try:
        body = msgspec.convert(raw, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return body.is_clean(LIMITS)


def assert_agreement(raw, kind):
    accepted = accepted_by_struct(raw, kind)
    assert accepted == (not kind.schema(LIMITS).validate(raw))
    if not accepted:
        with pytest.raises(InvalidFields) as refused:
            GATE.check(raw, kind)
        assert refused.value.errors != {"body": ["Not valid."]}
        msgspec.json.encode(refused.value.errors)


@given(bodies(text=text, model_version=model, top_k=top_k))
def test_predict_struct_and_schema_agree(raw):
    assert_agreement(raw, PredictBody)


@given(st.builds(dict, text=text, model_version=model, top_k=top_k))
def test_predict_struct_and_schema_agree_on_nearly_right_bodies(raw):
    assert_agreement(raw, PredictBody)


@given(bodies(texts=st.lists(text, max_size=5), model_version=model))
def test_batch_struct_and_schema_agree(raw):
    assert_agreement(raw, BatchBody)


@given(st.builds(dict, texts=st.lists(text, max_size=5), model_version=model))
def test_batch_struct_and_schema_agree_on_nearly_right_bodies(raw):
    assert_agreement(raw, BatchBody)


@given(text)
def test_fast_text_check_agrees_with_the_one_that_explains(value):
    assert is_clean(value, 20) == (text_problem(value, 20) is None)


@given(st.text(max_size=20).filter(lambda value: is_clean(value, 20)))
def test_clean_text_can_be_encoded(value):
    assert value.encode("utf-8")


@pytest.mark.parametrize(
    "value", ["line\nbreak\r\n\ttab", "a\u00a0b", "emoji \U0001f600", "\u200d", "x" * 20]
)
def test_ordinary_text_is_clean(value):
    assert text_problem(value, 20) is None


def test_errors_name_position_and_limit_but_not_the_text():
    with pytest.raises(InvalidFields) as refused:
        GATE.check({"texts": ["fine", "secret\0", "secret" * 9]}, BatchBody)

    assert refused.value.errors == {
        "texts.1": ["Contains a control character (U+0000) at position 6."],
        "texts.2": ["Has 54 characters; the limit is 20."],
    }
    assert "secret" not in str(refused.value)
