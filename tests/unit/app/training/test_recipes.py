"""Every recipe learns, is reproducible, and is served as it was measured."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.errors import TrainingDataInvalid
from app.models.base import Manifest, Ref
from app.models.catalog import Catalog
from app.models.hugging_face import load_encoder
from app.models.loader import load
from app.models.reference import REFERENCE_FILE, Reference
from app.settings import Limits
from app.training.data import Labelled
from app.training.recipes import RECIPES, minilm, recipe
from app.training.run import Plan, run
from app.training.split import is_held_out


@dataclass
class Run:
    """A finished training run and what was seen of it."""

    plan: Plan
    manifest: Manifest
    texts: list[str]
    done: list[float]


def silent(stage, done):
    """A progress that nobody watches."""


@pytest.fixture(scope="module", params=RECIPES)
def trained(request, labelled, tmp_path_factory):
    """One run of each recipe, with a note of the texts that the recipe was shown."""
    folder = tmp_path_factory.mktemp("training")
    rows = zip(labelled.texts, labelled.labels, strict=True)
    lines = (msgspec.json.encode({"text": text, "label": label}) for text, label in rows)
    (folder / "films.jsonl").write_bytes(b"\n".join(lines))
    plan = Plan(
        data=folder / "films.jsonl",
        ref=Ref("films", "v1"),
        recipe=request.param,
        models_dir=folder / "models",
        seed=3,
    )
    module: Any = recipe(request.param)
    shown: list[str] = []
    done: list[float] = []

    def spy(rows, seed, progress):
        shown.extend(rows.texts)
        return original(rows, seed, progress)

    with pytest.MonkeyPatch.context() as patch:
        original = module.train
        patch.setattr(module, "train", spy)
        manifest = run(plan, lambda stage, share: done.append(share))
    return Run(plan, manifest, shown, done)


def test_model_has_learned_and_says_so(trained):
    measured = trained.manifest.metadata

    assert measured.accuracy > 0.9
    assert trained.manifest.labels == ["bad", "fine", "good"]
    data = measured.training_data
    assert data.held_out_texts == sum(row.support for row in measured.per_class.values())
    assert data.texts + data.held_out_texts == 240


def test_same_data_and_seed_give_the_same_digest(trained, tmp_path):
    again = run(replace(trained.plan, models_dir=tmp_path), silent)

    assert again.digest == trained.manifest.digest
    assert again.metadata.per_class == trained.manifest.metadata.per_class


def test_recipe_is_shown_no_held_out_text(trained):
    assert len(trained.texts) == trained.manifest.metadata.training_data.texts
    assert not [text for text in trained.texts if is_held_out(text)]


def test_progress_goes_from_nothing_to_all(trained):
    assert trained.done == sorted(trained.done)
    assert trained.done[0] < 0.1
    assert trained.done[-1] == 1.0


def test_served_model_answers_as_the_measured_one(trained, labelled):
    catalog = Catalog(trained.plan.models_dir, "films")
    served = load(catalog.get(trained.plan.ref), Limits(), "cpu")
    held_out = [at for at, text in enumerate(labelled.texts) if is_held_out(text)]

    cleaned = [served.pipeline.clean(labelled.texts[at]) for at in held_out]
    found = served.predictor.predict_proba(served.pipeline.extract(cleaned))

    predicted = [served.labels[at] for at in found.argmax(axis=1)]
    hits = np.mean(
        [labelled.labels[at] == label for at, label in zip(held_out, predicted, strict=True)]
    )
    assert round(hits, 4) == trained.manifest.metadata.accuracy
    content = (trained.plan.models_dir / "films" / "v1" / REFERENCE_FILE).read_bytes()
    reference = msgspec.json.decode(content, type=Reference)
    edges = [*reference.confidence.edges, np.inf]
    counts, _ = np.histogram(found.max(axis=1), edges)
    # A confidence right on an edge may fall on either side of it, by rounding.
    assert np.abs(counts - reference.confidence.counts).sum() <= 2


def test_texts_of_a_transformer_are_batched_by_their_tokens(trained):
    is_transformer = trained.plan.recipe == "minilm-logreg"

    assert trained.manifest.batching.cost == ("padded_tokens" if is_transformer else "texts")


def test_live_embeddings_lie_where_those_of_the_held_out_texts_lay(trained, labelled):
    served = load(Catalog(trained.plan.models_dir, "films").get(trained.plan.ref), Limits(), "cpu")
    has_embeddings = trained.plan.recipe in ("embedding-bag", "minilm-logreg")
    assert (served.embedder is not None) == has_embeddings
    if not has_embeddings:
        return
    held_out = [text for text in labelled.texts if is_held_out(text)]

    cleaned = [served.pipeline.clean(text) for text in held_out]
    _, embedded = served.embedder.predict_embedded(served.pipeline.extract(cleaned))

    content = (trained.plan.models_dir / "films" / "v1" / REFERENCE_FILE).read_bytes()
    known = msgspec.json.decode(content, type=Reference).embedding
    distances = np.linalg.norm(embedded - np.asarray(known.centroid), axis=1)
    # The inner edges are those between twentieths of the held-out texts.
    _, lowest, *_, highest = known.distances.edges
    assert np.quantile(distances, [0.05, 0.95]) == pytest.approx([lowest, highest], abs=1e-4)


def test_texts_are_embedded_once_each(labelled, monkeypatch):
    embedded = []
    original = minilm.embed
    monkeypatch.setattr(
        minilm, "embed", lambda *given: embedded.append(len(given[1])) or original(*given)
    )
    trained = recipe("minilm-logreg").train(labelled, 0, silent)

    trained.embed(trained.pipeline.extract(labelled.texts))
    trained.predict_proba(trained.pipeline.extract(labelled.texts))

    # Its tokenizer knows few words: many texts are the same to it.
    assert sum(embedded) == len(set(trained.pipeline.extract(labelled.texts).keys()))


def test_head_of_two_labels_says_what_the_regression_says(labelled):
    """Of two labels scikit-learn keeps one score."""
    pairs = [row for row in zip(labelled.texts, labelled.labels, strict=True) if row[1] != "fine"]
    rows = Labelled(*map(list, zip(*pairs, strict=True)))

    trained = recipe("minilm-logreg").train(rows, 0, silent)

    tokens = trained.pipeline.extract(rows.texts)
    files = minilm._encoder_files()
    encoder = load_encoder(files, minilm._manifest(files, ["bad", "good"]), "cpu")
    embeddings = minilm.Embeddings(encoder).of(tokens)
    regression = LogisticRegression(C=minilm.STRENGTH, max_iter=1000).fit(embeddings, rows.labels)
    expected = regression.predict_proba(embeddings)
    assert trained.predict_proba(tokens) == pytest.approx(expected, abs=1e-5)
    assert expected.max() > 0.6


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"minilm-logreg"}))
def test_texts_without_a_common_word_are_refused(name):
    rows = Labelled(["你好", "再见", "x", "ß"], ["a", "a", "b", "b"])

    with pytest.raises(TrainingDataInvalid, match="no words in common"):
        recipe(name).train(rows, 0, silent)
