"""API process. A version from a client's point of view: disk and fleet in one answer."""

from typing import Any

import msgspec

from app.contract import HeldModel, HostState
from app.fleet import Fleet
from app.models.base import Manifest
from app.models.catalog import Catalog, Entry
from app.models.standing import standing, wanted_refs


class Inventory:
    """One look at the versions on disk and the fleet; `watch` is that of the settings."""

    def __init__(self, catalog: Catalog, fleet: Fleet, watch: bool) -> None:
        self._catalog, self._fleet = catalog, fleet
        self._wanted = wanted_refs(catalog, fleet, watch)

    def describe(self, entry: Entry) -> dict[str, Any]:
        """What `ModelSchema` documents."""
        ref, catalog = str(entry.ref), self._catalog
        return {
            "ref": ref,
            "name": entry.ref.name,
            "version": entry.ref.version,
            "active": catalog.active(entry.ref.name) == entry.ref,
            "default": catalog.default() == entry.ref,
            **standing(entry, self._fleet, self._wanted)._asdict(),
            "workers": [
                _holder(host, model)
                for host in self._fleet.hosts
                for model in host.models
                if model.ref == ref
            ],
        } | _on_disk(entry.manifest)


def _holder(host: HostState, model: HeldModel) -> dict[str, Any]:
    return {
        "hostname": host.hostname,
        "device": host.device,
        "status": model.status,
        "error": model.error,
        "code": model.code,
        "memory_bytes": model.memory_bytes,
        "loaded_at": model.loaded_at,
    }


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
