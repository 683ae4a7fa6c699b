"""From training to verdict: texts of the same kind raise no alarm, texts of another kind do."""

import random

from benchmarks.drift import HOME, study

WINDOWS, SIZE = 60, 100


def rows(source: str, prefix: str, texts: int, words: int) -> list[dict[str, str]]:
    """Made-up texts: some words are common, most are rare, one in each decides the label."""
    draws = random.Random(prefix)
    common = [f"{prefix}{at}" for at in range(400)]
    weights = [1 / (at + 1) for at in range(400)]
    made = []
    for _ in range(texts):
        label = draws.choice(("good", "bad"))
        chosen = draws.choices(common, weights, k=draws.randint(words // 2, words))
        made.append({"text": " ".join([*chosen, label]), "label": label, "source": source})
    return made


def test_windows_of_the_same_domain_are_ok_and_of_another_one_alarm() -> None:
    mixed = rows(HOME, "a", 1200, 12) + rows("same words, longer", "a", 200, 24)

    said = study([*mixed, *rows("other words", "b", 200, 12)], "tfidf-logreg", 0, WINDOWS, [SIZE])

    assert said[HOME][SIZE]["ok"] >= 0.95 * WINDOWS
    assert said["same words, longer"][SIZE]["alarm"] >= 0.95 * WINDOWS
    assert said["other words"][SIZE]["alarm"] >= 0.95 * WINDOWS
