"""Worker process. Which texts are held out: a rule that depends on nothing but the text.

A text is held out if the first 8 bytes of the SHA-256 of its normal form, read as a number in
[0, 2**64), are below `share` * 2**64. The normal form is NFKC, case folded, white space collapsed.
So the same text is always on the same side, however often and in whichever row it occurs, in
whichever file, and whatever the seed; and texts that are added later move no other text.
"""

import hashlib
import unicodedata

from app.errors import TrainingDataInvalid
from app.training.data import Dataset, Labelled

DEFAULT_SHARE = 0.2


def is_held_out(text: str, share: float = DEFAULT_SHARE) -> bool:
    """Apply the rule to one text; `share` is between 0 and 1."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    normal = " ".join(unicodedata.normalize("NFKC", folded).split())
    digest = hashlib.sha256(normal.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < int(share * 2**64)


def split(dataset: Dataset, share: float = DEFAULT_SHARE) -> tuple[Labelled, Labelled]:
    """The training part and the held-out part, both in the order of the file.

    `TrainingDataInvalid` where a label is missing in one of them.
    """
    training, held_out = Labelled([], []), Labelled([], [])
    for text, label in zip(dataset.rows.texts, dataset.rows.labels, strict=True):
        part = held_out if is_held_out(text, share) else training
        part.texts.append(text)
        part.labels.append(label)
    for name, part in (("training", training), ("held-out", held_out)):
        missing = sorted(set(dataset.rows.labels) - set(part.labels))
        if missing:
            raise TrainingDataInvalid(
                dataset.name, f"no {name} text has the label {missing[0]!r}; more rows are needed"
            )
    return training, held_out
