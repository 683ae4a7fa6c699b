"""API process. A version from a client's point of view: disk and fleet in one answer."""

from typing import Any

import msgspec

from app.contract import HeldModel, HostState
from app.errors import ModelNotFound
from app.fleet import Fleet
from app.models.base import Manifest
from app.models.catalog import Catalog, Entry


def describe(entry: Entry, catalog: Catalog, fleet: Fleet) -> dict[str, Any]:
    """What `ModelSchema` documents."""
    ref = str(entry.ref)
    status, reason = availability(entry, fleet)
    return {
        "ref": ref,
        "name": entry.ref.name,
        "version": entry.ref.version,
        "active": catalog.active(entry.ref.name) == entry.ref,
        "default": _is_default(entry, catalog),
        "status": status,
        "reason": reason,
        "workers": [
            _holder(host, model)
            for host in fleet.hosts
            for model in host.models
            if model.ref == ref
        ],
    } | _on_disk(entry.manifest)


def availability(entry: Entry, fleet: Fleet) -> tuple[str, str | None]:
    """("ready" | "loading" | "unavailable", why not)."""
    ref = str(entry.ref)
    if entry.error is not None:
        return "unavailable", str(entry.error)
    if not fleet.reachable:
        return "unavailable", fleet.reason
    if fleet.holders(ref):
        return "ready", None
    for failure in fleet.failures(ref):
        return "unavailable", failure.error
    if not fleet.hosts:
        return "unavailable", "there is no live worker"
    return "loading", None


def _holder(host: HostState, model: HeldModel) -> dict[str, Any]:
    return {
        "hostname": host.hostname,
        "device": host.device,
        "status": model.status,
        "error": model.error,
        "memory_bytes": model.memory_bytes,
        "loaded_at": model.loaded_at,
    }


def _is_default(entry: Entry, catalog: Catalog) -> bool:
    try:
        return catalog.resolve() == entry.ref
    except ModelNotFound:
        return False


def _on_disk(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        nothing = ("format", "device", "labels", "digest", "size_bytes", "metadata")
        return dict.fromkeys(nothing)
    return {
        "format": manifest.format,
        "device": manifest.device,
        "labels": manifest.labels,
        "digest": manifest.digest,
        "size_bytes": sum(artifact.size_bytes for artifact in manifest.artifacts),
        "metadata": msgspec.to_builtins(manifest.metadata),
    }
