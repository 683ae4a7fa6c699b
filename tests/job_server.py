"""A small real HTTP server that speaks the contract of `/jobs`, and fails in the ways that it may.

Its model answers "positive" where a text has "good"; a text with "poison" fails.
"""

import json
import zlib
from urllib.parse import parse_qs, urlsplit

from tests.local_server import Handler, LocalServer

NO_TIMES = dict.fromkeys(
    ["completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at", "error"]
)
CREATED_AT = 1_800_000_000.0


class JobServer(LocalServer):
    """Each look at a job computes `step` more texts. What is to go wrong is set from outside.

    `lost_answers`: submissions that are carried out and not answered. `busy`: submissions that
    are answered with 409. `refused`: of any request, the next statuses. `wrong_text`: a text that
    is not taken. `rows_per_connection`: results after which the connection breaks, in the midst of
    a line.
    """

    def __init__(self):
        super().__init__(JobHandler)
        self.jobs, self.texts, self.keys, self.requests = {}, {}, {}, []
        self.step, self.lost_answers, self.busy, self.rows_per_connection = 1 << 30, 0, 0, None
        self.refused, self.wrong_text = [], None

    def submit(self, key, query, texts):
        if key in self.keys:
            return self.keys[key]
        job_id = f"00000000-0000-0000-0000-{len(self.jobs):012}"
        metadata = json.loads(query.get("metadata", "{}"))
        self.texts[job_id] = texts
        counts = {"total": len(texts), "completed": 0, "failed": 0, "cancelled": 0}
        self.jobs[job_id] = NO_TIMES | {
            "id": job_id,
            "status": "in_progress",
            "model_version": query.get("model_version", "sentiment-v2"),
            "request_counts": counts,
            "created_at": CREATED_AT,
            "in_progress_at": CREATED_AT,
            "expires_at": CREATED_AT + 86_400,
            "texts_per_s": None,
            "eta_s": None,
            "metadata": metadata,
        }
        self.keys[key] = job_id
        return job_id

    def look(self, job_id):
        job, texts = self.jobs[job_id], self.texts[job_id]
        if job["status"] == "in_progress":
            done = min(len(texts), self.done(job) + self.step)
            failed = sum("poison" in item["text"] for item in texts[:done])
            job["request_counts"] |= {"completed": done - failed, "failed": failed}
            job |= {"texts_per_s": 100.0, "eta_s": (len(texts) - done) / 100}
            if done == len(texts):
                job |= {"status": "completed", "completed_at": CREATED_AT + 10}
        return job

    def cancel(self, job_id):
        job = self.jobs[job_id]
        counts = job["request_counts"]
        counts["cancelled"] = counts["total"] - counts["completed"] - counts["failed"]
        job |= {"status": "cancelled", "cancelled_at": CREATED_AT + 5}
        return job

    def newest(self, limit):
        return list(self.jobs.values())[::-1][:limit]

    def done(self, job):
        return sum(number for name, number in job["request_counts"].items() if name != "total")

    def rows(self, job_id, after, is_failed_only):
        job = self.jobs[job_id]
        count = len(self.texts[job_id]) if job["status"] == "cancelled" else self.done(job)
        for index, item in enumerate(self.texts[job_id][:count]):
            row = {"index": index}
            if "custom_id" in item:
                row["custom_id"] = item["custom_id"]
            if "poison" in item["text"]:
                row["error"] = {"code": "text_failed", "message": "it could not"}
            else:
                label = "positive" if "good" in item["text"] else "negative"
                row |= {"label": label, "confidence": 0.75}
            if index > after and (not is_failed_only or "error" in row):
                yield row


class JobHandler(Handler):
    """One request, which reads and changes what the `JobServer` holds."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.chunks()
        if body is None:
            self.close_connection = True
            return
        texts = [json.loads(line) for line in zlib.decompress(body, 31).splitlines()]
        if not self.is_refused(texts):
            self.take(texts)

    def take(self, texts):
        """A submission that has come whole."""
        for number, item in enumerate(texts, 1):
            if item["text"] == self.server.wrong_text:
                errors = {f"line {number}": ["text: Has too much."]}
                self.answer(422, {"code": "invalid_fields", "errors": errors})
                return
        if self.server.busy:
            self.server.busy -= 1
            self.answer(409, {"code": "submission_in_progress", "detail": "still running"})
            return
        job_id = self.server.submit(self.headers["Idempotency-Key"], self.query(), texts)
        if self.server.lost_answers:
            self.server.lost_answers -= 1
            self.close_connection = True
            return
        self.answer(202, self.server.jobs[job_id])

    def do_GET(self):
        if self.is_refused():
            return
        _, _, job_id, part, *_ = [*urlsplit(self.path).path.split("/"), "", ""]
        query = self.query()
        if not job_id:
            newest = self.server.newest(int(query["limit"]))
            self.answer(200, {"jobs": newest, "next_before": None})
        elif job_id not in self.server.jobs:
            self.answer(404, {"code": "job_not_found", "detail": f"no job {job_id!r}"})
        elif part:
            self.stream(self.server.rows(job_id, int(query.get("after", -1)), part == "errors"))
        else:
            self.answer(200, self.server.look(job_id))

    def do_DELETE(self):
        if not self.is_refused():
            self.answer(202, self.server.cancel(self.path.rpartition("/")[2]))

    def is_refused(self, texts=None):
        """Note the request; whether it was answered with one of `refused`."""
        self.server.requests.append((self.command, self.path, dict(self.headers), texts))
        if self.server.refused:
            self.answer(self.server.refused.pop(0), {"code": "a_code", "detail": "a reason"})
            return True
        return False

    def query(self):
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def chunks(self):
        """The body, or None where it ends too early."""
        assert self.headers["Transfer-Encoding"] == "chunked"
        body = b""
        while size := self.rfile.readline():
            if size == b"0\r\n":
                break
            body += self.rfile.read(int(size, 16))
            self.rfile.readline()
        else:
            return None
        self.rfile.readline()
        return body

    def stream(self, rows):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, row in enumerate(rows):
            line = json.dumps(row).encode() + b"\n"
            if count == self.server.rows_per_connection:
                self.write_chunk(line[:7])
                self.close_connection = True
                return
            self.write_chunk(line)
        self.write_chunk(b"")

    def write_chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
