"""The command line before a server of jobs, and a job of four texts."""

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.job_server import JobServer

TEXTS = ["good", "bad", "poison", "good again"]


@pytest.fixture
def server(monkeypatch):
    """A server of jobs, and a command line that is in a hurry."""
    for name, value in {"POLL_S": 0.01, "RETRY_S": 0.01, "RESUBMIT_AFTER_S": (0.01, 0.01)}.items():
        monkeypatch.setattr(f"cli.jobs.{name}", value)
    with JobServer() as server:
        yield server


@pytest.fixture
def job_id(server):
    """A job of `TEXTS`, the third of which fails."""
    return server.submit("key", {}, [{"text": text} for text in TEXTS])


@pytest.fixture
def mlserve(server, tmp_path):
    """Runs a verb against the server."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"server": {"port": server.port}}))

    def run(*args, **options):
        words = ["--config", str(config), *map(str, args)]
        return CliRunner().invoke(main, words, **options)

    return run
