"""API process. Callers who leave before their answer: nothing more is computed for them.

A client whose own patience is shorter than the service's asks again, while the service is still at
work on what nobody waits for any more: under overload that would be most of its work.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Task = asyncio.Task[Any]
# Returns when the caller of a request has left.
Left = Callable[[], Coroutine[Any, Any, None]]

# To learn whether somebody is still there takes a task, which costs a tenth of an answer: only who
# has waited for so long is watched.
WATCHED_AFTER_S = 1.0
LOOK_EVERY_S = 0.25


class CallerLeft(Exception):
    """Nobody is there to be answered."""


class Departures:
    """Cancels the tasks whose callers have left. For those of one event loop at a time."""

    def __init__(self, watched_after_s: float = WATCHED_AFTER_S) -> None:
        self._watched_after_s = watched_after_s
        self._loop: asyncio.AbstractEventLoop | None = None
        # Who waits longest comes first: since when, in monotonic seconds.
        self._waiting: dict[Task, tuple[float, Left]] = {}
        self._watchers: dict[Task, Task] = {}
        self._left: set[Task] = set()
        self._is_looking = False

    async def unless_left(self, waiting: Awaitable[None], left: Left | None) -> None:
        """Await `waiting`; `CallerLeft` as soon as the caller has left, if that can be told."""
        task: Any = asyncio.current_task()
        if left is None:
            await waiting
            return
        self._begin(task, left)
        try:
            await waiting
        except asyncio.CancelledError:
            # Perhaps by somebody else as well.
            if task in self._left and not task.uncancel():
                raise CallerLeft from None
            raise
        finally:
            self._end(task)

    def _begin(self, task: Task, left: Left) -> None:
        loop = task.get_loop()
        if self._loop is not loop:
            self._loop, self._is_looking = loop, False
        self._waiting[task] = (time.monotonic(), left)
        if not self._is_looking:
            self._is_looking = True
            self._look_later(loop)

    def _end(self, task: Task) -> None:
        self._waiting.pop(task, None)
        if self._watchers and (watcher := self._watchers.pop(task, None)) is not None:
            watcher.cancel()
            self._left.discard(task)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(min(LOOK_EVERY_S, self._watched_after_s), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        due_at = time.monotonic() - self._watched_after_s
        due = []
        for task, (since, left) in self._waiting.items():
            if since > due_at:
                break
            due.append((task, left))
        for task, left in due:
            del self._waiting[task]
            self._watchers[task] = loop.create_task(self._watch(task, left))
        self._is_looking = bool(self._waiting)
        if self._is_looking:
            self._look_later(loop)

    async def _watch(self, task: Task, left: Left) -> None:
        await left()
        self._left.add(task)
        task.cancel()
