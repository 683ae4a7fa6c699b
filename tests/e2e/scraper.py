"""Scrapes as Prometheus does: from a process of its own, over one connection that stays.

In a thread of the test it would wait for the test's own clients. Prints a line of JSON for each
scrape until its standard input ends: status, seconds, and how many of them it waited for a core.
"""

import http.client
import json
import select
import subprocess
import sys
import time
from pathlib import Path

SCHEDULED = Path("/proc/self/schedstat")
PAUSE_S = 0.1
TIMEOUT_S = 10.0


class Scraper:
    """Scrapes 127.0.0.1:`port` while it is entered; then `statuses` and `took_s` are there.

    In `took_s` an answer that lies there while this process waits for a core has come already.
    """

    def __init__(self, port):
        self._command = [sys.executable, __file__, str(port)]
        self.statuses, self.took_s = [], []

    def __enter__(self):
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_):
        lines, _ = self._process.communicate(timeout=2 * TIMEOUT_S)
        rows = [json.loads(line) for line in lines.splitlines()]
        self.statuses = [status for status, _, _ in rows]
        self.took_s = [took_s - waited_s for _, took_s, waited_s in rows]


def waited_s():
    """For a core, so far; where the kernel does not say so, as if never."""
    return int(SCHEDULED.read_text().split()[1]) / 1e9 if SCHEDULED.exists() else 0.0


def scrape(port):
    """Until there is something to read, or nothing will ever be."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.connect()
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        began, before_s = time.perf_counter(), waited_s()
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            status = repr(error)
            connection.close()
        took_s = time.perf_counter() - began
        print(json.dumps([status, took_s, waited_s() - before_s]), flush=True)


if __name__ == "__main__":
    scrape(int(sys.argv[1]))
