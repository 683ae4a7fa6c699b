"""Figures are those of the textbook."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from app.models.base import ClassFigures
from app.training.evaluate import evaluate

NAMES = ["a", "b", "c"]


def one_hot(labels):
    return np.eye(len(NAMES))[[NAMES.index(label) for label in labels]]


def test_evaluate_counts_by_hand():
    figures = evaluate(one_hot("aabbb"), list("aaabb"), NAMES)

    assert figures.accuracy == 0.8
    assert figures.per_class == {
        "a": ClassFigures(precision=1.0, recall=0.6667, f1=0.8, support=3),
        "b": ClassFigures(precision=0.6667, recall=1.0, f1=0.8, support=2),
        "c": ClassFigures(precision=0.0, recall=0.0, f1=0.0, support=0),
    }
    assert figures.macro_f1 == round((0.8 + 0.8 + 0) / 3, 4)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1))
def test_evaluate_agrees_with_scikit_learn(pairs):
    true, predicted = map(list, zip(*pairs, strict=True))

    figures = evaluate(one_hot(predicted), true, NAMES)

    macro = f1_score(true, predicted, labels=NAMES, average="macro", zero_division=0.0)
    assert abs(figures.accuracy - accuracy_score(true, predicted)) <= 5e-5
    assert abs(figures.macro_f1 - macro) <= 5e-5
