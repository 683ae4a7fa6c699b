"""CLI. `mlserve predict --output`: a file with a prediction for each of its rows.

The file is read twice, once for its texts and once beside their results, and never held as a whole.
What is no text for a model is not sent and has an error of its own.
"""

import itertools
import shlex
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from app.errors import InvalidFields
from app.settings import Settings
from cli.job_watch import going_on
from cli.jobs import Jobs
from cli.options import Call
from cli.progress import show
from cli.records import Record, Source
from cli.sources import LocalSource, Row
from cli.tables import check_output, written
from cli.upload import Upload, Wanted

ADDED = ("label", "confidence", "truncated", "error")
# Where answers have one.
PREDICTION_ID = "prediction_id"
LOCAL_TEXTS = 1000

# What is wrong with a text; None where it may be sent.
ProblemOf = Callable[[str], str | None]


@dataclass(frozen=True)
class Task:
    """What is to be predicted, and where it goes; `job_id` is of a job that was submitted for it.

    Raises `click.UsageError` where that cannot be.
    """

    source: Source
    output: Path
    model: str | None = None
    job_id: str | None = None

    def __post_init__(self) -> None:
        if not self.source.is_repeatable:
            raise self.source.wrong("it is read twice, so --output needs a file that is on disk")
        check_output(self.output)
        if self.output.resolve() == self.source.path.resolve():
            raise click.UsageError("--output must be another file than --file")

    def command(self, job_id: str) -> str:
        """How to come back to it."""
        column = ["--column", self.source.column] if self.source.column else []
        words = ["--file", str(self.source.path), *column, "--output", str(self.output)]
        return shlex.join(["mlserve", "predict", *words, "--job", job_id])


def predict_by_job(call: Call, task: Task) -> dict[str, Any]:
    """Submit, watch, and write the results; what to tell of it."""
    jobs, problem_of = Jobs(call.settings), _checker(call.settings)
    if task.job_id is None:
        upload = Upload(task.source, lambda record: problem_of(record.text) is None)
        job_id = jobs.submit(upload, Wanted(task.model), str(uuid.uuid4()))["id"]
    else:
        # Only a service that was there is waited for.
        job_id = jobs.read(task.job_id)["id"]
    with going_on(job_id, task.command(job_id)):
        job = show(jobs.follow(job_id), call.as_json)
        added = (*ADDED, PREDICTION_ID) if call.settings.monitoring.feedback else ADDED
        with closing(jobs.rows(job_id)) as rows:
            counted = _write(task, problem_of, rows, added)
    told = {name: job[name] for name in ("id", "status", "model_version")}
    return told | counted


def predict_locally(call: Call, task: Task) -> dict[str, Any]:
    """The same in this process, without a job."""
    local, problem_of = LocalSource(call.settings, task.model), _checker(call.settings)
    counted = _write(task, problem_of, _local_rows(local, task.source, problem_of))
    return {"model_version": local.ref} | counted


def _checker(settings: Settings) -> ProblemOf:
    # Imports Flask. The service refuses texts by the same rules.
    from app.api.schemas.predict import text_problem

    return lambda text: text_problem(text, settings.limits.max_text_chars)


def _local_rows(local: LocalSource, source: Source, problem_of: ProblemOf) -> Iterator[Row]:
    texts = (record.text for record in source.records() if problem_of(record.text) is None)
    while part := list(itertools.islice(texts, LOCAL_TEXTS)):
        yield from local.classify(part)


def _write(
    task: Task, problem_of: ProblemOf, answers: Iterator[Row], added: Sequence[str] = ADDED
) -> dict[str, Any]:
    rows, failed, names = 0, 0, dict[str, str]()
    with written(task.output) as write:
        for record, answer in _joined(task.source, problem_of, answers):
            names = names or _names(record, added)
            if not record.columns.keys().isdisjoint(names.values()):
                raise task.source.wrong(f"row {rows + 1} has a key that the first row has not")
            write(record.columns | {names[name]: answer.get(name) for name in added})
            rows += 1
            failed += "error" in answer
    return {"output": str(task.output), "rows": rows, "failed": failed}


def _joined(
    source: Source, problem_of: ProblemOf, answers: Iterator[Row]
) -> Iterator[tuple[Record, Row]]:
    """Each record with its answer, or with what is wrong with its text."""
    for record in source.records():
        problem = problem_of(record.text)
        if problem is not None:
            yield record, {"error": {"code": InvalidFields.code, "message": problem}}
        elif (answer := next(answers, None)) is not None:
            yield record, answer
        else:
            raise source.wrong("there are fewer results than texts: was it changed?")
    if next(answers, None) is not None:
        raise source.wrong("there are more results than texts: was it changed?")


def _names(record: Record, added: Sequence[str]) -> dict[str, str]:
    """What is added to a row, under names that it has not."""
    return {name: f"predicted_{name}" if name in record.columns else name for name in added}
