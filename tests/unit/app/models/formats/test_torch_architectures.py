"""Architectures are built from a manifest's words, and padding has no say in their answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ManifestInvalid
from app.models.formats.torch_architectures import build

OPTIONS = {"name": "embedding_bag", "vocabulary": 9, "dimensions": 4, "labels": 3}


@given(st.lists(st.lists(st.integers(1, 8), max_size=5), min_size=1, max_size=4))
def test_padding_and_neighbours_do_not_change_logits(rows):
    module = build(OPTIONS).eval()
    together = torch.tensor([row + [0] * (9 - len(row)) for row in rows])

    logits = module(together)

    assert logits.shape == (len(rows), 3)
    for row, found in zip(rows, logits, strict=True):
        alone = module(torch.tensor([row + [0] * (6 - len(row))]))[0]
        torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "transformer"}, "unknown name 'transformer'; there are: embedding_bag"),
        ({"name": None}, "unknown name None"),
        ({"dimensions": 0}, r"embedding_bag: .*dimensions"),
        ({"labels": "3"}, r"embedding_bag: .*labels"),
        ({"layers": 2}, r"embedding_bag: .*layers"),
    ],
)
def test_build_refuses_and_names_what_is_wrong(changes, said):
    with pytest.raises(ManifestInvalid, match=said):
        build({**OPTIONS, **changes})
