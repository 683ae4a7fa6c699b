"""Shared. Which versions serve and which are held: the state that every host works towards.

One document in Redis, whose generation grows with every change, and a copy on disk beside the
models. Whoever finds Redis empty or behind its own copy puts the copy there: a lost broadcast, a
host that comes late and a Redis that was emptied are the same case. A broadcast only makes hosts
look sooner.
"""

import os
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import redis

from app.contract import KEY_PREFIX, Message
from app.errors import MessageRefused, UnsafePath
from app.models.base import Ref

DESIRED_KEY = f"{KEY_PREFIX}desired"
DESIRED_FILE = "desired.json"


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A version on its way to every host; with `activate` it then becomes the active one.

    Hosts that have reached `generation` have tried to load it. Times are Redis server seconds;
    `device` is that of the manifest. `hosts` are those that were seen alive since it began; a time
    is that since when one has not been seen.
    """

    id: str
    ref: str
    digest: str
    device: str
    activate: bool
    generation: int
    started_at: float
    deadline: float
    hosts: dict[str, float | None]


class Desired(Message, frozen=True, kw_only=True):
    """What should be, by model name; `loaded` and `unloaded` are refs that somebody asked for.

    Generation 0 is what one process made up from its disk: it gives way to every other.
    """

    generation: int = 0
    active: dict[str, str] = msgspec.field(default_factory=dict)
    previous: dict[str, str] = msgspec.field(default_factory=dict)
    loaded: list[str] = msgspec.field(default_factory=list)
    unloaded: list[str] = msgspec.field(default_factory=list)
    rollouts: dict[str, Rollout] = msgspec.field(default_factory=dict)

    def wanted(self, on_disk: Collection[Ref], watch: bool) -> set[Ref]:
        """What a host should hold; with `watch` everything on disk that nobody unloaded.

        What is active or on its way is wanted even where it is not on disk.
        """
        active = {Ref(name, version) for name, version in self.active.items()}
        coming = {Ref.parse(rollout.ref) for rollout in self.rollouts.values()}
        previous = {Ref(name, version) for name, version in self.previous.items()}
        asked = {Ref.parse(ref) for ref in self.loaded}
        unloaded = {Ref.parse(ref) for ref in self.unloaded}
        found = set(on_disk) - unloaded if watch else set()
        return active | coming | ((previous | asked) & set(on_disk)) | found

    def gives_up(self, ref: str) -> bool:
        """Whether somebody had `ref` unloaded, and nobody asks for it since."""
        return ref in self.unloaded and all(ref != r.ref for r in self.rollouts.values())


Edit = Callable[[Desired], Desired]
Also = Callable[[Any], None]


def read(client: "redis.Redis") -> Desired | None:
    """The document in Redis; None where there is none.

    Raises redis errors, and `MessageRefused` for one of another version of mlserve.
    """
    raw: Any = client.get(DESIRED_KEY)
    return None if raw is None else decode(raw)


def agree(client: "redis.Redis", copy: Desired) -> Desired:
    """What Redis says; where it is empty or behind, `copy` is put there first."""
    stored = read(client)
    if stored is None or (stored.generation <= copy.generation and stored != copy):
        return change(client, copy, lambda desired: desired)
    return stored


def change(
    client: "redis.Redis", copy: Desired, edit: Edit, also: Also = lambda pipe: None
) -> Desired:
    """Apply `edit` to the newest of Redis and `copy`; where it changes something, `also` queues
    more commands for the same step.

    `edit` may be called again where somebody else was quicker; what it raises is raised. A change
    makes a new generation, and so does a Redis that says something else of the copy's generation
    (it was emptied, and another host put an older copy there): Redis is believed.
    """
    after = copy

    def attempt(pipe: Any) -> None:
        nonlocal after
        raw = pipe.get(DESIRED_KEY)
        stored = None if raw is None else decode(raw)
        before = copy if stored is None or stored.generation < copy.generation else stored
        after = edit(before)
        is_changed = after != before
        is_disputed = before.generation == copy.generation and before != copy
        if is_changed or is_disputed or before.generation == 0:
            after = msgspec.structs.replace(after, generation=before.generation + 1)
        pipe.multi()
        if after != stored:
            pipe.set(DESIRED_KEY, msgspec.json.encode(after))
        if is_changed:
            also(pipe)

    client.transaction(attempt, DESIRED_KEY)
    return after


def read_copy(models_dir: Path) -> Desired | None:
    """The copy on disk; None where there is none that can be read."""
    try:
        return decode((models_dir / DESIRED_FILE).read_bytes())
    except (OSError, MessageRefused):
        return None


def write_copy(models_dir: Path, desired: Desired) -> None:
    """Keep a copy on disk unless a newer one is there; raises `OSError`."""
    known = read_copy(models_dir)
    if known is not None and known.generation >= desired.generation:
        return
    # Hosts on several machines may share the directory: a process id is no name of its own.
    staged = models_dir / f".{DESIRED_FILE}-{uuid.uuid4().hex}"
    try:
        with staged.open("xb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(desired)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, models_dir / DESIRED_FILE)
    finally:
        staged.unlink(missing_ok=True)


def decode(raw: bytes) -> Desired:
    """A stored document; `MessageRefused` where it is none."""
    try:
        desired = Desired.from_message(msgspec.json.decode(raw))
        _check_refs(desired)
    except (ValueError, UnsafePath) as error:
        raise MessageRefused(str(error)) from error
    return desired


def _check_refs(desired: Desired) -> None:
    chosen = (*desired.active.items(), *desired.previous.items())
    coming = (rollout.ref for rollout in desired.rollouts.values())
    asked = (*desired.loaded, *desired.unloaded, *coming)
    for text in (*(str(Ref(name, version)) for name, version in chosen), *asked):
        Ref.parse(text)
