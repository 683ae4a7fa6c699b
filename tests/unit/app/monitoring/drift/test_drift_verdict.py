"""When a version has drifted, and when it has not."""

import msgspec
import numpy as np
import pytest

from app.models.reference import Embedding, Histogram
from app.monitoring.drift.verdict import judge
from app.monitoring.drift.windows import Window
from app.settings import Drift, Thresholds
from tests.models import LABELS
from tests.references import EDGES, make_reference

SETTINGS = Drift(min_samples=100)
REFERENCE = make_reference()
# As in the reference, out of 1000.
SAME = {
    "labels": [400, 200, 400],
    "confidence": [0, 200, 300, 500],
    "characters": [0, 100, 300, 600],
    "unknown_tokens": [700, 200, 100, 0],
}


def window(**counts):
    made = Window()
    made.add(counts)
    return made


def verdict(counts, settings=SETTINGS, reference=REFERENCE):
    level, features = judge(reference, LABELS, window(**counts), settings)
    return level, {feature.feature: feature for feature in features}


def drawn(counts, texts, draws):
    return draws.multinomial(texts, np.asarray(counts) / sum(counts)).tolist()


def test_same_shares_are_no_drift():
    level, features = verdict(SAME)

    assert level == "ok"
    assert {feature.verdict for feature in features.values()} == {"ok"}
    assert {score.value for feature in features.values() for score in feature.scores} == {0.0}


@pytest.mark.parametrize(
    ("live", "expected"),
    [([400, 200, 400], "ok"), ([260, 320, 420], "warn"), ([100, 200, 700], "alarm")],
)
def test_verdict_follows_the_size_of_the_change(live, expected):
    level, features = verdict(SAME | {"labels": live})

    assert level == features["labels"].verdict == expected
    assert features["confidence"].verdict == "ok"


@pytest.mark.parametrize("feature", ["labels", "confidence", "characters", "unknown_tokens"])
def test_every_feature_alone_raises_the_alarm(feature):
    level, features = verdict(SAME | {feature: SAME[feature][::-1][:1] + SAME[feature][:-1]})

    changed = {name for name, found in features.items() if found.verdict != "ok"}
    assert (level, changed) == ("alarm", {feature})


def test_too_few_texts_give_no_verdict_and_no_score():
    few = {name: [n // 11 for n in counts] for name, counts in SAME.items()}

    level, features = verdict(few)

    assert level == "insufficient_data"
    assert [feature.scores for feature in features.values()] == [[]] * 4
    assert features["labels"].bins[0].reference == 0.4


def test_no_text_at_all_is_insufficient():
    assert verdict({}) == ("insufficient_data", {})


def test_large_score_that_chance_may_give_is_no_drift():
    tiny = make_reference(
        held_out_texts=10, predicted_shares=dict(zip(LABELS, (0.6, 0.0, 0.4), strict=True))
    )

    level, features = verdict({"labels": [40, 20, 40]}, reference=tiny)

    assert features["labels"].scores[0].value > 0.25
    assert features["labels"].p_value > 0.05
    assert level == "ok"


def test_small_change_in_a_huge_window_is_no_drift():
    huge = {name: [n * 1000 for n in counts] for name, counts in SAME.items()}
    large = make_reference(held_out_texts=1_000_000)

    level, features = verdict(huge | {"labels": [430_000, 200_000, 370_000]}, reference=large)

    assert features["labels"].p_value < 1e-6
    assert level == "ok"


def test_thresholds_are_those_of_the_feature():
    strict = Thresholds(psi_warn=0.001, psi_alarm=0.002)
    changed = SAME | {"labels": [300, 300, 400], "confidence": [0, 300, 250, 450]}

    level, features = verdict(changed, msgspec.structs.replace(SETTINGS, labels=strict))

    assert level == features["labels"].verdict == "alarm"
    assert features["confidence"].verdict == "ok"
    assert features["labels"].scores[0].alarm == 0.002


def test_rare_labels_are_looked_at_together():
    labels = [f"l{at}" for at in range(500)]
    shares = {label: 0.4 if at < 2 else 0.2 / 498 for at, label in enumerate(labels)}
    reference = make_reference(held_out_texts=10_000, predicted_shares=shares)
    draws = np.random.default_rng(3)
    found = [
        judge(
            reference,
            labels,
            window(labels=drawn(list(shares.values()), 200, draws)),
            SETTINGS,
        )[0]
        for _ in range(100)
    ]
    usual, moved = found.count("ok"), window(labels=[40, 40] + [1] * 120 + [0] * 378)

    assert usual >= 99
    assert judge(reference, labels, moved, SETTINGS)[0] == "alarm"


def test_value_that_the_reference_never_had_is_seen():
    sure = make_reference(confidence=Histogram(edges=EDGES, counts=[0, 0, 0, 1000]))

    level, features = verdict(SAME | {"confidence": [500, 0, 0, 500]}, reference=sure)

    assert (level, features["confidence"].verdict) == ("alarm", "alarm")


def test_feature_that_workers_do_not_measure_is_left_out():
    _, features = verdict({name: SAME[name] for name in ("labels", "confidence", "characters")})

    assert set(features) == {"labels", "confidence", "characters"}


def test_distance_counts_for_models_with_embeddings():
    distances = Histogram(edges=[0.0, 1.0, 2.0], counts=[500, 400, 100])
    reference = make_reference(embedding=Embedding(centroid=[0.0], distances=distances))

    level, features = verdict(SAME | {"distance": [100, 100, 800]}, reference=reference)

    assert (level, features["distance"].verdict) == ("alarm", "alarm")


@pytest.mark.parametrize("texts", [100, 400])
def test_windows_of_the_same_distribution_hardly_ever_warn(texts):
    draws = np.random.default_rng(texts)
    said = [
        verdict({name: drawn(counts, texts, draws) for name, counts in SAME.items()})[0]
        for _ in range(200)
    ]

    assert said.count("ok") >= 198
