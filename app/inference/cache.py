"""API process. Answers that are kept: in this process, and behind it in Redis for all of them.

The shared tier is a convenience: it has timeouts and a circuit breaker of its own, nothing fails or
waits because of it, and what it holds is checked before it is believed. No text is stored, only
probabilities under a digest.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import cachetools
import msgspec
import redis

from app.contract import KEY_PREFIX, Outcome
from app.inference.breaker import Breaker
from app.settings import Cache as CacheSettings

logger = logging.getLogger(__name__)

KEY_BYTES = 16
REDIS_PREFIX = f"{KEY_PREFIX}cache:".encode()
SHARED_TIMEOUT_S = 0.05
SUM_TOLERANCE = 1e-3
WRITE_EVERY_S = 0.02
# After so many look-ups in a row that found nothing only each tenth asks Redis: a round trip before
# every chunk is a high price where no text comes twice. One find, and all of them ask again.
MAX_FRUITLESS = 100
SPARSE = 10

# One command for many answers, each with its own time to live.
STORE_SCRIPT = """
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end
"""


class Truncated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answer for a truncated text lies in Redis; others are their probabilities alone."""

    truncated: list[float]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[float] | Truncated).decode


def cache_key(model_digest: str, text: str) -> bytes:
    """The same for equal texts and models that answer alike; 16 bytes.

    `model_digest` covers artifacts, pipeline and labels (see `Manifest.digest`).
    """
    digest = _keyed(model_digest).copy()
    digest.update(text.encode())
    return digest.digest()


@lru_cache(maxsize=1024)
def _keyed(model_digest: str) -> "hashlib.blake2b":
    # To begin with a key takes as long as to go on with most texts.
    return hashlib.blake2b(digest_size=KEY_BYTES, key=bytes.fromhex(model_digest))


class Cache:
    """Two tiers of outcomes by `cache_key`. `get` is for any thread and never leaves the process.

    `fetch` asks Redis and is for the sender thread; what is `keep`t reaches Redis by a writer
    thread that starts on first use.
    """

    def __init__(self, settings: CacheSettings, connect: Callable[[float], "redis.Redis"]) -> None:
        self._ttl_s = settings.ttl_seconds
        self._memory: cachetools.TTLCache[bytes, Outcome] = cachetools.TTLCache(
            settings.max_size if settings.enabled else 0, self._ttl_s, timer=time.monotonic
        )
        self._lock = threading.Lock()
        self._shared = SharedTier(connect, self._ttl_s) if settings.enabled else None

    @property
    def shared_is_available(self) -> bool:
        """Whether Redis answered when it was last asked; True where it was never asked."""
        return self._shared is None or self._shared.breaker.is_closed

    def get(self, key: bytes) -> Outcome | None:
        """What this process remembers."""
        with self._lock:
            try:
                # Not `get`, which looks twice whether it is too old.
                return self._memory[key]
            except KeyError:
                return None

    def fetch(
        self, keys: Sequence[bytes], labels: int, sums_to_one: bool = True
    ) -> dict[bytes, Outcome]:
        """What is known of `keys`, for a model with `labels` labels; never raises.

        `sums_to_one` is false where each label has a probability of its own.
        """
        if self._shared is None:
            return {}
        with self._lock:
            # Some may have been computed since `get` did not find them. `get` of the cache itself
            # takes three times as long to find nothing.
            rows = [(key, self._memory.get(key)) for key in keys if key in self._memory]
        known = {key: outcome for key, outcome in rows if outcome is not None}
        missing = [key for key in keys if key not in known]
        found = self._shared.fetch(missing, labels, sums_to_one) if missing else {}
        self._remember(found.items())
        return known | found

    def keep(self, computed: Iterable[tuple[bytes, Outcome]]) -> None:
        """Remember outcomes here at once and in Redis soon; failures are not kept."""
        good = [(key, outcome) for key, outcome in computed if outcome.probabilities is not None]
        if self._shared is not None and good:
            self._remember(good)
            self._shared.store(good)

    def close(self) -> None:
        """Stop the writer thread."""
        if self._shared is not None:
            self._shared.close()

    def _remember(self, found: Iterable[tuple[bytes, Outcome]]) -> None:
        with self._lock:
            for key, outcome in found:
                self._memory[key] = outcome


class SharedTier:
    """Redis as a cache. While its breaker is open it is neither asked nor told."""

    def __init__(self, connect: Callable[[float], "redis.Redis"], ttl_s: int) -> None:
        self.breaker = Breaker()
        self._reader, self._writer = connect(SHARED_TIMEOUT_S), connect(SHARED_TIMEOUT_S)
        self._script = self._writer.register_script(STORE_SCRIPT)
        self._ttl_s = ttl_s
        self._fruitless = 0
        self._closing = threading.Event()
        self._waiting: SimpleQueue[list[tuple[bytes, Outcome]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def fetch(self, keys: Sequence[bytes], labels: int, sums_to_one: bool) -> dict[bytes, Outcome]:
        """Believable answers by key; by the sender thread alone."""
        self._fruitless += 1
        is_spared = self._fruitless > MAX_FRUITLESS and self._fruitless % SPARSE
        if is_spared or not self.breaker.is_closed:
            return {}
        try:
            raw: Any = self._reader.mget([REDIS_PREFIX + key for key in keys])
        except redis.RedisError as error:
            self._trip(error)
            return {}
        pairs = zip(keys, raw, strict=True)
        rows = ((key, believe(value, labels, sums_to_one)) for key, value in pairs)
        found = {key: outcome for key, outcome in rows if outcome is not None}
        if found:
            self._fruitless = 0
        return found

    def store(self, computed: list[tuple[bytes, Outcome]]) -> None:
        """Hand answers to the writer thread; dropped while the breaker is open."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_loop, name="cache", daemon=True)
            self._thread.start()
        if self.breaker.is_closed:
            self._waiting.put(computed)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._closing.set()
        self._waiting.put([])
        if self._thread is not None:
            self._thread.join()
        self._reader.close()
        self._writer.close()

    def _write_loop(self) -> None:
        while not self._closing.is_set() or not self._waiting.empty():
            computed = self._waiting.get()
            # Others may wait for it a little: a round trip for many chunks instead of one for each.
            self._closing.wait(WRITE_EVERY_S)
            while not self._waiting.empty():
                computed = computed + self._waiting.get()
            if computed:
                self._write(computed)

    def _write(self, computed: list[tuple[bytes, Outcome]]) -> None:
        if not self.breaker.is_closed:
            return
        try:
            self._script(
                keys=[REDIS_PREFIX + key for key, _ in computed],
                args=[self._ttl_s, *(_kept(outcome) for _, outcome in computed)],
            )
        except redis.RedisError as error:
            self._trip(error)

    def _trip(self, error: Exception) -> None:
        if self.breaker.trip():
            logger.warning("shared cache left out", extra={"cause": type(error).__name__})


def believe(value: bytes | None, labels: int, sums_to_one: bool = True) -> Outcome | None:
    """The stored probabilities if they can be some, else None: then they are computed again."""
    if value is None:
        return None
    try:
        kept = _decode(value)
    except ValueError:  # not what is expected, or no UTF-8
        return None
    is_truncated = isinstance(kept, Truncated)
    probabilities = kept.truncated if isinstance(kept, Truncated) else kept
    plausible = len(probabilities) == labels and all(0 <= p <= 1 for p in probabilities)
    if not plausible or (sums_to_one and abs(sum(probabilities) - 1) > SUM_TOLERANCE):
        return None
    return Outcome(probabilities, truncated=is_truncated)


def _kept(outcome: Outcome) -> bytes:
    probabilities = outcome.probabilities or []
    return _encode(Truncated(probabilities) if outcome.truncated else probabilities)
