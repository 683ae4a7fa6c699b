"""Hosts without a process: what they would do to Redis, step by step, at a time of the test's."""

import msgspec
import yaml

from app import fleet
from app.contract import HeldModel, HostState
from app.fleet import FAILED, READY, RETIRING
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.desired import Desired
from app.models.progress import Progress
from app.models.rollout import OUTCOME_PREFIX


def add(root, ref, **manifest):
    """A version that a catalog lists; nothing in these tests loads one."""
    path = root / ref.name / ref.version
    path.mkdir(parents=True)
    artifact = {"file": "model.skops", "sha256": "0" * 64, "size_bytes": 1}
    fields = {"format": "skops", "labels": ["no", "yes"], "artifacts": [artifact]}
    (path / "model.yaml").write_text(yaml.safe_dump(ref._asdict() | fields | manifest))


def state(hostname, models=(), generation=0, device="cpu"):
    """A heartbeat."""
    return HostState(
        hostname=hostname,
        pid=1,
        device=device,
        queues=[f"predict.{device}"],
        models=list(models),
        started_at=1.0,
        beat_at=1.0,
        memory_bytes=1,
        chunks=0,
        generation=generation,
    )


class Host:
    """A process that looks at the desired state when it is told to, and loads in no time."""

    def __init__(self, client, root, hostname, device="cpu"):
        self.client, self.hostname, self.device = client, hostname, device
        self.catalog = Catalog(root, "tiny")
        self.broken: set[str] = set()
        self.models: dict[str, HeldModel] = {}
        self.generation = 0

    def work(self):
        """One pass of the reconciler, heartbeat included."""
        self.catalog.follow(document.agree(self.client, self.catalog.desired()))
        desired = self.catalog.desired()
        on_disk = self.catalog.entries()
        wanted = {str(ref) for ref in desired.wanted(on_disk, watch=False)}
        held = {ref: self._retire(model) for ref, model in self.models.items()}
        self.models = {ref: m for ref, m in held.items() if m.status == RETIRING}
        for ref in wanted:
            kept = held.get(ref)
            self.models[ref] = self._load(ref, kept)
        self.generation = desired.generation
        self.beat()

    def advance(self, now):
        """The end of a pass: end what can be ended."""
        rollout.advance(self.client, self.catalog, fleet.read(self.client), now)

    def beat(self):
        """A heartbeat that tells what was there after the last pass."""
        told = state(self.hostname, self.models.values(), self.generation, self.device)
        fleet.publish(self.client, told)

    def die(self):
        """Its last heartbeat has run out."""
        self.client.delete(f"mlserve:host:{self.hostname}")

    def is_ready(self, ref):
        """Whether it would answer for `ref` now."""
        return ref in self.models and self.models[ref].status == READY

    def _retire(self, model):
        return msgspec.structs.replace(model, status=RETIRING) if model.status != FAILED else model

    def _load(self, ref, kept):
        entry = self.catalog.entries().get(Ref.parse(ref))
        if kept is not None and kept.status == RETIRING:
            return msgspec.structs.replace(kept, status=READY)
        if entry is None or ref in self.broken:
            return HeldModel(ref, "", FAILED, error="it is broken", code="artifact_invalid")
        return HeldModel(ref, entry.manifest.digest, READY)


class Looker:
    """A process that begins rollouts, and ends those that it finds can be ended."""

    def __init__(self, client, root):
        self.client = client
        self.catalog = Catalog(root, "tiny")

    def look(self):
        """Follow what stands in Redis."""
        self.catalog.follow(document.read(self.client))
        return self.catalog.desired()

    def begin(self, ref, *, now, activate=True, timeout_s=10.0):
        """The id of a rollout."""
        self.look()
        entry = self.catalog.get(Ref.parse(ref))
        return rollout.begin(
            self.client, self.catalog, entry, activate=activate, now=now, timeout_s=timeout_s
        )

    def advance(self, now, seen=None):
        """Look at all hosts, or at a picture of them that was taken before."""
        self.look()
        rollout.advance(self.client, self.catalog, seen or fleet.read(self.client), now)
        return self.catalog.desired()

    def progress(self, rollout_id):
        """How far it is."""
        self.look()
        return rollout.look(self.client, self.catalog, fleet.read(self.client), rollout_id)


def outcome(client, rollout_id) -> Progress:
    """How a rollout ended; None where it has not."""
    raw = client.get(OUTCOME_PREFIX + rollout_id)
    return raw and Progress.from_message(msgspec.json.decode(raw))


def stored(client) -> Desired:
    """The desired state in Redis."""
    return document.read(client) or Desired()
