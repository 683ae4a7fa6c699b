"""Shared. Windows of traffic in Redis: counts of all workers together, by version and time.

A window is `SLOTS` slots of equal length, each a hash that vanishes by itself. No text is kept.
Who reads and who writes must agree on `drift.window_seconds`: it is part of the key.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis

from app.contract import KEY_PREFIX

SLOTS = 12
# How many texts of a version were measured for nothing, because Redis was away; by ref.
DROPPED_KEY = f"{KEY_PREFIX}drift:dropped"

# By feature and bin.
Counts = Mapping[str, Sequence[int]]


class Window:
    """What was counted for one version in one window."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: Counts) -> None:
        """Add the counts of features."""
        for feature, bins in counts.items():
            for at, count in enumerate(bins):
                self._counts[_place(feature, at)] += count

    def add_slot(self, stored: Mapping[bytes, bytes]) -> None:
        """Add a slot as it is in Redis."""
        for place, count in stored.items():
            self._counts[place.decode()] += int(count)

    def counts(self, feature: str, bins: int) -> list[int]:
        """The counts of a feature, bin by bin; all zero where it was not measured."""
        return [self._counts[_place(feature, at)] for at in range(bins)]


class Windows(NamedTuple):
    """The windows of `length_s` seconds in a Redis; every method may raise redis errors."""

    client: "redis.Redis"
    length_s: int

    def add(self, now: float, counted: Mapping[str, Counts]) -> None:
        """Add counts by the keys of references, in one step; `now` is in Redis server seconds."""
        slot = self._slot(now)
        with self.client.pipeline() as pipe:
            for key, counts in counted.items():
                name = self._name(key, slot)
                for feature, bins in counts.items():
                    for at, count in enumerate(bins):
                        if count:
                            pipe.hincrby(name, _place(feature, at), count)
                pipe.expire(name, self.length_s + self.length_s // SLOTS + 1)
            pipe.execute()

    def read(self, keys: Iterable[str], now: float | None = None) -> dict[str, Window]:
        """The windows that end now, by key, in one round trip for all.

        Each is up to one slot shorter than `length_s`, because the slot of now has just begun.
        """
        wanted = list(keys)
        last = self._slot(self._now() if now is None else now)
        with self.client.pipeline(transaction=False) as pipe:
            for key in wanted:
                for slot in range(last - SLOTS + 1, last + 1):
                    pipe.hgetall(self._name(key, slot))
            rows: Any = pipe.execute()
        found = {key: Window() for key in wanted}
        for at, row in enumerate(rows):
            found[wanted[at // SLOTS]].add_slot(row)
        return found

    def drop(self, texts_by_ref: Mapping[str, int]) -> None:
        """Note texts that are in no window."""
        with self.client.pipeline() as pipe:
            for ref, texts in texts_by_ref.items():
                pipe.hincrby(DROPPED_KEY, ref, texts)
            pipe.execute()

    def dropped(self) -> dict[str, int]:
        """How many texts are in no window, by ref."""
        rows: Any = self.client.hgetall(DROPPED_KEY)
        return {ref.decode(): int(texts) for ref, texts in rows.items()}

    def _now(self) -> float:
        seconds, microseconds = self.client.time()
        return seconds + microseconds / 1e6

    def _slot(self, now: float) -> int:
        return int(now * SLOTS // self.length_s)

    def _name(self, key: str, slot: int) -> str:
        return f"{KEY_PREFIX}drift:{key}:{self.length_s}:{slot}"


def _place(feature: str, at: int) -> str:
    return f"{feature}:{at}"
