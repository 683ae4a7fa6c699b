"""What the world sees of a job."""

import pytest

from app.contract import Failure
from app.jobs.records import Counts, Job
from app.jobs.view import describe
from tests.unit.app.jobs.jobs import SPEC

KEYS = (
    "id status model_version request_counts created_at in_progress_at completed_at failed_at"
    " expired_at cancelling_at cancelled_at expires_at texts_per_s eta_s metadata error"
)


def job(status="in_progress", **fields):
    counts = Counts(total=100, succeeded=20, failed=5)
    defaults = {"created_at": 1000.0, "expires_at": 9000.0, "counts": counts}
    return Job(id="some id", spec=SPEC, status=status, **defaults | fields)


def test_job_before_its_first_result_has_all_keys_and_no_rate():
    seen = describe(job(counts=Counts(total=100)), 1010.0)

    assert sorted(seen) == sorted(KEYS.split())
    assert (seen["texts_per_s"], seen["eta_s"], seen["in_progress_at"]) == (None, None, None)
    assert seen["model_version"] == "tiny-v1"


def test_job_in_progress_tells_counts_rate_and_eta():
    seen = describe(job(submitted_at=999.0, started_at=1000.0), 1010.0)

    counts = {"total": 100, "completed": 20, "failed": 5, "cancelled": 0}
    assert seen["request_counts"] == counts
    assert (seen["texts_per_s"], seen["eta_s"], seen["in_progress_at"]) == (2.5, 30.0, 999.0)


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_end_is_told_under_the_name_of_its_status(status):
    error = Failure("job_failed", "no worker")

    seen = describe(job(status, ended_at=1500.0, error=error), 2000.0)

    ends = ("completed_at", "failed_at", "expired_at", "cancelled_at")
    told = {key: seen[key] for key in ends if seen[key]}
    assert told == {f"{status}_at": 1500.0}
    assert seen["error"] == {"code": "job_failed", "message": "no worker"}
    assert seen["eta_s"] == 0.0
