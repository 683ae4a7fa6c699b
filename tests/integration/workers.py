"""Workers that also know the faulty tasks, and a Celery app to send those."""

from pathlib import Path

from app.broker import make_celery
from app.settings import Redis, Settings
from tests.processes import WorkerProcess

FAULTS = "tests.integration.faults"


class FaultyWorker(WorkerProcess):
    """A worker that serves `tiny` and includes the tasks of tests/integration/faults.py."""

    def __init__(
        self,
        redis_url: str,
        models_dir: Path | str,
        *,
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        hostname: str = "w1@test",
    ) -> None:
        super().__init__(
            redis_url,
            models_dir,
            hostname=hostname,
            args=("--include", FAULTS, *args),
            env={"MLSERVE_DEFAULT_MODEL": "tiny"} | (env or {}),
        )


class Sender:
    """Sends the faulty tasks by name."""

    def __init__(self, redis_url: str) -> None:
        self.settings = Settings(redis=Redis(url=redis_url))
        self.app = make_celery(self.settings, "cli")

    def send(self, name, *args, queue="predict.cpu"):
        """The pending result of `faults.<name>`."""
        return self.app.send_task(f"faults.{name}", args=args, queue=queue)

    def close(self) -> None:
        """Close all connections."""
        self.app.backend.client.close()
        self.app.close()
