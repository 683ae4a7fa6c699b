"""API process. The answer to a request that failed: problem details, counted by their code."""

import logging

from app.api.hot import Answered
from app.api.schemas.problem import PROBLEM_TYPE, Problem
from app.api.services import Services
from app.errors import (
    BrokerUnavailable,
    ModelUnavailable,
    NoWorker,
    Overloaded,
    ServingError,
    ShuttingDown,
    StorageFull,
    WorkerOutOfMemory,
)

logger = logging.getLogger(__name__)


def refusal(has: Services, error: Exception, request_id: str) -> Answered:
    """What the caller is told; of an error that is not ours only that there was one."""
    if not isinstance(error, ServingError):
        logger.error("request failed", exc_info=error)
        error = ServingError()
    count(has, error.code)
    problem = Problem.of(error, request_id)
    headers = problem.headers(error.retry_after_s)
    return Answered(problem.body(), headers, problem.status, content_type=PROBLEM_TYPE)


# The answer would have been another one with more workers, or with Redis.
CAPACITY = frozenset(
    error.code
    for error in (
        BrokerUnavailable,
        ModelUnavailable,
        NoWorker,
        Overloaded,
        ShuttingDown,
        StorageFull,
        WorkerOutOfMemory,
    )
)


def count(has: Services, code: str) -> None:
    """Count one error answer."""
    if has.metrics:
        has.metrics.count_error(code, code in CAPACITY)
