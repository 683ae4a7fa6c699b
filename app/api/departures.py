"""API process. Callers who leave before their answer: nothing more is computed for them.

A client whose own patience is shorter than the service's asks again, while the service is still at
work on what nobody waits for any more: under overload that would be most of its work.
"""

import asyncio
import time
from typing import Any

from app.api.reading import DISCONNECT, Receive

Task = asyncio.Task[Any]

# To learn whether somebody is still there takes a task, which costs a tenth of an answer: only who
# has waited for so long is watched.
WATCHED_AFTER_S = 1.0
LOOK_EVERY_S = 0.25
# What servers write down for a request whose client closed the connection, after nginx.
LEFT = 499


class Departures:
    """Cancels tasks whose callers have left. For the requests of one event loop."""

    def __init__(self, watched_after_s: float = WATCHED_AFTER_S) -> None:
        self._watched_after_s = watched_after_s
        # Who waits longest comes first: since when, in seconds of `time.perf_counter`.
        self._waiting: dict[Task, tuple[float, Receive]] = {}
        self._watchers: dict[Task, Task] = {}
        self._left: set[Task] = set()
        self._is_looking = False

    def begin(self, task: Task, started: float, receive: Receive) -> None:
        """`task` works for a caller whose request was received; it began at `started`."""
        self._waiting[task] = (started, receive)
        if not self._is_looking:
            self._is_looking = True
            self._look_later(task.get_loop())

    def has_left(self, task: Task) -> bool:
        """Whether `task` was cancelled because its caller left, and by nobody else."""
        return task in self._left and not task.uncancel()

    def end(self, task: Task) -> None:
        """It has an answer, or needs none."""
        self._waiting.pop(task, None)
        if self._watchers and (watcher := self._watchers.pop(task, None)) is not None:
            watcher.cancel()
            self._left.discard(task)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(min(LOOK_EVERY_S, self._watched_after_s), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        due_at = time.perf_counter() - self._watched_after_s
        due = []
        for task, (started, receive) in self._waiting.items():
            if started > due_at:
                break
            due.append((task, receive))
        for task, receive in due:
            del self._waiting[task]
            self._watchers[task] = loop.create_task(self._watch(task, receive))
        self._is_looking = bool(self._waiting)
        if self._is_looking:
            self._look_later(loop)

    async def _watch(self, task: Task, receive: Receive) -> None:
        while (await receive())["type"] != DISCONNECT:
            pass
        self._left.add(task)
        task.cancel()
