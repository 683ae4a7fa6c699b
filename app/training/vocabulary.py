"""Worker process. Learns the vocabularies that the feature steps are built from."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from app.errors import TrainingDataInvalid
from app.preprocessing.features import Analyzer, Block, analyzer

TOO_FEW = "the training texts have no words in common; more rows are needed"


def learn_block(
    cleaned: Sequence[str], kind: Analyzer, ngrams: tuple[int, int], min_texts: int
) -> Block:
    """The n-grams that occur in at least `min_texts` of the cleaned texts, sorted.

    `TrainingDataInvalid` where there is none.
    """
    vectorizer = analyzer(kind, ngrams).set_params(min_df=min_texts)
    try:
        counts = vectorizer.fit_transform(cleaned)
    except ValueError as error:  # scikit-learn's word for an empty vocabulary
        raise TrainingDataInvalid("vocabulary", TOO_FEW) from error
    texts_with = np.bincount(counts.indices, minlength=counts.shape[1])
    terms = zip(vectorizer.get_feature_names_out().tolist(), texts_with.tolist(), strict=True)
    return Block(analyzer=kind, ngrams=ngrams, terms=dict(terms))


def learn_tokens(cleaned: Sequence[str], min_count: int, max_tokens: int) -> list[str]:
    """The most frequent tokens, most frequent first; equally frequent ones in their own order.

    `TrainingDataInvalid` where none occurs `min_count` times.
    """
    counts = Counter(token for text in cleaned for token in text.split())
    kept = [(-count, token) for token, count in counts.items() if count >= min_count]
    if not kept:
        raise TrainingDataInvalid("vocabulary", TOO_FEW)
    return [token for _, token in sorted(kept)[:max_tokens]]
