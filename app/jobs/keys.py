"""Shared. The Redis keys of a job. Each has a time to live, which the scripts renew together.

mlserve:job:<id>           hash: specification, status, counters, times
mlserve:job:<id>:texts     hash: block of texts by its number, until the job has ended
mlserve:job:<id>:ids       hash: custom ids of a block, where it has any
mlserve:job:<id>:chunks    hash: chunk by its first text         (JSON rows)
mlserve:job:<id>:ready     sorted set: chunks to be sent again, by first text
mlserve:job:<id>:out       sorted set: chunks sent or computed, by when they are overdue
mlserve:job:<id>:done      sorted set: chunks that have results, by first text
mlserve:job:<id>:results   hash: results of a chunk by its first text (blobs)
mlserve:job:<id>:gone      string: outlives all of the above, so that 410 can be told from 404
mlserve:jobs               sorted set: ids by submission         mlserve:jobs:active: unfinished
mlserve:jobs:sweeper        string: who looks after the unfinished ones at the moment
mlserve:jobs:texts         hash: texts of all jobs that ever were, by what became of them
mlserve:pace:<digest>      string: texts/s that workers reach with a version
mlserve:webhook:<id>       hash: what is to be posted about a job, or was; see `app.jobs.outbox`
mlserve:webhooks           sorted set: ids of jobs with a webhook that is to be posted, by when
mlserve:idempotency:<hash> string: what an Idempotency-Key was used for (JSON)
"""

from app.contract import KEY_PREFIX

JOB_PREFIX = f"{KEY_PREFIX}job:"
JOBS_KEY = f"{KEY_PREFIX}jobs"
ACTIVE_KEY = f"{KEY_PREFIX}jobs:active"
SWEEPER_KEY = f"{KEY_PREFIX}jobs:sweeper"
TEXTS_KEY = f"{KEY_PREFIX}jobs:texts"
PACE_PREFIX = f"{KEY_PREFIX}pace:"
WEBHOOK_PREFIX = f"{KEY_PREFIX}webhook:"
WEBHOOKS_KEY = f"{KEY_PREFIX}webhooks"
IDEMPOTENCY_PREFIX = f"{KEY_PREFIX}idempotency:"

PARTS = ("texts", "ids", "chunks", "ready", "out", "done", "results")
GONE = "gone"


def job_key(job_id: str) -> str:
    """The hash of a job."""
    return JOB_PREFIX + job_id


def part_key(job_id: str, part: str) -> str:
    """One of the other keys of a job."""
    return f"{JOB_PREFIX}{job_id}:{part}"


def keys_of(job_id: str) -> list[str]:
    """What every script is given, in this order; the first eight are removed with the job."""
    parts = [part_key(job_id, part) for part in PARTS]
    return [job_key(job_id), *parts, part_key(job_id, GONE), JOBS_KEY, ACTIVE_KEY, TEXTS_KEY]
