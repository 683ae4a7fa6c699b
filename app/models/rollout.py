"""Shared. Brings a version to every host, and only then makes it the active one.

Nobody leads: the rollout stands in the desired state, every host works on it, and whoever looks
(`advance`) and finds that all live hosts are ready commits it, or ends it where one has failed. So
it goes on whatever process is lost meanwhile.

A Redis that was emptied or stood still shows no host for a moment, although all live. So hosts that
were seen stand in the rollout, and one that is gone is waited for a little longer than a heartbeat.
Only a rollout that is begun in that very moment knows no more hosts than those that are back.
"""

import uuid
from functools import partial
from typing import Any

import msgspec
import redis

from app import fleet as fleets
from app.contract import (
    KEY_PREFIX,
    REFUSED_KEY,
    ROLLOUT_COUNTS_KEY,
    Refused,
)
from app.errors import (
    ManifestInvalid,
    ModelActive,
    ModelNotFound,
    NoPreviousVersion,
    NoWorker,
    RolloutNotFound,
    SwapInProgress,
)
from app.fleet import BEAT_S, FAILED, READY, TTL_S, Fleet
from app.models import desired as document
from app.models.base import Ref
from app.models.catalog import Catalog, Entry
from app.models.desired import Desired, Rollout
from app.models.progress import Progress, State, WorkerRow, able, failure, rows_of

OUTCOME_PREFIX = f"{KEY_PREFIX}rollout:"
OUTCOME_TTL_S = 3600
# A host that lives is heard of within one beat after Redis was emptied or stood still.
MISSING_S = BEAT_S + 1.0
# Beyond what a load may take: a host reports itself that it took too long, and one that dies is not
# heard of any more. Both come before the rollout's time is up.
REPORT_S = TTL_S + MISSING_S + 1.0


def begin(
    client: "redis.Redis",
    catalog: Catalog,
    entry: Entry,
    *,
    activate: bool,
    now: float,
    timeout_s: float,
) -> str:
    """Start to bring `entry` to every host; the id to look at it with.

    `timeout_s` is what one host may take. The same rollout begun twice is one. Raises
    `SwapInProgress` while another one of the name runs, `NoWorker` where no live host could hold
    it, the entry's own error where its manifest is not valid, and redis errors.
    """
    if entry.manifest is None:
        raise entry.error or ManifestInvalid(str(entry.ref), "not readable")
    rollout = Rollout(
        id=uuid.uuid4().hex,
        ref=str(entry.ref),
        digest=entry.manifest.digest,
        device=entry.manifest.device,
        activate=activate,
        generation=0,
        started_at=now,
        deadline=now + timeout_s + REPORT_S,
        hosts={},
    )
    rollout = _with_hosts(rollout, fleets.read(client), now)
    if not rollout.hosts:
        raise NoWorker(rollout.ref)
    after = document.change(client, catalog.desired(), partial(_begun, rollout, entry.ref.name))
    catalog.follow(after)
    return after.rollouts[entry.ref.name].id


def previous(catalog: Catalog, name: str) -> Ref:
    """The version that was active before; `NoPreviousVersion`, or `ModelNotFound` of the name."""
    version = catalog.desired().previous.get(name)
    if version is None:
        known = catalog.entries(fresh=True)
        if not any(ref.name == name for ref in known):
            raise ModelNotFound(name, ", ".join(map(str, known)) or "no models")
        raise NoPreviousVersion(name)
    return Ref(name, version)


def unload(client: "redis.Redis", catalog: Catalog, ref: Ref) -> None:
    """Let no host hold `ref`; `ModelActive` or `SwapInProgress` where it is needed."""

    def edit(desired: Desired) -> Desired:
        if ref.name in desired.rollouts:
            raise SwapInProgress(ref.name, desired.rollouts[ref.name].ref)
        if ref in (_active(desired, catalog, ref.name), catalog.default()):
            raise ModelActive(str(ref))
        kept = {n: v for n, v in desired.previous.items() if (n, v) != ref}
        loaded = [other for other in desired.loaded if other != str(ref)]
        unloaded = sorted({*desired.unloaded, str(ref)})
        return _with(desired, previous=kept, loaded=loaded, unloaded=unloaded)

    catalog.follow(document.change(client, catalog.desired(), edit))


def ask_for(client: "redis.Redis | None", catalog: Catalog, ref: Ref) -> None:
    """Have hosts that start later hold `ref`, where none runs; no client where Redis is away.

    Raises redis errors and `OSError`.
    """

    def edit(desired: Desired) -> Desired:
        unloaded = [other for other in desired.unloaded if other != str(ref)]
        return _with(desired, loaded=sorted({*desired.loaded, str(ref)}), unloaded=unloaded)

    known = catalog.desired()
    if client is not None:
        document.write_copy(catalog.root, document.change(client, known, edit))
    elif (after := edit(known)) != known:
        # Redis gets it from the copy, which is ahead then.
        document.write_copy(catalog.root, _with(after, generation=known.generation + 1))


def advance(client: "redis.Redis", catalog: Catalog, fleet: Fleet, now: float) -> None:
    """End every rollout that can be ended; raises redis errors."""
    for known in list(catalog.desired().rollouts.values()):
        rollout = _call_the_roll(client, catalog, known, fleet, now)
        if rollout is None:
            continue
        rows = rows_of(rollout, fleet)
        reason = failure(rollout, rows, now)
        if reason is not None or (rows and all(row.status == READY for row in rows)):
            _end(client, catalog, rollout, _progress(catalog, rollout, rows, now, reason))


def look(client: "redis.Redis", catalog: Catalog, fleet: Fleet, rollout_id: str) -> Progress:
    """How far a rollout is; `RolloutNotFound`, redis errors."""
    raw: Any = client.get(OUTCOME_PREFIX + rollout_id)
    if raw is not None:
        return Progress.from_message(msgspec.json.decode(raw))
    for rollout in catalog.desired().rollouts.values():
        if rollout.id == rollout_id:
            return _progress(catalog, rollout, rows_of(rollout, fleet))
    raise RolloutNotFound(rollout_id, OUTCOME_TTL_S)


def _with_hosts(rollout: Rollout, fleet: Fleet, now: float) -> Rollout:
    """The rollout with who is heard of now, and who is missing, but not for long yet."""
    hosts: dict[str, float | None] = {host.hostname: None for host in able(rollout, fleet)}
    for name, since in rollout.hosts.items():
        since = now if since is None else since
        if now - since < MISSING_S:
            hosts.setdefault(name, since)
    return msgspec.structs.replace(rollout, hosts=hosts)


def _begun(rollout: Rollout, name: str, desired: Desired) -> Desired:
    running = desired.rollouts.get(name)
    if running is None:
        placed = msgspec.structs.replace(rollout, generation=desired.generation + 1)
        return _with(desired, rollouts=desired.rollouts | {name: placed})
    if (running.ref, running.activate) != (rollout.ref, rollout.activate):
        raise SwapInProgress(name, running.ref)
    return desired


def _call_the_roll(
    client: "redis.Redis", catalog: Catalog, rollout: Rollout, fleet: Fleet, now: float
) -> Rollout | None:
    """Write down who is missing or new; the rollout as it stands then, None where it has ended."""
    if _with_hosts(rollout, fleet, now) == rollout:
        return rollout
    name = Ref.parse(rollout.ref).name

    def edit(desired: Desired) -> Desired:
        running = desired.rollouts.get(name)
        if running is None or running.id != rollout.id:
            return desired
        placed = {name: _with_hosts(running, fleet, now)}
        return _with(desired, rollouts=desired.rollouts | placed)

    after = document.change(client, catalog.desired(), edit)
    catalog.follow(after)
    left = after.rollouts.get(name)
    return left if left is not None and left.id == rollout.id else None


def _progress(
    catalog: Catalog,
    rollout: Rollout,
    rows: list[WorkerRow],
    ended_at: float | None = None,
    reason: str | None = None,
) -> Progress:
    before = _active(catalog.desired(), catalog, Ref.parse(rollout.ref).name)
    state: State = "preparing" if ended_at is None else "failed" if reason else "done"
    return Progress(
        id=rollout.id,
        ref=rollout.ref,
        activate=rollout.activate,
        state=state,
        workers=rows,
        started_at=rollout.started_at,
        ended_at=ended_at,
        reason=reason,
        before=None if before is None else before.version,
    )


def _end(client: "redis.Redis", catalog: Catalog, rollout: Rollout, progress: Progress) -> None:
    ref = Ref.parse(rollout.ref)

    def edit(desired: Desired) -> Desired:
        if desired.rollouts.get(ref.name) != rollout:
            return desired  # somebody else has ended it
        rest = {name: other for name, other in desired.rollouts.items() if name != ref.name}
        ended = _with(desired, rollouts=rest)
        return ended if progress.reason else _committed(ended, catalog, ref, rollout.activate)

    def also(pipe: Any) -> None:
        encoded = msgspec.json.encode(progress)
        pipe.set(OUTCOME_PREFIX + rollout.id, encoded, ex=OUTCOME_TTL_S, nx=True)
        pipe.hincrby(ROLLOUT_COUNTS_KEY, f"{ref.name} {progress.kind} {progress.state}", 1)
        if refused := _refused(progress):
            pipe.hset(REFUSED_KEY, rollout.ref, msgspec.json.encode(refused))
        else:
            pipe.hdel(REFUSED_KEY, rollout.ref)

    catalog.follow(document.change(client, catalog.desired(), edit, also))


def _refused(progress: Progress) -> Refused | None:
    if progress.reason is None:
        return None
    # Workers fail alike, as a rule: the first one speaks for all.
    first = next((row for row in progress.workers if row.status == FAILED), None)
    reason = progress.reason if first is None else f"{progress.reason}: {first.error}"
    code = None if first is None else first.code
    return Refused(reason=reason, code=code, at=progress.ended_at or 0.0)


def _committed(desired: Desired, catalog: Catalog, ref: Ref, activate: bool) -> Desired:
    unloaded = [other for other in desired.unloaded if other != str(ref)]
    # What was only swapped to is let go of with the swap after the next.
    loaded = desired.loaded if activate else sorted({*desired.loaded, str(ref)})
    held = _with(desired, loaded=loaded, unloaded=unloaded)
    before = _active(desired, catalog, ref.name)
    if before is not None and before != ref:
        if not activate:
            return held
        held = _with(held, previous=desired.previous | {ref.name: before.version})
    return _with(held, active=desired.active | {ref.name: ref.version})


def _active(desired: Desired, catalog: Catalog, name: str) -> Ref | None:
    """What the name stands for: by the desired state, or else by the disk of this process."""
    version = desired.active.get(name)
    return catalog.active(name) if version is None else Ref(name, version)


def _with(desired: Desired, **changes: Any) -> Desired:
    return msgspec.structs.replace(desired, **changes)
