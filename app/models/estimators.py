"""Worker process. A fitted scikit-learn estimator as a predictor, whatever file it came from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from app.errors import ArtifactInvalid, ArtifactUnsafe, LibraryMismatch, ManifestInvalid
from app.models.base import Manifest

LIBRARY = "scikit-learn"
# Fitted arrays in which a NaN can only come from a broken training or a damaged file. Others may
# hold one for a reason, such as the scores of a grid search.
WEIGHTS = (
    "coef_",
    "intercept_",
    "coefs_",
    "intercepts_",
    "feature_log_prob_",
    "class_log_prior_",
    "idf_",
    "components_",
)


class EstimatorPredictor:
    """Calls `predict_proba` and puts the columns into the manifest's order of labels."""

    def __init__(self, estimator: Any, order: list[int] | None) -> None:
        self.estimator = estimator
        self._order = order

    def predict_proba(self, features: Any) -> Any:
        """A matrix or list of n rows to a float64 array (n, labels); n may be 0."""
        rows = features.shape[0] if hasattr(features, "shape") else len(features)
        if rows == 0:
            return np.empty((0, len(self.estimator.classes_)))
        found = np.asarray(self.estimator.predict_proba(features), dtype=np.float64)
        return found if self._order is None else found[:, self._order]


class LogisticPredictor:
    """The product and softmax of a multinomial logistic regression, without what surrounds them.

    For one text scikit-learn's own call takes five times as long: it validates its input, and
    copies the weights into another memory order each time.
    """

    def __init__(self, estimator: Any, order: list[int] | None) -> None:
        chosen = slice(None) if order is None else order
        self._weights = np.ascontiguousarray(estimator.coef_[chosen].T, dtype=np.float64)
        self._intercept = np.asarray(estimator.intercept_[chosen], dtype=np.float64)

    def predict_proba(self, features: Any) -> Any:
        """A matrix of n rows to a float64 array (n, labels); n may be 0."""
        scores = features @ self._weights + self._intercept
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores


def to_predictor(estimator: Any, manifest: Manifest) -> EstimatorPredictor | LogisticPredictor:
    """Check a loaded estimator against its manifest; `ArtifactInvalid` says what does not fit."""
    ref = str(manifest.ref)
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
        kind = type(estimator).__name__
        raise ArtifactInvalid(ref, f"{kind} is not a fitted classifier with probabilities")
    if isinstance(estimator.classes_, list):
        said = "it has classes for each output; OneVsRestClassifier has one for each label"
        raise ArtifactInvalid(ref, said)
    order = _column_order(estimator.classes_, manifest)
    plain = EstimatorPredictor(estimator, order)
    if type(estimator) is LogisticRegression and len(estimator.classes_) > 2:
        short = LogisticPredictor(estimator, order)
        rows = sparse.eye(min(8, estimator.n_features_in_), estimator.n_features_in_, format="csr")
        # False for the one-against-rest scheme of the liblinear solver.
        if np.allclose(short.predict_proba(rows), plain.predict_proba(rows), rtol=0, atol=1e-12):
            return short
    return plain


def tame(estimator: Any, ref: str) -> None:
    """Keep `estimator` on this thread; refuse what is harmful in it or broken.

    `ArtifactUnsafe` for vectorizers that read files, or whose columns are not those of their terms;
    `ArtifactInvalid` for NaN weights.
    """
    for part in _parts(estimator):
        if getattr(part, "input", "content") != "content":
            raise ArtifactUnsafe(ref, f"{type(part).__name__} would read files named by a text")
        if "vocabulary_" in vars(part) and not _is_vocabulary(part.vocabulary_):
            said = f"vocabulary_ of {type(part).__name__} does not number its terms from 0 on"
            raise ArtifactUnsafe(ref, said)
        if getattr(part, "n_jobs", None) is not None:
            part.n_jobs = None
        for name in WEIGHTS:
            if _has_nan(vars(part).get(name)):
                raise ArtifactInvalid(ref, f"{name} of {type(part).__name__} holds NaN")


def check_manifest(manifest: Manifest) -> None:
    """Refuse an estimator of another scikit-learn: same major.minor, or `LibraryMismatch`.

    Fitted attributes change between minor releases; patch releases keep them. An estimator that is
    said to need a GPU is `ManifestInvalid`.
    """
    if manifest.device == "gpu":
        raise ManifestInvalid(str(manifest.ref), f"device: {LIBRARY} runs on the CPU")
    written = manifest.libraries.get(LIBRARY)
    if written is None:
        raise ManifestInvalid(str(manifest.ref), f"libraries: the version of {LIBRARY} is missing")
    if written.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise LibraryMismatch(LIBRARY, written, sklearn.__version__)


def _column_order(classes: Any, manifest: Manifest) -> list[int] | None:
    found = [str(name) for name in classes.tolist()]
    labels = manifest.labels
    if found == labels:
        return None
    # Before the numbers: labels may be numbers themselves.
    if sorted(found) == sorted(labels):
        return [found.index(label) for label in labels]
    if found == [str(index) for index in range(len(labels))]:
        return None
    seen, said = ", ".join(found)[:200], ", ".join(labels)[:200]
    raise ArtifactInvalid(str(manifest.ref), f"its classes are {seen}; the labels are {said}")


def _parts(estimator: Any) -> Iterator[Any]:
    """All of scikit-learn inside, however deep it is and whatever it is kept in."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str | int | float) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, list | tuple):
            waiting.extend(found)
        elif isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, np.ndarray):
            waiting.extend(found.flat if found.dtype.kind == "O" else ())
        elif type(found).__module__.startswith("sklearn.") and hasattr(found, "__dict__"):
            yield found
            waiting.extend(vars(found).values())


def _is_vocabulary(terms: Any) -> bool:
    """Whether each term has a column of its own, from 0 on.

    Any other column ends the process at the first text that has the term.
    """
    if type(terms) is not dict:
        return False
    try:
        return sorted(terms.values()) == list(range(len(terms)))
    except (TypeError, ValueError):  # they are no numbers
        return False


def _has_nan(weights: Any) -> bool:
    if isinstance(weights, list):
        return any(_has_nan(part) for part in weights)
    values = weights.data if sparse.issparse(weights) else weights
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        return False
    return bool(np.isnan(values).any())
