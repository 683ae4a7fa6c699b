"""A host's parts without a worker: real models, a real Redis, steps made by hand."""

import pytest

from app import fleet
from app.models import desired as document
from app.models import rollout
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Limits
from tasks.reconciler import Reconciler
from tests.models import activate, build_model
from tests.unit.app.models.fleets import state

HOSTNAME = "w1@test"


class Part:
    """One host: `step` is a pass of its reconciler; `now` is a time of the test's."""

    def __init__(self, client, root, hostname=HOSTNAME, **options):
        self.client, self.root, self.hostname = client, root, hostname
        self.now, self.beats = 100.0, []
        self.is_announced = True
        self.catalog = Catalog(root, "tiny")
        self.registry = Registry(Limits(), "cpu", retire_after_s=options.pop("retire_after_s", 0))
        self.reconciler = Reconciler(
            self.catalog,
            self.registry,
            client,
            watch=options.pop("watch", False),
            beat=self.beat,
            now=lambda: self.now,
        )
        # As after the first task: what is left is loaded too.
        self.reconciler._is_open = options.pop("is_open", True)

    def beat(self):
        """Remember what was told, and tell the fleet."""
        told = state(self.hostname, self.registry.held(), self.reconciler.generation)
        self.beats.append(told)
        if self.is_announced:
            fleet.publish(self.client, told)

    def step(self):
        """One pass, then what is held and ready."""
        self.reconciler.step()
        return self.ready()

    def begin(self, ref, activate=True):
        """Ask all hosts for a version, as an operator does; the id of the rollout."""
        self.catalog.entries(fresh=True)
        self.catalog.follow(self.desired())
        entry = self.catalog.get(ref)
        return rollout.begin(
            self.client, self.catalog, entry, activate=activate, now=self.now, timeout_s=10
        )

    def ready(self):
        """Refs that are ready."""
        return [model.ref for model in self.registry.held() if model.status == fleet.READY]

    def told(self, ref):
        """What the last heartbeat said of a version."""
        return next((model for model in self.beats[-1].models if model.ref == ref), None)

    def desired(self):
        """What stands in Redis."""
        return document.read(self.client)


@pytest.fixture
def models(tmp_path):
    """`tiny` v1, which is active, and v2."""
    root = tmp_path / "models"
    build_model(root)
    build_model(root, version="v2", strength=1.0)
    activate(root, tiny="v1")
    return root


@pytest.fixture
def make_part(redis_client, models):
    """Another host on the same disk, or on `root`."""

    def make(root=models, **options):
        return Part(redis_client, root, **options)

    return make


@pytest.fixture
def part(make_part):
    """A host."""
    return make_part()
