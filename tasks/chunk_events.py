"""Worker process. What Celery's monitors are told of the chunks of predictions: a sample of them.

There are hundreds of chunks a second. Events of each would cost a tenth of all throughput, and in
Flower, which keeps a bounded number of tasks, push the jobs out of sight within a minute.
"""

from typing import Any

from celery.worker.request import Request
from kombu.utils.limits import TokenBucket

MAX_SHOWN_PER_S = 1.0
# What goes well is shown if its start was; everything else always is.
STARTED, SUCCEEDED = "task-started", "task-succeeded"


class ChunkRequest(Request):
    """A request of which monitors see one a second and worker, and each that does not succeed.

    Its task has `send_events` off: Celery would send the first event before it asks here.
    """

    # One for the process. It is not locked: at worst, two threads show one too many.
    _shown = TokenBucket(MAX_SHOWN_PER_S)
    _is_shown = False

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event about it where it is one that is shown, after one that introduces it."""
        if self._eventer is None or not (self._is_shown or self._is_to_be_shown(type)):
            return
        if not self._is_shown:
            self._is_shown = True
            self._eventer.send("task-received", uuid=self.id, **self._introduction())
        self._eventer.send(type, uuid=self.id, **fields)

    def _is_to_be_shown(self, event: str) -> bool:
        return self._shown.can_consume() if event == STARTED else event != SUCCEEDED

    def _introduction(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "args": self.argsrepr,
            "kwargs": self.kwargsrepr,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "retries": self.request_dict.get("retries", 0),
        }
