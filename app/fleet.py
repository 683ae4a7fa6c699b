"""Shared. Who is alive and what they hold: heartbeats of hosts in Redis, and the view of them.

A host writes its state with a time to live and writes it again with every heartbeat, so a host that
dies vanishes by itself and a Redis that was emptied is filled again within one beat.
"""

import msgspec
import redis

from app.contract import HOST_PREFIX, JOB_QUEUES, PREDICT_QUEUES, HeldModel, HostState

BEAT_S = 2.0
TTL_S = 6

READY = "ready"
FAILED = "failed"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the fleet; `queues` is the number of waiting messages by queue."""

    reachable: bool
    reason: str | None = None
    hosts: list[HostState] = []
    queues: dict[str, int] = {}

    def holders(self, ref: str, queue: str | None = None) -> list[HostState]:
        """Hosts that can answer for `ref` (and consume `queue`)."""
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
    client.set(HOST_PREFIX + state.hostname, msgspec.json.encode(state), ex=TTL_S)


def withdraw(client: "redis.Redis", hostname: str) -> None:
    """Remove a host that stops in an orderly way, so that nobody waits for it."""
    client.delete(HOST_PREFIX + hostname)


def read(client: "redis.Redis") -> Fleet:
    """Look at all hosts and queues; raises redis errors where Redis cannot be reached."""
    keys = sorted(client.scan_iter(match=f"{HOST_PREFIX}*", count=500))
    queues = [*PREDICT_QUEUES.values(), *JOB_QUEUES.values()]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        for queue in queues:
            pipe.llen(queue)
        answers = pipe.execute()
    hosts = [host for raw in answers[: len(keys)] if (host := _decode(raw)) is not None]
    lengths = dict(zip(queues, answers[len(keys) :], strict=True))
    return Fleet(reachable=True, hosts=hosts, queues=lengths)


def _decode(raw: bytes | None) -> HostState | None:
    # A host of another version is not ours to route to, and no reason to lose sight of the rest.
    try:
        return msgspec.json.decode(raw or b"", type=HostState)
    except msgspec.MsgspecError:
        return None
