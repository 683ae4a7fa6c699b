"""A classifier that does to its process what its texts say, for pickles in tests.

"abort" ends the process, "hang" never returns, "memory" asks for more than there is, "slow" takes
a millisecond, "slower" twenty. All else is answered by whether "good" is in the text.
"""

import os
import threading

import numpy as np

from tests.models import LABELS


class DeadlyClassifier:
    """Answers texts, or does not."""

    def __init__(self):
        self.classes_ = np.array(LABELS)

    def predict_proba(self, texts):
        return np.array([self._answer(text) for text in texts])

    def _answer(self, text):
        if "abort" in text:
            os.abort()
        if "hang" in text:
            threading.Event().wait()
        if "memory" in text:
            bytearray(1 << 60)
        if "slow" in text:
            threading.Event().wait(0.020 if "slower" in text else 0.001)
        return (0.0, 0.25, 0.75) if "good" in text else (0.75, 0.25, 0.0)
