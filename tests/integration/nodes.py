"""Local processes in the shape of the containers that pytest-celery's nodes drive."""

import signal as signals

from tests.processes import CPU_QUEUES, Process


class Node:
    """What a `CeleryTestNode` calls on its container."""

    def __init__(self, process: Process, celeryconfig: dict) -> None:
        self.process, self.celeryconfig = process, celeryconfig
        self.name = self.id = process.name

    @property
    def status(self):
        """As a container would say it."""
        return "running" if self.process.returncode is None else "exited"

    def ready(self):
        """Whether the process can be used."""
        return self.process.is_ready()

    def logs(self):
        """Everything since the first start."""
        return self.process.logs(whole=True)

    def kill(self, signal="SIGKILL"):
        """Send a signal by name or number; returns when a killed process is gone."""
        number = signals.Signals[signal] if isinstance(signal, str) else signal
        self.process.send(number)
        if number == signals.SIGKILL:
            self.process.wait()

    def restart(self, timeout=30):
        """Stop and start again."""
        self.process.restart(timeout)

    def reload(self):
        """A process needs no second look."""

    def teardown(self):
        """Left to the fixture that started the process."""


class RedisNode(Node):
    """A Redis as broker or backend."""

    def __init__(self, server) -> None:
        where = {"hostname": "127.0.0.1", "port": server.port, "vhost": "0"}
        super().__init__(server, {"url": server.url, "host_url": server.url, **where})


class WorkerNode(Node):
    """A worker."""

    def __init__(self, worker) -> None:
        super().__init__(worker, {"url": None, "host_url": None})
        self._worker_name, _, self.id = worker.hostname.partition("@")

    def worker_name(self):
        """The part of its host name before the @."""
        return self._worker_name

    def worker_queue(self):
        """Where it takes tasks."""
        return CPU_QUEUES.partition(",")[0]
