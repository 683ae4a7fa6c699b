"""Harness. Compares answers with those of the bare loop over the same model."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import urllib3

TOLERANCE = 1e-6
THREADS = 16
SAMPLE_EVERY_S = 0.2
TIMEOUT_S = 10.0

# Classifies texts as the bare loop does: a label and its `confidence` for each.
Reference = Callable[[Sequence[str]], Sequence[Any]]


@dataclass(slots=True)
class Checked:
    """How many answers were compared, and what was wrong with the others."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, problem: str | None) -> None:
        """Count one answer."""
        self.answers += 1
        if problem:
            self.wrong.append(problem)


def difference(status: int, answer: Any, expected: Any) -> str | None:
    """What is wrong with an answer; None where label and probability are those of the model."""
    if status != 200 or not isinstance(answer, dict):
        return f"status {status}"
    if answer.get("label") != expected["label"]:
        return f"label {answer.get('label')!r} instead of {expected['label']!r}"
    given = answer.get("confidence")
    if not isinstance(given, float) or not abs(given - expected["confidence"]) <= TOLERANCE:
        return f"probability {given} instead of {expected['confidence']}"
    return None


def check_together(url: str, texts: Sequence[str], reference: Reference) -> Checked:
    """Send the texts from 16 threads at once, so that answers could go to the wrong caller."""
    checked = Checked()
    with (
        urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=TIMEOUT_S) as http,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        problems = pool.map(lambda pair: _ask(http, url, *pair), _pairs(texts, reference))
        for problem in problems:
            checked.add(problem)
    return checked


class Sampling:
    """Checks five answers a second in a thread of its own, while wrk makes the load."""

    def __init__(self, url: str, texts: Sequence[str], reference: Reference) -> None:
        self.checked = Checked()
        self._url = url
        self._pairs = _pairs(texts, reference)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as http:
            for pair in self._pairs:
                if self._ended.wait(SAMPLE_EVERY_S):
                    return
                self.checked.add(_ask(http, self._url, *pair))


def _pairs(texts: Sequence[str], reference: Reference) -> list[tuple[str, Any]]:
    return list(zip(texts, reference(texts), strict=True))


def _ask(http: urllib3.PoolManager, url: str, text: str, expected: Any) -> str | None:
    try:
        answer = http.request("POST", f"{url}/predict", json={"text": text})
        body = answer.json() if answer.status == 200 else None
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return type(error).__name__
    return difference(answer.status, body, expected)
