"""Shared. A job as the world sees it: the answer of `GET /jobs/<id>` and the body of a webhook."""

from typing import Any

import msgspec

from app.jobs.records import ENDED, Job

DIGITS = 3


def describe(job: Job, now: float) -> dict[str, Any]:
    """JSON types; times are in seconds since the epoch, None where it has not come to that.

    `now` is in Redis server seconds.
    """
    counts, rate, eta_s = job.counts, job.texts_per_s(now), job.eta_s(now)
    return {
        "id": job.id,
        "status": job.status,
        "model_version": job.spec.ref,
        "request_counts": {
            "total": counts.total,
            "completed": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
        "created_at": job.created_at,
        "in_progress_at": job.submitted_at,
        **{f"{status}_at": job.ended_at if job.status == status else None for status in ENDED},
        "cancelling_at": job.cancelling_at,
        "expires_at": job.expires_at,
        "texts_per_s": None if rate is None else round(rate, DIGITS),
        "eta_s": None if eta_s is None else round(eta_s, DIGITS),
        "metadata": job.spec.metadata,
        "error": msgspec.to_builtins(job.error),
    }
