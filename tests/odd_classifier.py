"""A classifier that gives whatever matrix it was made with, for pickles in tests."""

import numpy as np

from tests.models import LABELS


class OddClassifier:
    """Answers every call with the same rows."""

    def __init__(self, rows):
        self.classes_ = np.array(LABELS)
        self.rows = np.array(rows)

    def predict_proba(self, texts):
        return self.rows
