"""Harness. From the results of several rounds to one figure each."""

import statistics
from collections.abc import Sequence
from typing import Any

# Counted over all rounds: a median would hide what happened in one of them.
SUMMED = ("errors", "checked", "wrong", "failed", "never_answered", "unknown_ids")

Rounds = Sequence[dict[str, dict[str, Any]]]


def over_rounds(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """By contender and scenario the medians of all rounds that have them."""
    names = dict.fromkeys(name for results in rounds for name in results)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        mine = [results[name] for results in rounds if name in results]
        scenarios = dict.fromkeys(key for result in mine for key in result)
        found[name] = {key: combine([r[key] for r in mine if key in r]) for key in scenarios}
    return found


def combine(values: Sequence[Any], summed: bool = False) -> Any:
    """The median of numbers, or their sum; mappings key by key; of anything else the last."""
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {
            key: combine([v[key] for v in values if key in v], summed or key in SUMMED)
            for key in keys
        }
    if all(isinstance(value, int | float) for value in values):
        return sum(values) if summed else statistics.median(values)
    if all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return values[-1]
