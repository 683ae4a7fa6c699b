"""Workers with a models directory each, as on several machines, and an API's view of them."""

from contextlib import suppress

from app import fleet
from app.contract import Chunk
from app.errors import ServingError
from app.inference.gateway import CeleryGateway
from app.inference.rollouts import Rollouts
from app.models import desired as document
from app.models.base import Ref
from app.models.catalog import Catalog
from app.settings import Models, Redis, Settings
from tests.models import build_model
from tests.processes import WorkerProcess

LOAD_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_S = 0.5
MAX_MEMORY_MB = 2048
STRENGTHS = {"v1": 10.0, "v2": 1.0, "v3": 0.5}


class Machine:
    """One worker and its models directory."""

    def __init__(self, redis, directory, number, **env):
        self.redis = redis
        self.models_dir = directory / f"machine{number}"
        self.models_dir.mkdir(parents=True)
        self.hostname = f"w{number}@fleet"
        settings = {
            "MLSERVE_DEFAULT_MODEL": "tiny",
            "MLSERVE_REQUEST_TIMEOUT_MS": str(int(1000 * REQUEST_TIMEOUT_S)),
            "MLSERVE_MODELS__LOAD_TIMEOUT_S": str(LOAD_TIMEOUT_S),
            "MLSERVE_LIMITS__ALLOW_PICKLE": "true",
            "MLSERVE_WORKER__MAX_MEMORY_MB": str(MAX_MEMORY_MB),
        }
        self.worker = WorkerProcess(
            redis.url, self.models_dir, hostname=self.hostname, env=settings | env
        )

    def add(self, name, version, **manifest):
        """Put a version on this machine's disk."""
        strength = STRENGTHS.get(version, 2.0)
        return build_model(self.models_dir, name, version, **{"strength": strength} | manifest)


class Operator:
    """An API process, without HTTP, that sees the models directory of the first machine."""

    def __init__(self, machines):
        self.machines, redis = machines, machines[0].redis
        models = Models(load_timeout_s=LOAD_TIMEOUT_S)
        settings = Settings(redis=Redis(url=redis.url), models=models)
        self.catalog = Catalog(machines[0].models_dir, "tiny")
        self.gateway = CeleryGateway(settings)
        self.rollouts = Rollouts(settings, self.catalog, self.gateway)
        self.client = redis.client()

    def close(self):
        """End the threads."""
        self.gateway.close()
        self.client.close()

    def add(self, name, *versions, active="v1"):
        """Versions of a new name on every machine; all are held, and one of them is active."""
        for version in versions:
            for machine in self.machines:
                machine.add(name, version)
        for version in sorted(versions, key=lambda version: version != active):
            self.rollouts.wait(self.rollouts.load(Ref(name, version)), 30)
        assert self.desired().active[name] == active

    def desired(self):
        """What stands in Redis."""
        return document.read(self.client)

    def held(self, ref):
        """What each live host says of a version, by host name."""
        return {
            host.hostname: model
            for host in fleet.read(self.client).hosts
            for model in host.models
            if model.ref == str(ref)
        }

    def statuses(self, ref):
        """The status of a version on each live host, sorted by host name."""
        return [model.status for _, model in sorted(self.held(ref).items())]

    def predict(self, ref, text="good day", in_s=10.0):
        """Probabilities by an exact version, from whichever worker takes the chunk."""
        deadline = self.gateway.now() + in_s
        chunk = Chunk(ref=str(ref), texts=[text], deadline=deadline, request_ids=["r1"])
        return self.gateway.submit(chunk, "cpu").result(in_s + 5).outcomes[0].probabilities

    def progress(self, rollout_id):
        """How far a rollout is; None where nobody knows it yet."""
        with suppress(ServingError):
            return self.rollouts.progress(rollout_id)
        return None

    def is_copied(self):
        """Whether every machine has the desired state of Redis on its disk."""
        there = self.desired()
        return all(document.read_copy(one.models_dir) == there for one in self.machines)
