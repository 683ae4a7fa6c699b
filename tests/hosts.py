"""Hosts of a fleet, as far as others see them: the rows that their heartbeats write."""

from app import fleet
from app.contract import HeldModel, HostState
from app.fleet import FAILED, READY
from app.models.catalog import Catalog

LATER = 1 << 40


class Hosts:
    """Publishes what hosts say; `client` is of a real Redis, versions are those in `models_dir`."""

    def __init__(self, client, models_dir):
        self.client = client
        self.catalog = Catalog(models_dir, "sentiment")

    def hold(self, hostname, *refs, failed=(), generation=LATER, status=READY):
        """`hostname` holds `refs` and could not load those in `failed`, {ref: (code, reason)}."""
        models = [HeldModel(ref, self.digest(ref), status, memory_bytes=2_000_000) for ref in refs]
        models += [
            HeldModel(ref, self.digest(ref), FAILED, reason, code)
            for ref, (code, reason) in dict(failed).items()
        ]
        state = HostState(
            hostname=hostname,
            pid=1,
            device="cpu",
            queues=["predict.cpu", "jobs.cpu"],
            models=models,
            started_at=1.0,
            beat_at=1.0,
            memory_bytes=100_000_000,
            chunks=0,
            generation=generation,
        )
        fleet.publish(self.client, state)

    def digest(self, ref):
        entries = {str(entry.ref): entry for entry in self.catalog.entries().values()}
        return entries[ref].manifest.digest
