"""The Structs of what changes models and the schemas that document them are one law."""

from hypothesis import given
from hypothesis import strategies as st

from app.api.schemas.rollouts import LoadBody, SwapBody
from tests.unit.app.api.test_bodies import assert_agreement, bodies, model, wild_text

version = st.sampled_from(["v1", "1.0_rc", "v-1", "", "V1", "v1\n", "../x", "x" * 64, "x" * 65])


@given(bodies(version=version | wild_text))
def test_swap_struct_and_schema_agree(raw):
    assert_agreement(raw, SwapBody)


@given(bodies(model_version=model | wild_text))
def test_load_struct_and_schema_agree(raw):
    assert_agreement(raw, LoadBody)
