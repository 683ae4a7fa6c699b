"""Versions on disk, and those who look at them: an install, a registry, a fleet of hosts."""

import pytest

from app.models import registry as registry_module
from app.models.base import Ref
from tests.models import activate, build_model
from tests.unit.app.models.disks import Disk
from tests.unit.app.models.fleets import Host, Looker, add

VERSIONS = [Ref(name, version) for name in ("tiny", "other") for version in ("v1", "v2", "v3")]


@pytest.fixture
def version(tmp_path):
    """The directory of `tiny-v1`."""
    return build_model(tmp_path)


@pytest.fixture
def source(tmp_path):
    """A version that is to be installed."""
    return build_model(tmp_path / "source")


@pytest.fixture
def models(tmp_path):
    """Where it is installed to; not there yet."""
    return tmp_path / "models"


@pytest.fixture
def disk(tmp_path):
    """`tiny-v1`, and a registry that holds nothing."""
    build_model(tmp_path)
    return Disk(tmp_path)


@pytest.fixture
def loads(monkeypatch):
    """The refs that were loaded or tried, in order."""
    tried = []
    real = registry_module.load

    def load(entry, *rest):
        tried.append(str(entry.ref))
        return real(entry, *rest)

    monkeypatch.setattr(registry_module, "load", load)
    return tried


@pytest.fixture
def root(tmp_path):
    """Two names with three versions each, which no process can load; v1 is active."""
    for ref in VERSIONS:
        add(tmp_path, ref)
    activate(tmp_path, tiny="v1", other="v1")
    return tmp_path


@pytest.fixture
def hosts(redis_client, root):
    """Two that hold what is on disk."""
    found = [Host(redis_client, root, f"w{number}@test") for number in (1, 2)]
    for host in found:
        host.work()
    return found


@pytest.fixture
def looker(redis_client, root, hosts):
    """Begins and ends rollouts beside those hosts."""
    return Looker(redis_client, root)
