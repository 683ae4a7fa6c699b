"""CLI. What is known of every version: the disk's side, and what each live worker says of it."""

from typing import Any

import msgspec

from app import fleet
from app.broker import redis_client
from app.fleet import Fleet
from app.models.catalog import Catalog, Entry
from app.models.standing import Standing, standing, wanted_refs
from app.settings import Settings


class Row(msgspec.Struct, frozen=True):
    """One version; `memory_bytes` is the most that a worker says it takes.

    `error` says why it is not ready, or not on every worker.
    """

    ref: str
    active: bool
    default: bool
    format: str | None
    status: str
    error: str | None
    code: str | None
    loaded_on: list[str]
    memory_bytes: int | None
    accuracy: float | None
    macro_f1: float | None
    trained_at: str | None
    path: str


def look_at_fleet(settings: Settings) -> Fleet:
    """The live workers; `reachable=False` with the reason where Redis does not answer."""
    with redis_client(settings) as client:
        return fleet.look(client)


def rows(settings: Settings, seen: Fleet) -> list[Row]:
    """Every version on disk, with what the workers in `seen` say of it."""
    catalog = Catalog(settings.models_dir, settings.default_model)
    catalog.follow(seen.desired)
    wanted = wanted_refs(catalog, seen, settings.models.watch)
    return [
        _row(catalog, entry, seen, standing(entry, seen, wanted))
        for entry in catalog.entries().values()
    ]


def summary(row: Row) -> str:
    """One line for people: `sentiment-v2 (default), accuracy 0.712`."""
    mark = " (default)" if row.default else " (active)" if row.active else ""
    accuracy = "accuracy unknown" if row.accuracy is None else f"accuracy {row.accuracy:.3f}"
    return f"{row.ref}{mark}, {accuracy if row.error is None else row.error}"


def _row(catalog: Catalog, entry: Entry, seen: Fleet, found: Standing) -> Row:
    ref = str(entry.ref)
    holders = {host.hostname: host for host in seen.holders(ref)}
    held = [model for host in holders.values() for model in host.models if model.ref == ref]
    metadata = entry.manifest.metadata if entry.manifest else None
    return Row(
        ref=ref,
        active=catalog.active(entry.ref.name) == entry.ref,
        default=catalog.default() == entry.ref,
        format=entry.manifest.format if entry.manifest else None,
        status=found.status,
        # That no worker can be seen is said once, not of every version.
        error=None if found.status == "unavailable" else found.reason,
        code=found.code,
        loaded_on=sorted(holders),
        memory_bytes=max((model.memory_bytes for model in held), default=None),
        accuracy=metadata.accuracy if metadata else None,
        macro_f1=metadata.macro_f1 if metadata else None,
        trained_at=metadata.trained_at if metadata else None,
        path=str(entry.path),
    )


def as_data(items: list[Row]) -> list[Any]:
    """JSON types."""
    data: list[Any] = msgspec.to_builtins(items)
    return data
