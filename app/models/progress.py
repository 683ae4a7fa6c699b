"""Shared. How far a rollout is: what each host says of the version that is on its way to it."""

from typing import Literal

import msgspec

from app.contract import HostState, Message
from app.fleet import FAILED, READY, Fleet
from app.models.desired import Rollout

WAITING = "waiting"
NO_HEARTBEAT = "no heartbeat"

State = Literal["preparing", "done", "failed"]


class WorkerRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host's part; `status` is ready, waiting or failed, `code` that of the error."""

    hostname: str
    status: str
    error: str | None = None
    code: str | None = None


class Progress(Message, frozen=True, kw_only=True):
    """How far a rollout is, or how it ended; times are Redis server seconds.

    `before` is the version that was active when it began.
    """

    id: str
    ref: str
    activate: bool
    state: State
    workers: list[WorkerRow]
    started_at: float
    ended_at: float | None = None
    reason: str | None = None
    before: str | None = None

    @property
    def kind(self) -> str:
        """What was asked for: swap or load."""
        return "swap" if self.activate else "load"

    @property
    def activated(self) -> bool:
        """Whether it made the version the active one; a load does where none was active."""
        return self.state == "done" and (self.activate or self.before is None)


def rows_of(rollout: Rollout, fleet: Fleet) -> list[WorkerRow]:
    """What each live host that can run the version says of it, and who is not heard of."""
    hosts = able(rollout, fleet)
    heard = {host.hostname for host in hosts}
    missing = [name for name in rollout.hosts if name not in heard]
    rows = [_row(rollout, host) for host in hosts]
    return rows + [WorkerRow(name, WAITING, NO_HEARTBEAT) for name in missing]


def able(rollout: Rollout, fleet: Fleet) -> list[HostState]:
    """The live hosts that the version may run on."""
    return [h for h in fleet.hosts if rollout.device != "gpu" or h.device == "gpu"]


def _row(rollout: Rollout, host: HostState) -> WorkerRow:
    has_tried = host.generation >= rollout.generation
    for model in host.models:
        if model.ref != rollout.ref:
            continue
        if model.status == READY and model.digest == rollout.digest and not model.error:
            return WorkerRow(host.hostname, READY)
        # What a host says of an earlier attempt does not count.
        if has_tried:
            reason = model.error or "it holds another artifact of this version"
            return WorkerRow(host.hostname, FAILED, reason, model.code)
    return WorkerRow(host.hostname, WAITING)


def failure(rollout: Rollout, rows: list[WorkerRow], now: float) -> str | None:
    """Why the rollout cannot succeed any more; None while it may."""
    failed = [row for row in rows if row.status == FAILED]
    if failed:
        return f"{len(failed)} of {len(rows)} workers cannot hold it"
    if now < rollout.deadline:
        return None
    late = [row.hostname for row in rows if row.status == WAITING]
    if late:
        return f"not ready in time: {', '.join(late)}"
    # Nobody looked while there was time: what was asked for then may not be wanted now.
    return "its time was up before it was looked at" if rows else "there is no live worker"
