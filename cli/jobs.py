"""CLI. Jobs over HTTP: submitted once even when the connection breaks, followed through outages."""

import time
from collections.abc import Generator, Iterator
from typing import Any, Literal
from urllib.parse import quote

from app.errors import RequestRefused, ServiceUnreachable, ServingError
from app.jobs.records import ENDED
from app.settings import Settings
from cli.client import ServiceClient, status_of, was_reached
from cli.upload import Upload, Wanted

# To accept a large job, and to go on with its results, may take longer than a prediction.
READ_TIMEOUT_S = 60.0
POLL_S = 0.5
# Before each new attempt to submit. A key whose submission broke off is free after a minute.
RESUBMIT_AFTER_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
# A service that was there and is away for longer has not only been restarted.
MAX_OUTAGE_S = 60.0
RETRY_S = 0.5
CONFLICT = 409

# As `GET /jobs/<id>` shows it.
Job = dict[str, Any]
# A line of results: index, custom_id?, and label and confidence, or error.
Row = dict[str, Any]
Part = Literal["results", "errors"]


class Jobs:
    """The jobs of one service. Raises `ServiceUnreachable` and `RequestRefused`."""

    def __init__(self, settings: Settings) -> None:
        self._client = ServiceClient(settings, read_timeout_s=READ_TIMEOUT_S)
        self._token = settings.admin.token

    def submit(self, upload: Upload, wanted: Wanted, key: str) -> Job:
        """The accepted job. Where the answer got lost it is sent again, with the same `key`."""
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "Idempotency-Key": f'"{key}"',
        }
        pauses = iter(RESUBMIT_AFTER_S if upload.is_repeatable else ())
        while True:
            try:
                job: Job = self._client.upload(f"/jobs{wanted.query}", upload.pieces(), headers)
                return job
            except (ServiceUnreachable, RequestRefused) as error:
                pause_s = next(pauses, None)
                if pause_s is None or not _may_be_there(error):
                    raise _located(error, upload) from error.__cause__
                time.sleep(pause_s)

    def read(self, job_id: str) -> Job:
        """One look at a job."""
        job: Job = self._client.get(_path(job_id))
        return job

    def cancel(self, job_id: str) -> Job:
        """The job, whose texts are computed no more."""
        job: Job = self._client.delete(_path(job_id))
        return job

    def page(self, limit: int, before: str | None) -> dict[str, Any]:
        """`jobs`, the newest first, and `next_before`; the operator's, who has `admin.token`."""
        more = f"&before={quote(before, safe='')}" if before else ""
        page: dict[str, Any] = self._client.get(f"/jobs?limit={limit}{more}", self._token)
        return page

    def follow(self, job_id: str) -> Iterator[Job]:
        """A known job again and again, the last time when it has ended; outages are waited for."""
        outage = _Outage(was_there=True)
        while True:
            try:
                job = self.read(job_id)
            except (ServiceUnreachable, RequestRefused) as error:
                outage.wait(error)
                continue
            outage.is_over()
            yield job
            if has_ended(job):
                return
            time.sleep(POLL_S)

    def rows(
        self, job_id: str, after: int | None = None, part: Part = "results"
    ) -> Generator[Row, None, None]:
        """The rows that there are after text number `after`; goes on where a connection broke.

        To be closed where it is not read to its end.
        """
        outage = _Outage()
        while True:
            query = "" if after is None else f"?after={after}"
            try:
                for row in self._client.lines(f"{_path(job_id)}/{part}{query}"):
                    outage.is_over()
                    after = row["index"]
                    yield row
                return
            except (ServiceUnreachable, RequestRefused) as error:
                outage.wait(error)


def has_ended(job: Job) -> bool:
    """Whether nothing of it will change any more."""
    return job["status"] in ENDED


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _may_be_there(error: ServingError) -> bool:
    if isinstance(error, RequestRefused):
        return status_of(error) == CONFLICT
    return isinstance(error, ServiceUnreachable) and was_reached(error)


def _located(error: ServingError, upload: Upload) -> ServingError:
    if not isinstance(error, RequestRefused):
        return error
    status, detail = error.args
    return RequestRefused(status, upload.located(detail))


class _Outage:
    """Waits while a service that has been there is away, but not for ever."""

    def __init__(self, was_there: bool = False) -> None:
        self._deadline: float | None = None
        self._was_there = was_there

    def is_over(self) -> None:
        self._was_there, self._deadline = True, None

    def wait(self, error: ServingError) -> None:
        """Return when it is time to try again; raise `error` where that does not help."""
        was_there = self._was_there or (
            isinstance(error, ServiceUnreachable) and was_reached(error)
        )
        is_refusal = isinstance(error, RequestRefused) and status_of(error) < 500
        now = time.monotonic()
        self._deadline = self._deadline or now + MAX_OUTAGE_S
        if is_refusal or not was_there or now >= self._deadline:
            raise error
        time.sleep(RETRY_S)
