"""API process. The chunks that were sent and not yet answered, and which of them must be lost."""

import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

from app.contract import EXPIRED, Chunk, ChunkResult
from app.errors import ServingError

_random = random.Random()  # noqa: S311 - neither ids nor pauses are secrets

# A queue is served in order: a chunk that was overtaken by later ones for so many of their round
# trips, and for so long at least, may have been taken by a worker that is gone.
OVERTAKEN_ROUND_TRIPS = 4.0
MIN_OVERTAKEN_S = 0.25
# Either is decided while there is time for a second try: at half of the chunk's time. Where nothing
# is answered any more, perhaps the only worker is gone: at half of what was left then.
LATEST_SHARE = 0.5
SMOOTHING = 0.2
# Versions come and go.
MAX_REFS = 256
# A worker that does not hold a version refuses its chunks at once, and is free for the next one
# sooner than those that hold it. Once each may have had the chunk, it is tried again so much later
# at most: always after the same time, it could come in step with others and never have its turn.
REFUSED_PAUSE_S = 0.05
MAX_REFUSALS = 100
UNSENT_PAUSE_S = 0.2
MIN_QUIET_S = 0.001


class Sent:
    """A chunk on its way; times are monotonic seconds, `headers` more of those of its message."""

    __slots__ = (
        *("again_at", "budget_s", "chunk", "future", "headers", "is_second_try", "queue"),
        *("refusals", "sent_at", "task_id"),
    )

    def __init__(self, chunk: Chunk, queue: str, sent_at: float, budget_s: float) -> None:
        self.chunk = chunk
        self.queue = queue
        self.sent_at = sent_at
        self.budget_s = budget_s
        # Not `uuid4`: it asks the kernel, and gives up the interpreter lock meanwhile.
        self.task_id = str(uuid.UUID(int=_random.getrandbits(128), version=4))
        self.future: Future[ChunkResult] = Future()
        self.headers: dict[str, str] = {}
        self.is_second_try = False
        self.refusals = 0
        # When it must be sent again, whatever became of the last time.
        self.again_at = math.inf

    def restart(self, now: float) -> None:
        """It is sent anew, with what is left of its time."""
        self.again_at = math.inf
        self.budget_s -= now - self.sent_at
        self.sent_at = now

    def resolve(self, outcome: ChunkResult | ServingError) -> None:
        """Give the future its result or error, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, ServingError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Pending:
    """Unanswered chunks by task id; safe for several threads.

    `redis_now` is the clock of the chunks' deadlines.
    """

    def __init__(
        self, redis_now: Callable[[], float], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis_now = redis_now
        self._now = now
        self._lock = threading.Lock()
        self._sent: dict[str, Sent] = {}
        self._newest_answered: dict[str, float] = {}
        self._answered_at: dict[str, float] = {}
        self._due_at = math.inf
        # By version, the one that was answered last at the end.
        self._round_trips_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, chunk: Chunk, queue: str) -> Sent:
        """A new entry, with a future that removes it when it is cancelled."""
        sent = Sent(chunk, queue, self._now(), chunk.deadline - self._redis_now())
        with self._lock:
            self._sent[sent.task_id] = sent
        # With the id alone: a future that led to itself would be left to the garbage collector, and
        # with it all that a request is made of.
        sent.future.add_done_callback(partial(self._forget, sent.task_id))
        return sent

    def answered(self, task_id: str, is_computed: bool = True) -> Sent | None:
        """Take the entry of an answered chunk; None where nobody waits for it any more.

        Where it was not computed, nothing is learned of how long that takes.
        """
        with self._lock:
            sent = self._sent.pop(task_id, None)
            if sent is None:
                return None
            now = self._now()
            self._answered_at[sent.queue] = now
            newest = self._newest_answered.get(sent.queue, 0.0)
            self._newest_answered[sent.queue] = max(newest, sent.sent_at)
            if is_computed:
                self._learn(sent.chunk.ref, now - sent.sent_at)
            return sent

    def refused(self, sent: Sent, takers: int) -> bool:
        """A worker that does not hold its version answered `sent`; whether others may have it yet.

        `takers` is the number of workers that take chunks of its queue.
        """
        with self._lock:
            sent.refusals += 1
            now = self._now()
            if sent.refusals > MAX_REFUSALS or now - sent.sent_at >= sent.budget_s:
                return False
            have_all_had_it = sent.refusals % max(1, takers) == 0
            sent.again_at = now + _random.uniform(0.2, 1) * REFUSED_PAUSE_S * have_all_had_it
            self._due_at = min(self._due_at, sent.again_at)
            self._sent[sent.task_id] = sent
            return True

    def put_back(self, unsent: Iterable[Sent]) -> None:
        """They could not be sent again: `lost` names them once more, a little later."""
        with self._lock:
            for sent in unsent:
                sent.again_at = self._now() + UNSENT_PAUSE_S
                self._due_at = min(self._due_at, sent.again_at)

    def quiet_s(self, at_most_s: float) -> float:
        """How long no chunk is due that was refused; never 0."""
        return min(at_most_s, max(MIN_QUIET_S, self._due_at - self._now()))

    def lost(self) -> list[Sent]:
        """Chunks that must be sent again now: those that are lost, once, and refused ones."""
        with self._lock:
            found = [sent for sent in self._sent.values() if self._is_lost(sent)]
            for sent in found:
                sent.is_second_try = True
            return self._due() + found

    def overdue(self) -> list[Sent]:
        """Take the entries whose deadline has passed without an answer."""
        now = self._now()
        with self._lock:
            late = [sent for sent in self._sent.values() if now - sent.sent_at >= sent.budget_s]
            for sent in late:
                del self._sent[sent.task_id]
            return late

    def all(self) -> list[Sent]:
        """Everything that is unanswered now."""
        with self._lock:
            return list(self._sent.values())

    def _due(self) -> list[Sent]:
        now = self._now()
        if now < self._due_at:
            return []
        self._due_at = math.inf
        waiting = [sent for sent in self._sent.values() if sent.again_at < math.inf]
        # The others too, which have waited longer: whoever refused the last one took the turn of a
        # worker that was busy before, and may be free now.
        for sent in waiting:
            sent.restart(now)
        return waiting

    def _learn(self, ref: str, trip_s: float) -> None:
        known_s = self._round_trips_s.pop(ref, trip_s)
        # The longest of late: one version's chunks take a hundred times as long as another's, and a
        # full one much longer than one with a single text.
        self._round_trips_s[ref] = max(trip_s, known_s + SMOOTHING * (trip_s - known_s))
        if len(self._round_trips_s) > MAX_REFS:
            del self._round_trips_s[next(iter(self._round_trips_s))]

    def _is_lost(self, sent: Sent) -> bool:
        age_s = self._now() - sent.sent_at
        if sent.is_second_try or sent.again_at < math.inf or age_s >= sent.budget_s:
            return False
        if self._newest_answered.get(sent.queue, 0.0) > sent.sent_at:
            # Before anything is known of a version, nobody can say that a chunk takes too long.
            trip_s = self._round_trips_s.get(sent.chunk.ref, math.inf)
            patience_s = max(MIN_OVERTAKEN_S, OVERTAKEN_ROUND_TRIPS * trip_s)
            return age_s > min(patience_s, LATEST_SHARE * sent.budget_s)
        quiet_since = max(self._answered_at.get(sent.queue, 0.0), sent.sent_at)
        left_s = sent.sent_at + sent.budget_s - quiet_since
        return self._now() - quiet_since > max(MIN_OVERTAKEN_S, LATEST_SHARE * left_s)

    def _forget(self, task_id: str, _: Future[ChunkResult]) -> None:
        with self._lock:
            self._sent.pop(task_id, None)


def expired(chunk: Chunk) -> ChunkResult:
    """What a worker answers that gets `chunk` after its deadline."""
    outcomes = [EXPIRED] * len(chunk.texts)
    return ChunkResult(
        ref=chunk.ref, labels=[], outcomes=outcomes, preprocess_s=0.0, inference_s=0.0
    )
