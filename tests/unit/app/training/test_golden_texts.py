"""Which held-out texts become golden, and that the version which gave the answers passes them."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.golden import GOLDEN_FILE, decode, encode
from app.models.loader import load
from app.settings import Limits
from app.training.golden import MAX_CHARACTERS, MAX_TEXTS, choose
from app.training.run import Plan, run
from app.training.split import is_held_out

LABELS = ["no", "yes"]


def answers(count):
    return np.tile([0.25, 0.75], (count, 1))


@given(st.lists(st.text(min_size=1), unique=True, max_size=40), st.randoms())
def test_choice_depends_on_the_texts_and_not_on_their_order(texts, random):
    chosen = choose(texts, answers(len(texts)), LABELS)
    shuffled = random.sample(texts, len(texts))

    assert choose(shuffled, answers(len(texts)), LABELS) == chosen
    assert len(chosen) == min(MAX_TEXTS, len(texts))
    assert decode(encode(chosen), "a-v1", LABELS) == chosen


def test_text_that_another_machine_could_answer_otherwise_is_not_chosen():
    found = choose(["close", "clear"], np.array([[0.495, 0.505], [0.1, 0.9]]), LABELS)

    assert [row.text for row in found] == ["clear"]
    assert (found[0].label, found[0].probabilities) == ("yes", {"no": 0.1, "yes": 0.9})


def test_text_that_is_long_or_no_unicode_is_not_chosen():
    texts = ["x" * (MAX_CHARACTERS + 1), "a\ud800", "short"]

    assert [row.text for row in choose(texts, answers(3), LABELS)] == ["short"]


def test_training_writes_golden_texts_that_the_version_answers(tmp_path, labelled):
    rows = zip(labelled.texts, labelled.labels, strict=True)
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    ref = Ref("film", "v1")
    plan = Plan(data=tmp_path / "data.jsonl", ref=ref, recipe="tfidf-logreg", models_dir=tmp_path)

    run(plan, lambda what, share: None)

    entry = Catalog(tmp_path, "film").get(ref)
    golden = decode((entry.path / GOLDEN_FILE).read_bytes(), "film-v1", entry.manifest.labels)
    assert len(golden) == MAX_TEXTS
    assert all(is_held_out(row.text) for row in golden)
    assert load(entry, Limits(), "cpu").ref == "film-v1"
