"""Worker process. What every task of ours is guarded against."""

from typing import Any

import redis
from celery import Task

from app.contract import KEY_PREFIX
from app.errors import BrokerUnavailable, ServingError, TaskGivenUp, WorkerOutOfMemory
from tasks import running

MAX_ATTEMPTS = 3
ATTEMPTS_PREFIX = f"{KEY_PREFIX}attempts:"
ATTEMPTS_TTL_S = 3600


class GuardedTask(Task):
    """A task that cannot loop through the workers it ends, nor cost a slot when memory is short.

    Redis delivers what a lost worker left as often as it takes; a poison text would end one worker
    after the other. `MemoryError` is turned into an ordinary failure here, because Celery's tracer
    does not handle it.
    """

    abstract = True
    # Expected failures: answered to the caller, and not logged as errors with a traceback.
    throws = (ServingError,)
    # Characters of a result's repr, which Celery makes for every task and event.
    resultrepr_maxsize = 64

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task, or give it up."""
        if (self.request.delivery_info or {}).get("redelivered"):
            check_attempts(running.host().redis, self.request.id)
        try:
            # Not Celery's __call__: it would hide the message's delivery_info from the task.
            return self.run(*args, **kwargs)
        except MemoryError:
            raise WorkerOutOfMemory() from None


def check_attempts(client: "redis.Redis", task_id: str) -> None:
    """Count one more delivery of `task_id`; `TaskGivenUp` after `MAX_ATTEMPTS` attempts."""
    key = ATTEMPTS_PREFIX + task_id
    try:
        with client.pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, ATTEMPTS_TTL_S)
            redelivered, _ = pipe.execute()
    except redis.RedisError as error:
        raise BrokerUnavailable() from error
    if redelivered >= MAX_ATTEMPTS:
        raise TaskGivenUp(MAX_ATTEMPTS)
