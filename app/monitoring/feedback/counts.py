"""Shared. Feedback in Redis: what was said of each prediction, and the counts that come of it.

mlserve:feedback:secret                       string: what prediction ids are signed with
mlserve:feedback:said:<number>                string: label and score that one prediction counts as
mlserve:feedback:<ref>:<mark>:<width>:<slot>  hash: counts of predictions made in one slot of time
mlserve:feedback:<ref>:<mark>:all             hash: counts since the first feedback
mlserve:feedback:outcomes                     hash: how often feedback on a ref had which outcome

All counts are integers, so a correction takes back exactly what it replaces.
"""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import redis

from app.contract import KEY_PREFIX
from app.models.base import Manifest
from app.models.tally import BINS, Bin, Tally, bin_of, brier_score
from app.monitoring.feedback.ids import SCALE, Predicted, mark_of

PREFIX = f"{KEY_PREFIX}feedback:"
SECRET_KEY = f"{PREFIX}secret"
OUTCOMES_KEY = f"{PREFIX}outcomes"
SECRET_BYTES = 32
# A window is read in so many parts; it begins with the part that its begin is in.
SLOTS = 24
# Brier scores are counted in these units, their squares in the square of them.
BRIER_UNITS = 100_000
ALL_TTL_S = 90 * 86_400

OUTCOMES = ("recorded", "corrected", "duplicate")

# label, Brier score ('' unknown), label that was given, bin, confidence, seconds to live of what
# was said, of the slot and of all, ref, secret ('' is configured)
RECORD = """
local SAID, SLOT, ALL, OUTCOMES, SECRET = unpack(KEYS)
local call = redis.call
local label, score, given, bin, confidence = unpack(ARGV)
local function add(field, by)
  if by == 0 then return end
  for _, hash in ipairs({SLOT, ALL}) do
    call('HINCRBY', hash, field, string.format('%.0f', by))
  end
end
local function count(label, score, sign)
  add('c:' .. label .. ':' .. given, sign)
  if label == given then add('h:' .. bin, sign) end
  if score ~= '' then
    add('brier', sign * score)
    add('squares', sign * score * score)
  end
end
if ARGV[10] ~= '' then call('SET', SECRET, ARGV[10], 'NX') end
local before, outcome = call('GET', SAID), 'recorded'
if before then
  local old_label, old_score = string.match(before, '^(%d+) (%d*)$')
  outcome = old_label == label and 'duplicate' or 'corrected'
  if outcome == 'corrected' then count(old_label, old_score, -1) end
else
  add('t:' .. bin, 1)
  add('s:' .. bin, tonumber(confidence))
  if score ~= '' then add('scored', 1) end
end
if outcome ~= 'duplicate' then
  count(label, score, 1)
  call('SET', SAID, label .. ' ' .. score, 'EX', ARGV[6])
  call('EXPIRE', SLOT, ARGV[7])
  call('EXPIRE', ALL, ARGV[8])
end
call('HINCRBY', OUTCOMES, ARGV[9] .. ' ' .. outcome, 1)
return {outcome, call('GET', SECRET) or ''}
"""


class Recorded(NamedTuple):
    """What became of one feedback, and the secret that Redis holds now."""

    outcome: str
    secret: bytes


class FeedbackCounts:
    """The feedback in one Redis. All methods raise redis errors where it cannot be reached.

    `ttl_s` is how long an id is good for feedback, `window_s` the length of the live window.
    """

    def __init__(self, client: "redis.Redis", ttl_s: int, window_s: int) -> None:
        self._redis, self._ttl_s = client, ttl_s
        self._width_s = max(1, window_s // SLOTS)
        self._record = client.register_script(RECORD)

    def secret(self) -> bytes:
        """What all API processes sign with; made by the first one that asks."""
        self._redis.set(SECRET_KEY, os.urandom(SECRET_BYTES), nx=True)
        found: Any = self._redis.get(SECRET_KEY)
        return bytes(found or b"")

    def record(self, said: Predicted, label: int, now: float, secret: bytes = b"") -> Recorded:
        """Count that `label` is the true one of a prediction, in one step.

        What was said before of the same prediction counts no more. A Redis that was emptied is
        given `secret` back.
        """
        shares, begin = said.probabilities, self._slot(said.at) * self._width_s
        score = "" if shares is None else round(brier_score(shares, label) * BRIER_UNITS)
        slot_ttl_s = begin + self._ttl_s + 2 * SLOTS * self._width_s - now
        counts = (label, score, said.label, bin_of(said.confidence))
        keys = (f"{PREFIX}said:{said.number:016x}", *self._hashes(said), OUTCOMES_KEY, SECRET_KEY)
        outcome, kept = self._record(
            keys=keys,
            args=[
                *counts,
                round(said.confidence * SCALE),
                max(1, int(said.at + self._ttl_s - now) + 1),
                max(1, int(slot_ttl_s) + 1),
                ALL_TTL_S,
                said.ref,
                secret,
            ],
        )
        return Recorded(outcome.decode(), kept)

    def windows(self, versions: Sequence[Manifest], now: float) -> list[Tally]:
        """Of the predictions of each version in the live window."""
        slots = range(self._slot(now) - SLOTS, self._slot(now) + 1)
        with self._redis.pipeline(transaction=False) as pipe:
            for version in versions:
                for slot in slots:
                    pipe.hgetall(self._slot_key(str(version.ref), mark_of(version.digest), slot))
            rows = iter(pipe.execute())
        return [_tally(list(islice(rows, len(slots))), version.labels) for version in versions]

    def all(self, version: Manifest) -> Tally:
        """Of all its predictions with feedback, the last of which is younger than `ALL_TTL_S`."""
        row: Any = self._redis.hgetall(f"{PREFIX}{version.ref}:{mark_of(version.digest)}:all")
        return _tally([row], version.labels)

    def outcomes(self) -> dict[tuple[str, str], int]:
        """How often feedback had which outcome, by (ref, outcome)."""
        rows: Any = self._redis.hgetall(OUTCOMES_KEY)
        return {tuple(field.decode().split(" ", 1)): int(n) for field, n in rows.items()}

    def _slot(self, at: float) -> int:
        return int(at // self._width_s)

    def _hashes(self, said: Predicted) -> tuple[str, str]:
        slot = self._slot_key(said.ref, said.mark, self._slot(said.at))
        return slot, f"{PREFIX}{said.ref}:{said.mark}:all"

    def _slot_key(self, ref: str, mark: str, slot: int) -> str:
        return f"{PREFIX}{ref}:{mark}:{self._width_s}:{slot}"


def _tally(rows: Sequence[dict[bytes, bytes]], labels: Sequence[str]) -> Tally:
    sums: Counter[str] = Counter()
    for row in rows:
        for field, count in row.items():
            sums[field.decode()] += int(count)
    confusion: dict[str, dict[str, int]] = {}
    for cell, texts in sums.items():
        if cell.startswith("c:") and texts:
            true, given = (labels[int(number)] for number in cell.split(":")[1:])
            confusion.setdefault(true, {})[given] = texts
    bins = [
        Bin(texts=sums[f"t:{at}"], hits=sums[f"h:{at}"], confidence=sums[f"s:{at}"] / SCALE)
        for at in range(BINS)
    ]
    return Tally(
        labels=list(labels),
        confusion=confusion,
        bins=bins,
        scored=sums["scored"],
        brier=sums["brier"] / BRIER_UNITS,
        brier_squares=sums["squares"] / BRIER_UNITS**2,
    )
