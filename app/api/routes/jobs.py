"""API process. Bulk jobs: submit, ask, list, cancel, read the results."""

import re
from collections.abc import Iterator
from contextlib import closing, nullcontext
from itertools import islice
from typing import Any

import msgspec
from flask import Response, request
from msgspec.structs import replace

from app.api.extensions import REQUEST_ID_HEADER, RETRY_AFTER_HEADER, TEXT, Blueprint
from app.api.front import DEPARTURE
from app.api.gate import JSON_TYPE
from app.api.intake import NDJSON_TYPE, Intake
from app.api.routes.common import ASK_AGAIN_S, MAX_ID_CHARS, Answer
from app.api.schemas.jobs import (
    EXAMPLE,
    JobSchema,
    JobsSchema,
    Line,
    RowSchema,
    body_schema,
    retry_after_s,
)
from app.api.services import services
from app.errors import (
    BrokerUnavailable,
    CancelRefused,
    IdempotencyKeyReused,
    InvalidFields,
    JobEmpty,
    JobGone,
    JobNotFound,
    JobTooLarge,
    JsonTooLarge,
    MalformedBody,
    MessageRefused,
    ModelNotFound,
    ModelUnavailable,
    NoWorker,
    ServingError,
    StorageFull,
    SubmissionInProgress,
    SubmissionLost,
    UnsupportedMediaType,
    WebhookRefused,
)
from app.jobs.records import Job, Row
from app.jobs.view import describe

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
DEFAULT_PAGE_JOBS, MAX_PAGE_JOBS = 20, 100
# What a number in JSON can be exactly.
MAX_INDEX = 1 << 53
# Rows that are encoded and sent together.
PIECE_ROWS = 500
NO_STORE = {"Cache-Control": "no-store"}

CANNOT_SUBMIT = (
    *(MalformedBody, InvalidFields, UnsupportedMediaType, WebhookRefused),
    *(JobEmpty, JobTooLarge, JsonTooLarge, StorageFull, SubmissionLost),
    *(SubmissionInProgress, IdempotencyKeyReused),
    *(ModelNotFound, NoWorker, ModelUnavailable),
    *(BrokerUnavailable, MessageRefused, ServingError),
)
CANNOT_READ = (JobNotFound, JobGone, BrokerUnavailable, MessageRefused, ServingError)

blp = Blueprint("jobs", __name__, description="Classify many texts, durably")

_KEY = re.compile(r'"([!#-~ ]{1,255})"|([!#-~]{1,255})')
LOCATION_HEADER = {"Location": {"description": "Where to ask how far it is.", "schema": TEXT}}
REPLAYED = {
    REPLAYED_HEADER: {
        "description": "`true` where the job was submitted before with this key.",
        "schema": TEXT,
    }
}


def parameter(name: str, description: str, place: str = "query", **schema: Any) -> dict[str, Any]:
    """An OpenAPI parameter."""
    what = {"type": "string", **schema}
    return {"in": place, "name": name, "description": description, "schema": what}


AFTER = parameter(
    "after", "Only rows with a higher `index`.", type="integer", minimum=-1, maximum=MAX_INDEX
)
SUBMIT_PARAMETERS = (
    parameter(
        KEY_HEADER,
        "With the same key and body, the answer to the first submission is given again.",
        place="header",
    ),
    parameter(
        "Content-Encoding",
        "`gzip` (or `x-gzip`), for either kind of body.",
        place="header",
        enum=["identity", "gzip", "x-gzip"],
    ),
    parameter("model_version", "With NDJSON: as the field of that name."),
    parameter("metadata", "With NDJSON: as the field of that name, a JSON object."),
    parameter("webhook", "With NDJSON: as the field of that name."),
)


@blp.route("/jobs", methods=["POST"])
@blp.takes(
    {
        JSON_TYPE: (
            body_schema,
            {"texts": ["I love this", "I hate that"], "metadata": {"batch": "7"}},
        ),
        NDJSON_TYPE: (Line.schema, {"custom_id": "review-1", "text": "I love this"}),
    }
)
@blp.response(
    202,
    JobSchema,
    example=EXAMPLE,
    headers=REQUEST_ID_HEADER | LOCATION_HEADER | RETRY_AFTER_HEADER | REPLAYED,
)
@blp.reads(*SUBMIT_PARAMETERS)
@blp.raises(*CANNOT_SUBMIT)
def submit() -> Answer:
    """Have many texts classified.

    All texts are accepted, or none. A larger job is sent as NDJSON, a line a text; it is read
    while it comes. The model version is fixed now.
    """
    has = services()
    key = _key(request.headers.get(KEY_HEADER))
    intake = Intake(request.environ, request.args.to_dict(), has.gate, has.settings)
    answer, is_replay = has.jobs.submit(intake, key, _described)
    headers = {"Location": f"/jobs/{answer['id']}", "Retry-After": str(ASK_AGAIN_S)}
    return answer, 202, headers | ({REPLAYED_HEADER: "true"} if is_replay else {})


@blp.route("/jobs")
@blp.response(200, JobsSchema, headers=REQUEST_ID_HEADER)
@blp.reads(
    parameter("limit", "Jobs in one answer.", type="integer", minimum=1, maximum=MAX_PAGE_JOBS),
    parameter("before", "Jobs that are older than this one; `next_before` of the last page."),
)
@blp.raises(InvalidFields, JobNotFound, BrokerUnavailable, ServingError)
@blp.admin
def list_jobs() -> Answer:
    """The jobs of all callers, the newest first: for operators.

    Whoever knows the id of a job can read and cancel it.
    """
    has = services()
    limit = _integer("limit", DEFAULT_PAGE_JOBS, 1, MAX_PAGE_JOBS)
    before = request.args.get("before")
    page = has.jobs.page(limit, None if before is None else before[:MAX_ID_CHARS])
    found = [_described(job) for job in page.jobs]
    return {"jobs": found, "next_before": page.next_before}, 200, dict(NO_STORE)


@blp.route("/jobs/<job_id>")
@blp.response(200, JobSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER | RETRY_AFTER_HEADER)
@blp.raises(*CANNOT_READ)
def get_job(job_id: str) -> Answer:
    """How far a job is. There is a `Retry-After` while it runs."""
    job = services().jobs.read(job_id[:MAX_ID_CHARS])
    return _described(job), 200, NO_STORE | _ask_again(job)


@blp.route("/jobs/<job_id>", methods=["DELETE"])
@blp.response(202, JobSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER | RETRY_AFTER_HEADER)
@blp.raises(CancelRefused, *CANNOT_READ)
def cancel(job_id: str) -> Answer:
    """Cancel a job: none of its chunks is begun any more.

    What is being computed now is still delivered. The same again changes nothing.
    """
    job = services().jobs.cancel(job_id[:MAX_ID_CHARS])
    return _described(job), 202, NO_STORE | _ask_again(job)


@blp.route("/jobs/<job_id>/results")
@blp.returns(RowSchema, content_type=NDJSON_TYPE, example={"index": 0, "label": "positive"})
@blp.reads(AFTER)
@blp.raises(InvalidFields, *CANNOT_READ)
def results(job_id: str) -> Response:
    """A line for each text, in the order of the texts.

    Of a job that runs, the lines up to the first text that has no result; `after` goes on from
    there. Of one that has ended, every text has a line.
    """
    return _streamed(_rows(job_id))


@blp.route("/jobs/<job_id>/errors")
@blp.returns(
    RowSchema,
    content_type=NDJSON_TYPE,
    example={"index": 3, "error": {"code": "text_failed", "message": "..."}},
)
@blp.reads(AFTER)
@blp.raises(InvalidFields, *CANNOT_READ)
def errors(job_id: str) -> Response:
    """The lines of the results that have an error."""
    return _streamed(row for row in _rows(job_id) if row.error is not None)


def _described(job: Job) -> dict[str, Any]:
    return describe(job, services().jobs.ledger.now())


def _ask_again(job: Job) -> dict[str, str]:
    if job.has_ended:
        return {}
    return {"Retry-After": str(retry_after_s(job, services().jobs.ledger.now()))}


def _rows(job_id: str) -> Iterator[Row]:
    has, name = services(), job_id[:MAX_ID_CHARS]
    rows = has.jobs.rows(name, _integer("after", -1, -1, MAX_INDEX))
    id_of = has.feedback.ids_of(has.jobs.read(name)) if has.feedback else _no_id
    return (replace(row, scores=None, prediction_id=id_of(row)) for row in rows)


def _no_id(row: Row) -> None:
    return None


def _streamed(rows: Iterator[Row]) -> Response:
    pieces = _pieces(rows, request.environ.get(DEPARTURE))
    return Response(pieces, content_type=NDJSON_TYPE, headers=NO_STORE | {"Accept-Ranges": "none"})


def _pieces(rows: Iterator[Row], departure: Any) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    with closing(departure) if departure is not None else nullcontext():
        while some := list(islice(rows, PIECE_ROWS)):
            yield encoder.encode_lines(some)
            if len(some) < PIECE_ROWS or (departure is not None and departure()):
                return


def _key(given: str | None) -> str | None:
    if given is None:
        return None
    # A structured header (RFC 8941) has quotes; most clients send the bare key.
    found = _KEY.fullmatch(given.strip())
    if found is None:
        raise InvalidFields({KEY_HEADER: ["Must be 1 to 255 printable ASCII characters."]})
    return found[1] or found[2]


def _integer(name: str, default: int, lowest: int, highest: int) -> int:
    given = request.args.get(name)
    if given is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,16}", given) or not lowest <= int(given) <= highest:
        raise InvalidFields({name: [f"Must be a whole number from {lowest} to {highest}."]})
    return int(given)
