"""Clients that never ask the same thing twice, and check every answer against the plain model."""

import itertools
import random
import threading
import time
from collections import Counter
from typing import NamedTuple

import urllib3

from tests.models import LABELS, WORDS, train

NO_RETRIES = urllib3.Retry(0, redirect=False)
# Clients share the processor with what they test: they think before they ask again.
THINK_S = 0.005
VOCABULARY = " ".join(WORDS.values()).split()


class Seen(NamedTuple):
    """One request; status 0 and the error's name where there was no HTTP answer."""

    text: str
    status: int
    code: str
    cache: str
    scores: dict
    took_s: float
    began_at: float


class Client:
    """One keep-alive connection to each of some ports; a refused one is tried on the next."""

    def __init__(self, ports, timeout_s=10.0):
        pools = [urllib3.HTTPConnectionPool("127.0.0.1", p, timeout=timeout_s) for p in ports]
        self.pools, self.ports = pools, itertools.cycle(range(len(pools)))
        # Requests sent twice: a server that stops may close a connection as one is on its way, and
        # HTTP leaves it to the client to send that again (RFC 9112, 9.3.1).
        self.resent = 0

    def ask(self, text):
        """The answer to `text`, whatever it is."""
        began_at = time.monotonic()
        for _ in self.pools:
            pool = self.pools[next(self.ports)]
            status, code, cache, scores = self._ask(pool, text)
            if code == "ProtocolError":
                self.resent += 1
                status, code, cache, scores = self._ask(pool, text)
            if code != "NewConnectionError":
                break
        return Seen(text, status, code, cache, scores, time.monotonic() - began_at, began_at)

    def _ask(self, pool, text):
        body = {"text": text, "top_k": len(LABELS)}
        try:
            answer = pool.request("POST", "/predict", json=body, retries=NO_RETRIES)
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            return 0, type(reason).__name__, "", {}
        decoded = answer.json()
        scores = {row["label"]: row["score"] for row in decoded.get("scores", ())}
        return answer.status, decoded.get("code", ""), answer.headers.get("X-Cache", ""), scores

    def close(self):
        """Close the connections."""
        for pool in self.pools:
            pool.close()


class Load:
    """Clients in threads, each asking for one new text after another."""

    def __init__(self, *ports, clients=4):
        self.seen = []
        self.resent = 0
        self._ports = ports
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number):
        # Clients begin at different ports.
        client = Client(
            [*self._ports[number % len(self._ports) :], *self._ports][: len(self._ports)]
        )
        while not self._stop.wait(THINK_S):
            self.seen.append(client.ask(new_text()))
        self.resent += client.resent
        client.close()

    def counts(self):
        """How many requests ended how: `{"200": 990, "504 prediction_timeout": 1}`."""
        return Counter(f"{seen.status} {seen.code}".strip() for seen in self.seen)

    def slowest_s(self):
        """The longest that a client waited for whatever it got."""
        return max(seen.took_s for seen in self.seen)


_numbers = itertools.count()
_random = random.Random(0)


def new_text():
    """Some words that the model knows, and one that nobody ever sent."""
    words = _random.choices(VOCABULARY, k=_random.randint(1, 6))
    return " ".join([*words, f"text{next(_numbers)}"])


def wrong(seen):
    """The answered requests whose scores are not those of the model."""
    answered = [one for one in seen if one.status == 200]
    expected = train().predict_proba([one.text for one in answered]) if answered else []
    return [
        one
        for one, row in zip(answered, expected, strict=True)
        if any(abs(one.scores[label] - p) > 1e-6 for label, p in zip(LABELS, row, strict=True))
    ]
