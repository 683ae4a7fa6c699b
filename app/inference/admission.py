"""API process. Says no early: how many texts may wait, and whether they can be answered in time."""

import math
import threading

from app.errors import Overloaded
from app.inference.drain import NO_LINE, Line

# Weight of one chunk in the moving average of the texts in one: the last ten or so count.
SMOOTHING = 0.2
# How fast workers are varies: a line as long as somebody waits would have half of its texts
# answered just too late, which is worse than not to have let them in.
MAX_WAIT_SHARE = 0.7


class Admission:
    """Counts the texts of this process that wait for an outcome."""

    def __init__(self, max_queued_texts: int) -> None:
        self._max_queued_texts = max_queued_texts
        self._lock = threading.Lock()
        self._waiting = 0
        self._texts_per_chunk = 1.0

    @property
    def waiting(self) -> int:
        """Texts let in and not yet answered."""
        return self._waiting

    def enter(
        self, texts: int, wait_s: float, line: Line = NO_LINE, queued_chunks: int = 0
    ) -> None:
        """Let `texts` in, or raise `Overloaded` with the seconds after which to try again.

        `wait_s` is how long the caller waits, `line` what is in front of it; `queued_chunks` how
        many chunks of all API processes wait in the shared queue.
        """
        with self._lock:
            self._check(texts, wait_s, line, queued_chunks)
            self._waiting += texts

    def check(self, texts: int, wait_s: float, line: Line = NO_LINE) -> None:
        """Raise `Overloaded` where `enter` would because of this process alone."""
        with self._lock:
            self._check(texts, wait_s, line)

    def _check(self, texts: int, wait_s: float, line: Line, queued_chunks: int = 0) -> None:
        most = max(self._waiting, queued_chunks * self._texts_per_chunk)
        is_late = line.waits_s + line.takes_s > MAX_WAIT_SHARE * wait_s
        if most + texts > self._max_queued_texts or is_late:
            raise Overloaded(max(1, math.ceil(line.waits_s)))

    def leave(self, texts: int) -> None:
        """The texts are answered, or nobody waits for them any more."""
        with self._lock:
            self._waiting -= texts

    def landed(self, texts: int) -> None:
        """A chunk of so many came back."""
        with self._lock:
            self._texts_per_chunk += SMOOTHING * (texts - self._texts_per_chunk)
