"""API process. How fast workers work off the texts of a lane, and how long what waits will take."""

import math
from typing import NamedTuple

# What is older than this, and than so many chunks take to compute, counts little. By time, not by
# number: many workers that are done at about the same time are all in one moment.
MEMORY_S = 1.0
MEMORY_CHUNKS = 8
# A pause between two chunks that is longer than this, and than the chunk took to compute, was no
# work, whatever the lane held; and a lane is behind for as long after texts were last held.
MAX_GAP_S = 2.0


class Line(NamedTuple):
    """The line in front of new texts: seconds until what waits is answered, and for them alone.

    Both are 0.0 where workers keep up, or nothing is known yet.
    """

    waits_s: float = 0.0
    takes_s: float = 0.0


NO_LINE = Line()


class Drain:
    """What busy workers got done lately: a sum of costs and one of the seconds they took.

    Measured only between chunks that landed while more texts were held: then the workers were
    busy, and this is what they can do, not what was asked of them. Of two workers that are done at
    about the same time one chunk seems to take no time at all: a mean of rates would be many times
    too high, the rate of the sums is not. Both fade in the same way, and begin anew with every time
    in which workers are behind.

    Costs are those of `app.inference.costs`, moments are monotonic seconds.
    """

    __slots__ = ("_behind_until", "_busy_since", "_cost", "_seconds")

    def __init__(self) -> None:
        self._cost = self._seconds = 0.0
        self._busy_since = math.inf
        self._behind_until = -math.inf

    def landed(self, cost: float, computed_s: float, moment: float, *, is_busy: bool) -> None:
        """A chunk came back; `is_busy`: more texts are held for want of workers."""
        max_gap_s = max(MAX_GAP_S, 2 * computed_s)
        gap_s = moment - self._busy_since
        if 0.0 <= gap_s <= max_gap_s:
            self._learn(cost, gap_s, max(MEMORY_S, MEMORY_CHUNKS * computed_s))
        elif not self.is_behind(moment):
            self._cost = self._seconds = 0.0
        if is_busy:
            self._busy_since, self._behind_until = moment, moment + max_gap_s
        else:
            self._behind_until = min(self._behind_until, moment + MAX_GAP_S)
            self.rest()

    def rest(self) -> None:
        """Nothing is held: the time until the next chunk lands says nothing."""
        self._busy_since = math.inf

    def is_behind(self, moment: float) -> bool:
        """Whether texts were held for want of workers just now."""
        return moment < self._behind_until

    def line(self, waiting: float, more: float, moment: float) -> Line:
        """In front of texts that cost `more`, where texts that cost `waiting` are not answered."""
        # Where nothing waits or workers keep up, an old rate is no reason to refuse.
        if not waiting or not self.is_behind(moment) or not self._seconds:
            return NO_LINE
        unit_s = self._seconds / self._cost
        return Line(waiting * unit_s, more * unit_s)

    def _learn(self, cost: float, seconds: float, memory_s: float) -> None:
        left = math.exp(-seconds / memory_s)
        self._cost = left * self._cost + cost
        self._seconds = left * self._seconds + seconds
