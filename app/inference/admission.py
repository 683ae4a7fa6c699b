"""API process. Says no early: how many texts may wait, and whether they can be answered in time."""

import math
import threading
import time
from collections.abc import Callable

from app.errors import Overloaded

# Weight of one chunk in the moving average of the drain rate: the last ten or so count.
SMOOTHING = 0.2
# A pause between two chunks that is longer than this was no work, whatever the lanes held; and a
# rate is believed for as long after texts were last held.
MAX_GAP_S = 2.0


class Admission:
    """Counts the texts of this process that wait for an outcome.

    The drain rate is measured only between chunks that landed while more texts were held: then the
    workers were busy, and texts per second are what they can do, not what was asked of them.
    """

    def __init__(self, max_queued_texts: int, now: Callable[[], float] = time.monotonic) -> None:
        self._max_queued_texts = max_queued_texts
        self._now = now
        self._lock = threading.Lock()
        self._waiting = 0
        self._texts_per_s: float | None = None
        self._texts_per_chunk = 1.0
        self._busy_since: float | None = None
        self._behind_at = float("-inf")

    @property
    def waiting(self) -> int:
        """Texts let in and not yet answered."""
        return self._waiting

    def wait_s(self, texts: int = 0) -> float:
        """Seconds until `texts` more would be answered; 0 while no rate is known."""
        return (self._waiting + texts) / self._texts_per_s if self._texts_per_s else 0.0

    def enter(self, texts: int, wait_s: float, queued_chunks: int) -> None:
        """Let `texts` in, or raise `Overloaded` with the seconds after which to try again.

        `wait_s` is how long the caller waits; `queued_chunks` how many chunks of all API processes
        wait in the shared queue.
        """
        with self._lock:
            self._check(texts, wait_s, queued_chunks)
            self._waiting += texts

    def check(self, texts: int, wait_s: float) -> None:
        """Raise `Overloaded` where `enter` would because of this process alone."""
        with self._lock:
            self._check(texts, wait_s)

    def _check(self, texts: int, wait_s: float, queued_chunks: int = 0) -> None:
        most = max(self._waiting, queued_chunks * self._texts_per_chunk)
        # Where nothing waits or workers keep up, an old rate is no reason to refuse.
        is_behind = self._waiting > 0 and self._now() - self._behind_at < MAX_GAP_S
        is_late = is_behind and self.wait_s(texts) > wait_s
        if most + texts > self._max_queued_texts or is_late:
            raise Overloaded(max(1, math.ceil(self.wait_s())))

    def leave(self, texts: int) -> None:
        """The texts are answered, or nobody waits for them any more."""
        with self._lock:
            self._waiting -= texts

    def landed(self, texts: int, is_busy: bool) -> None:
        """A chunk came back; `is_busy`: more texts are held for want of workers."""
        now = self._now()
        with self._lock:
            self._texts_per_chunk += SMOOTHING * (texts - self._texts_per_chunk)
            if is_busy:
                self._behind_at = now
            since, self._busy_since = self._busy_since, now if is_busy else None
            if since is None or now <= since or now - since > MAX_GAP_S:
                return
            rate = texts / (now - since)
            known = self._texts_per_s or rate
            self._texts_per_s = known + SMOOTHING * (rate - known)
