"""Shared. Who is alive and what they hold: heartbeats of hosts in Redis, and the view of them.

A host writes its state with a time to live and writes it again with every heartbeat, so a host that
dies vanishes by itself and a Redis that was emptied is filled again within one beat.
"""

from contextlib import suppress
from typing import Any

import msgspec
import redis

from app.contract import (
    HOST_PREFIX,
    HOSTS_KEY,
    JOB_QUEUES,
    PREDICT_QUEUES,
    REFUSED_KEY,
    ROLLOUT_COUNTS_KEY,
    HeldModel,
    HostState,
    Refused,
)
from app.errors import MessageRefused
from app.models.desired import DESIRED_KEY, Desired, decode

BEAT_S = 2.0
TTL_S = 6

READY = "ready"
FAILED = "failed"
# Kept for the requests that were admitted with it; no new ones are.
RETIRING = "retiring"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the fleet.

    `queues` is the number of waiting messages by queue, `desired` what the hosts work towards.
    `refused` is by ref, `rollouts` how many ended how, by (model, swap or load, done or failed).
    """

    reachable: bool
    reason: str | None = None
    hosts: list[HostState] = []
    queues: dict[str, int] = {}
    desired: Desired | None = None
    refused: dict[str, Refused] = {}
    rollouts: dict[tuple[str, ...], int] = {}

    def holders(self, ref: str, queue: str | None = None) -> list[HostState]:
        """Hosts that can answer for `ref` (and consume `queue`); none once it was unloaded.

        Hosts learn that one after the other: from the first on, no request may be let in for it.
        """
        if self.desired is not None and self.desired.gives_up(ref):
            return []
        return [
            host
            for host in self.hosts
            if (queue is None or queue in host.queues)
            and any(model.ref == ref and model.status == READY for model in host.models)
        ]

    def failures(self, ref: str) -> list[HeldModel]:
        """What hosts say who could not load `ref`."""
        return [m for host in self.hosts for m in host.models if m.ref == ref and m.error]


def publish(client: "redis.Redis", state: HostState) -> None:
    """Write a host's state for `TTL_S` seconds."""
    with client.pipeline(transaction=False) as pipe:
        pipe.set(HOST_PREFIX + state.hostname, msgspec.json.encode(state), ex=TTL_S)
        pipe.sadd(HOSTS_KEY, state.hostname)
        pipe.execute()


def withdraw(client: "redis.Redis", hostname: str) -> None:
    """Remove a host that stops in an orderly way, so that nobody waits for it."""
    with client.pipeline(transaction=False) as pipe:
        pipe.delete(HOST_PREFIX + hostname)
        pipe.srem(HOSTS_KEY, hostname)
        pipe.execute()


def read(client: "redis.Redis") -> Fleet:
    """Look at all hosts and queues; raises redis errors where Redis cannot be reached."""
    # An index of names: a scan would go through everything else that Redis holds.
    names: Any = client.smembers(HOSTS_KEY)
    names = sorted(names)
    queues = [*PREDICT_QUEUES.values(), *JOB_QUEUES.values()]
    # In one step: whoever sees that a version became active sees hosts that hold it.
    with client.pipeline() as pipe:
        for name in names:
            pipe.get(HOST_PREFIX.encode() + name)
        for queue in queues:
            pipe.llen(queue)
        pipe.get(DESIRED_KEY)
        pipe.hgetall(REFUSED_KEY)
        pipe.hgetall(ROLLOUT_COUNTS_KEY)
        *answers, desired, refused, rollouts = pipe.execute()
    found = dict(zip(names, answers, strict=False))
    if gone := [name for name, raw in found.items() if raw is None]:
        # It comes back with its next heartbeat, if it lives.
        client.srem(HOSTS_KEY, *gone)
    hosts = [host for raw in found.values() if (host := _decode(raw)) is not None]
    lengths = dict(zip(queues, answers[len(names) :], strict=True))
    return Fleet(
        reachable=True,
        hosts=hosts,
        queues=lengths,
        desired=_desired(desired),
        refused=_refused(refused),
        rollouts={tuple(what.decode().split()): int(n) for what, n in rollouts.items()},
    )


def look(client: "redis.Redis") -> Fleet:
    """The same, where Redis may be away: `reachable=False` with the reason."""
    try:
        return read(client)
    except redis.RedisError as error:
        return Fleet(reachable=False, reason=" ".join(str(error).split()))


def _desired(raw: bytes | None) -> Desired | None:
    # Nor is a desired state of another version one to follow.
    try:
        return None if raw is None else decode(raw)
    except MessageRefused:
        return None


def _refused(rows: dict[bytes, bytes]) -> dict[str, Refused]:
    found: dict[str, Refused] = {}
    for ref, raw in rows.items():
        with suppress(ValueError):
            found[ref.decode()] = msgspec.json.decode(raw, type=Refused)
    return found


def _decode(raw: bytes | None) -> HostState | None:
    # A host of another version is not ours to route to, and no reason to lose sight of the rest.
    try:
        return msgspec.json.decode(raw or b"", type=HostState)
    except ValueError:  # not what is expected, or no UTF-8
        return None
