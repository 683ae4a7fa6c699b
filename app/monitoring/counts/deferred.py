"""Shared. Counts that a busy process writes together instead of one by one.

A count is written into a file that others read, which costs a request more than anything else that
is done to watch it, and most when other code ran in between. Sums of a moment cost a fraction.
"""

import threading
from collections import deque
from typing import Any


class Deferred:
    """Writes at once; after `defer`, when somebody calls `write`. For any threads."""

    def __init__(self) -> None:
        self._is_deferring = False
        self._writing = threading.Lock()
        self._added: deque[tuple[Any, float]] = deque()
        self._observed: deque[tuple[Any, float]] = deque()

    def defer(self) -> None:
        """From now on somebody calls `write`, again and again."""
        self._is_deferring = True

    def add(self, counter: Any, amount: float = 1) -> None:
        """Count so many more."""
        if self._is_deferring:
            self._added.append((counter, amount))
        else:
            counter.inc(amount)

    def observe(self, distribution: Any, amount: float) -> None:
        """Observe one amount of a `Distribution`."""
        if self._is_deferring:
            self._observed.append((distribution, amount))
        else:
            distribution.observe(amount)

    def write(self) -> None:
        """Write what was kept."""
        sums: dict[Any, float] = {}
        amounts: dict[Any, list[float]] = {}
        with self._writing:
            while self._added:
                counter, amount = self._added.popleft()
                sums[counter] = sums.get(counter, 0) + amount
            while self._observed:
                distribution, amount = self._observed.popleft()
                amounts.setdefault(distribution, []).append(amount)
            for counter, amount in sums.items():
                counter.inc(amount)
            for distribution, found in amounts.items():
                distribution.observe_all(found)

    def stop(self) -> None:
        """Write what was kept, and from now on at once."""
        self._is_deferring = False
        self.write()
