"""Shared. Reads the results of a job in the order of its texts, chunk by chunk.

Only one chunk and one block of custom ids are in memory at a time.
"""

from collections.abc import Iterator
from typing import Any

from app.jobs import blobs
from app.jobs.keys import part_key
from app.jobs.ledger import Ledger
from app.jobs.records import CANCELLED, Job, Row


def rows(ledger: Ledger, job_id: str, after: int = -1) -> Iterator[Row]:
    """The rows from text number `after` + 1 on, up to the first text that has no result yet.

    Of a job that has ended, every text has a row: those that were not computed have the job's
    error. Raises `JobNotFound`, `JobGone` and redis errors, also in the midst.
    """
    return _Reader(ledger, ledger.read(job_id)).rows(max(0, after + 1))


class _Reader:
    def __init__(self, ledger: Ledger, job: Job) -> None:
        self._ledger, self._job = ledger, job
        self._block: tuple[int, blobs.Ids] = (-1, [])

    def rows(self, index: int) -> Iterator[Row]:
        while index < self._job.counts.total:
            found = self._chunk(index)
            if found is None:
                # Committed, ended or expired since it was last read?
                self._job = self._ledger.read(self._job.id)
                found = self._chunk(index)
            if found is not None:
                first, results = found
                end = first + len(results)
                yield from self._results(first, results, index)
            elif self._job.has_ended:
                end = self._next_start(index)
                # Expired meanwhile, it would seem to have no results behind the gap either.
                self._ledger.read(self._job.id)
                yield from self._gap(index, end)
            else:
                return
            index = end

    def _chunk(self, index: int) -> tuple[int, blobs.Results] | None:
        """The results that contain text `index`, and the number of their first text."""
        starts: Any = self._ledger.redis.zrevrangebyscore(
            part_key(self._job.id, "done"), index, "-inf", start=0, num=1
        )
        if not starts:
            return None
        first = int(starts[0])
        blob: Any = self._ledger.redis.hget(part_key(self._job.id, "results"), str(first))
        results = blobs.decode_results(blob) if blob is not None else None
        if results is None or index >= first + len(results):
            return None
        return first, results

    def _results(self, first: int, results: blobs.Results, index: int) -> Iterator[Row]:
        labels = self._job.spec.labels
        for at, (label, confidence, failure) in enumerate(results.rows(), first):
            if at < index:
                continue
            if failure is not None:
                yield Row(at, self._custom_id(at), error=failure)
            else:
                scores = results.scores_of(at - first)
                found = labels[label], confidence, None, scores, at - first in results.truncated
                yield Row(at, self._custom_id(at), *found)

    def _next_start(self, index: int) -> int:
        starts: Any = self._ledger.redis.zrangebyscore(
            part_key(self._job.id, "done"), index, "+inf", start=0, num=1
        )
        return int(starts[0]) if starts else self._job.counts.total

    def _gap(self, index: int, end: int) -> Iterator[Row]:
        failure = self._job.error or CANCELLED
        for at in range(index, end):
            yield Row(at, self._custom_id(at), error=failure)

    def _custom_id(self, index: int) -> str | None:
        number, place = divmod(index, blobs.BLOCK_TEXTS)
        if self._block[0] != number:
            blob: Any = self._ledger.redis.hget(part_key(self._job.id, "ids"), str(number))
            if blob is None:
                self._ledger.read(self._job.id)  # expired, or a block without ids?
            self._block = (number, blobs.decode_ids(blob))
        return self._block[1][place]
