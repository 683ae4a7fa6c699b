"""A small real HTTP server that speaks the contract of `/jobs`, and fails in the ways that it may.

Its model answers "positive" where a text has "good"; a text with "poison" fails.
"""

import json
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NO_TIMES = dict.fromkeys(
    ["completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at", "error"]
)
POLL_S = 0.01
CREATED_AT = 1_800_000_000.0


class Server(ThreadingHTTPServer):
    """Clients that leave are part of the tests."""

    daemon_threads = True

    def __init__(self, job_server):
        super().__init__(("127.0.0.1", 0), Handler)
        self.job_server = job_server

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class JobServer:
    """Each look at a job computes `step` more texts. What is to go wrong is set from outside.

    `lost_answers`: submissions that are carried out and not answered. `busy`: submissions that
    are answered with 409. `refused`: of any request, the next statuses. `rows_per_connection`:
    results after which the connection breaks, in the midst of a line.
    """

    def __init__(self):
        self.jobs, self.texts, self.keys, self.requests = {}, {}, {}, []
        self.step, self.lost_answers, self.busy, self.rows_per_connection = 1 << 30, 0, 0, None
        self.refused = []
        self._server = Server(self)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=[POLL_S])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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


class Handler(BaseHTTPRequestHandler):
    """One request; `state` is the `JobServer`, which it reads and changes."""

    protocol_version = "HTTP/1.1"

    @property
    def state(self):
        return self.server.job_server

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
        if self.state.busy:
            self.state.busy -= 1
            self.answer(409, {"code": "submission_in_progress", "detail": "still running"})
            return
        job_id = self.state.submit(self.headers["Idempotency-Key"], self.query(), texts)
        if self.state.lost_answers:
            self.state.lost_answers -= 1
            self.close_connection = True
            return
        self.answer(202, self.state.jobs[job_id])

    def do_GET(self):
        if self.is_refused():
            return
        _, _, job_id, part, *_ = [*urlsplit(self.path).path.split("/"), "", ""]
        query = self.query()
        if not job_id:
            self.answer(200, {"jobs": self.state.newest(int(query["limit"])), "next_before": None})
        elif job_id not in self.state.jobs:
            self.answer(404, {"code": "job_not_found", "detail": f"no job {job_id!r}"})
        elif part:
            self.stream(self.state.rows(job_id, int(query.get("after", -1)), part == "errors"))
        else:
            self.answer(200, self.state.look(job_id))

    def do_DELETE(self):
        if not self.is_refused():
            self.answer(202, self.state.cancel(self.path.rpartition("/")[2]))

    def is_refused(self, texts=None):
        """Note the request; whether it was answered with one of `refused`."""
        self.state.requests.append((self.command, self.path, dict(self.headers), texts))
        if self.state.refused:
            self.answer(self.state.refused.pop(0), {"code": "a_code", "detail": "a reason"})
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

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, rows):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, row in enumerate(rows):
            line = json.dumps(row).encode() + b"\n"
            if count == self.state.rows_per_connection:
                self.write_chunk(line[:7])
                self.close_connection = True
                return
            self.write_chunk(line)
        self.write_chunk(b"")

    def write_chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_):
        """Say nothing."""
