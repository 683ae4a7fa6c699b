"""Harness. `python -m benchmarks.compare BEFORE.json AFTER.json`: what changed between two runs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import figure, table

KEYS = ("good_per_s", "p50_ms", "p99_ms")


def rows(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each figure that both runs have: before, after and their ratio."""
    for name, scenarios in after["medians"].items():
        for scenario, run in scenarios.items():
            earlier = before["medians"].get(name, {}).get(scenario, {})
            for key in KEYS:
                if key in run and earlier.get(key):
                    ratio = f"{run[key] / earlier[key]:.2f}"
                    figures = (figure(earlier[key]), figure(run[key]), ratio)
                    yield (f"{name} {scenario} {key}", *figures)


def main() -> int:
    """Print the table."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    before, after = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])
    print(table(("figure", before["commit"], after["commit"], "ratio"), rows(before, after)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
