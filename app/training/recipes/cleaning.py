"""Worker process. The text steps that recipes share."""

from app.models.base import StepSpec

# Keeps what carries feeling in short texts: emoticons, exclamation marks, negations.
SOCIAL = [
    StepSpec(step="unicode", options={"form": "NFKC"}),
    StepSpec(step="html_entities"),
    StepSpec(step="urls"),
    StepSpec(step="mentions"),
    StepSpec(step="lowercase"),
    StepSpec(step="repeats", options={"max_run": 3}),
    StepSpec(step="tokenize", options={"pattern": "social"}),
    StepSpec(step="negation", options={"max_words": 3}),
]
