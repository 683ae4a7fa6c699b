"""Shared. How many log lines the same failure may have: a flood of them helps nobody.

Under overload a line for each refusal would cost as much as the refusal itself.
"""

import time
from collections.abc import Callable, Hashable

PERIOD_S = 1.0


class LineBudget:
    """At most `max_lines` lines a second of each kind; threads that race may write one more.

    Kinds are few: they are kept for ever.
    """

    def __init__(self, max_lines: int, now: Callable[[], float] = time.monotonic) -> None:
        self._max_lines = max_lines
        self._now = now
        self._periods: dict[Hashable, tuple[float, int]] = {}

    def take(self, kind: Hashable) -> int | None:
        """How many lines of `kind` were left out before this one; None: leave this one out, too."""
        now = self._now()
        since, seen = self._periods.get(kind, (now, 0))
        left_out = 0
        if now - since >= PERIOD_S:
            since, seen, left_out = now, 0, max(0, seen - self._max_lines)
        self._periods[kind] = (since, seen + 1)
        return left_out if seen < self._max_lines else None
