"""Clients that send every kind of request, and count what came back: the truth about metrics.

Plain sockets: on two cores the clients must cost less than what they test.
"""

import contextlib
import itertools
import json
import socket
import threading
from collections import Counter

from tests.e2e.load import new_text

TIMEOUT_S = 20.0
BATCH = 5
JOB_TEXTS = 40
JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
REMEMBERED = [f"a good day in the year {year}" for year in range(1990, 2000)]


class Truth:
    """What clients saw: answers by (method, route, status), errors by code, texts by label."""

    def __init__(self):
        self.requests, self.errors, self.labels = Counter(), Counter(), Counter()
        self.sources, self.job_texts = 0, 0

    def __add__(self, other):
        both = Truth()
        both.requests = self.requests + other.requests
        both.errors = self.errors + other.errors
        both.labels = self.labels + other.labels
        both.sources = self.sources + other.sources
        both.job_texts = self.job_texts + other.job_texts
        return both

    def note(self, method, route, status, body):
        self.requests["OTHER" if method == "FOO" else method, route, str(status)] += 1
        if status >= 400:
            self.errors[body["code"]] += 1
        elif route == "/jobs":
            self.job_texts += JOB_TEXTS
        else:
            rows = body.get("predictions", [body])
            self.labels.update(row["label"] for row in rows)
            self.sources += len(rows)


class Wire:
    """One keep-alive connection at a time, to one port after the other."""

    def __init__(self, ports):
        self._ports, self._socket = itertools.cycle(ports), None

    def ask(self, method, path, body, kind=JSON_TYPE):
        """Status and decoded answer; what gets no answer is sent again (RFC 9112, 9.3.1)."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        raw = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        while True:
            with contextlib.suppress(ConnectionError):
                self._connect()
                self._socket.sendall(raw)
                return self._answer()
            self.close()

    def close(self):
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connect(self):
        if self._socket is None:
            where = ("127.0.0.1", next(self._ports))
            self._socket = socket.create_connection(where, TIMEOUT_S)

    def _answer(self):
        raw = self._more()
        while b"\r\n\r\n" not in raw:
            raw += self._more()
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += self._more()
        return int(lines[0].split()[1]), json.loads(body)

    def _more(self):
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError
        return data


class Clients:
    """`count` clients that send `each` requests; `truth` is what all of them have seen."""

    def __init__(self, ports, count, each):
        self.done = itertools.count()
        self.sent = 0
        self._truths = [Truth() for _ in range(count)]
        self._failures = []
        self._threads = [
            threading.Thread(target=self._run, args=(truth, [*ports[n % 2 :], *ports], each))
            for n, truth in enumerate(self._truths)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        """What they have seen, when all have ended."""
        for thread in self._threads:
            thread.join(100)
        assert self._failures == []
        return sum(self._truths[1:], start=self._truths[0])

    def _run(self, truth, ports, each):
        wire = Wire(ports)
        try:
            for number in range(each):
                method, path, route, *rest = request(number)
                truth.note(method, route, *wire.ask(method, path, *rest))
                self.sent = next(self.done)
        except Exception as error:
            self._failures.append(error)
            raise
        finally:
            wire.close()


def request(number):
    """Method, path, route, body and perhaps its type of a client's request."""
    if number % 250 == 249:
        lines = (json.dumps({"text": new_text()}) for _ in range(JOB_TEXTS))
        return "POST", "/jobs", "/jobs", "\n".join(lines).encode(), NDJSON_TYPE
    match number % 10:
        case 5 | 6:
            text = REMEMBERED[number % len(REMEMBERED)]
            return "POST", "/predict", "/predict", json.dumps({"text": text}).encode()
        case 7:
            texts = {"texts": [new_text() for _ in range(BATCH)]}
            return "POST", "/batch-predict", "/batch-predict", json.dumps(texts).encode()
        case 8:
            bad = (b"{", b'{"text": "  "}', b'{"text": 1}')[number // 10 % 3]
            return "POST", "/predict", "/predict", bad
        case 9:
            method = ("GET", "FOO")[number // 10 % 2]
            return method, f"/nothing/{number}", "unmatched", b""
    return "POST", "/predict", "/predict", json.dumps({"text": new_text()}).encode()
