"""Shared. Where a version stands, in one word: the disk's side, and what every live host says."""

from collections.abc import Collection
from typing import Literal, NamedTuple

from app.errors import BrokerUnavailable, NoWorker
from app.fleet import FAILED, Fleet
from app.models.base import Ref
from app.models.catalog import Catalog, Entry

Status = Literal["ready", "loading", "retiring", "unloaded", "failed", "unavailable"]


class Standing(NamedTuple):
    """`reason` and the `code` of its error say why a version, or some host's, is not ready."""

    status: Status
    reason: str | None = None
    code: str | None = None


def wanted_refs(catalog: Catalog, fleet: Fleet, watch: bool) -> Collection[Ref]:
    """What hosts should hold; all that is on disk where nobody has said so yet."""
    entries = catalog.entries()
    return entries if fleet.desired is None else fleet.desired.wanted(entries, watch)


def standing(entry: Entry, fleet: Fleet, wanted: Collection[Ref]) -> Standing:
    """Where `entry` stands; `wanted` is that of `wanted_refs`."""
    if entry.error is not None:
        return Standing("failed", str(entry.error), entry.error.code)
    if not fleet.reachable:
        return Standing("unavailable", fleet.reason, BrokerUnavailable.code)
    said = [m for host in fleet.hosts for m in host.models if m.ref == str(entry.ref)]
    fault = next((model for model in said if model.error), None)
    why = (None, None) if fault is None else (fault.error, fault.code)
    if fleet.holders(str(entry.ref)):
        return Standing("ready", *why)
    if not fleet.hosts:
        return Standing("unavailable", "there is no live worker", NoWorker.code)
    if entry.ref in wanted:
        return Standing("failed" if fault else "loading", *why)
    if any(model.status != FAILED for model in said):
        return Standing("retiring")
    # Nobody wants it any more, because it could not be had: that is what is worth knowing.
    refused = fleet.refused.get(str(entry.ref))
    if refused is not None:
        why = (refused.reason, refused.code)
    return Standing("failed" if any(why) else "unloaded", *why)
