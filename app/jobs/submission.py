"""Shared. Takes in the texts of a job one by one, and accepts all of them or none."""

from types import TracebackType
from typing import Self

from app.errors import JobEmpty, JobTooLarge
from app.jobs.blobs import BLOCK_TEXTS, Ids
from app.jobs.ledger import Ledger
from app.jobs.records import Job, JobSpec

# Redis is asked for its memory once for so many bytes of text.
MEMORY_CHECK_BYTES = 8 << 20


class Submission:
    """A job on its way in. Left without `seal`, or by an error, nothing of it stays:

        with Submission(ledger, spec) as submission:
            for text in texts:
                submission.add(text)
            job = submission.seal()

    Holds at most `BLOCK_TEXTS` texts. Not for several threads.
    """

    def __init__(self, ledger: Ledger, spec: JobSpec) -> None:
        self._ledger, self._spec = ledger, spec
        self._texts: list[str] = []
        self._ids: Ids = []
        self._blocks = self._bytes = self._checked_bytes = 0
        self._is_sealed = False
        self.job_id = ""

    def __enter__(self) -> Self:
        self._ledger.check_memory(0)
        self.job_id = self._ledger.create(self._spec)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_sealed:
            self._ledger.discard(self.job_id)

    def add(self, text: str, custom_id: str | None = None) -> None:
        """Take in one more text, which must be valid UTF-8.

        Raises `JobTooLarge`, `StorageFull`, `SubmissionLost` and redis errors.
        """
        limits = self._ledger.limits
        self._bytes += len(text.encode())
        if self._bytes > limits.max_bytes:
            raise JobTooLarge(limits.max_bytes, "bytes of text")
        if self._blocks * BLOCK_TEXTS + len(self._texts) >= limits.max_texts:
            raise JobTooLarge(limits.max_texts, "texts")
        self._texts.append(text)
        self._ids.append(custom_id)
        if len(self._texts) == BLOCK_TEXTS:
            self._flush()

    def seal(self) -> Job:
        """Accept the job; `JobEmpty` without texts, `SubmissionLost`, `StorageFull`."""
        texts = self._blocks * BLOCK_TEXTS + len(self._texts)
        if not texts:
            raise JobEmpty()
        if self._texts:
            self._flush()
        is_listed = self._spec.question is None
        job = self._ledger.seal(self.job_id, self._blocks, texts, is_listed)
        self._is_sealed = True
        return job

    def _flush(self) -> None:
        if self._bytes - self._checked_bytes >= MEMORY_CHECK_BYTES:
            self._ledger.check_memory(self._bytes - self._checked_bytes)
            self._checked_bytes = self._bytes
        self._ledger.append(self.job_id, self._blocks, self._texts, self._ids)
        self._blocks += 1
        self._texts, self._ids = [], []
