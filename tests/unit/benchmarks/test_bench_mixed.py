"""The mixed stream is what its page says, and its targets judge what was measured."""

import json

from benchmarks import overload
from benchmarks.mixed import MixedTexts, closed_loop
from benchmarks.mixed_report import TARGETS, markdown
from benchmarks.texts import Texts
from tests.local_server import Handler, LocalServer

WORDS = [f"word{at} and more" for at in range(400)]


class TextServer(LocalServer):
    """Answers every text, and refuses one of ten."""

    def __init__(self):
        super().__init__(TextHandler)
        self.texts = []


class TextHandler(Handler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.texts.append(body["text"])
        number = int(body["text"].rpartition(" ")[2])
        self.answer(503 if number % 10 == 0 else 200, {})


def test_one_text_of_five_is_long_and_none_comes_twice():
    mixed = MixedTexts(Texts(WORDS))

    made = [mixed.at(number) for number in range(500)]

    assert [mixed.at(number) for number in range(500)] == made
    assert len(set(made)) == 500
    for start in range(0, 500, 5):
        rows = range(start, start + 5)
        assert sum(mixed.is_long(number) for number in rows) == 1
        assert all((len(made[number].split()) > 100) == mixed.is_long(number) for number in rows)


def test_callers_send_every_text_once_and_count_what_was_refused():
    mixed = MixedTexts(Texts(WORDS))
    with TextServer() as server:
        found = closed_loop(server.port, mixed, 1000, callers := 4, 0.3)

    used = found["texts_used"]
    assert used > callers
    assert sorted(server.texts) == sorted(mixed.at(1000 + number) for number in range(used))
    assert found["failed"] == sum(number % 10 == 0 for number in range(1000, 1000 + used))
    assert 0 < found["short"]["p50_ms"] <= found["short"]["p99_ms"]


def run(rate, p99_ms):
    latency = {"p50_ms": p99_ms / 2, "p99_ms": p99_ms}
    return {"texts_per_s": rate, "short": latency, "long": latency, "failed": 0}


def test_targets_are_ratios_within_the_run():
    check = {"checked": 40, "wrong": 0, "largest_difference": 1e-7}
    rates = {"mlserve": 72.0, "litserve-32": 24.0, "litserve-1": 60.0, "mosec-32": 30.0}
    medians = {
        name: {f"mixed@{callers}": run(rate, 6000 / rate) for callers in (16, 64)}
        | {"check": check}
        for name, rate in (rates | {"mosec-1": 80.0}).items()
    }
    medians["bare"] = {"loop": {"texts_per_s": 75.0, "budget": 512}}
    medians["mlserve"]["job"] = {"texts_per_s": 60.0, "bare_texts_per_s": 80.0}
    medians["threads"] = {"loops": {"processes": 75.0, "threads": 60.0}}

    verdicts = {target.what: target.verdict(target.measured(medians)) for target in TARGETS}

    assert verdicts["texts/s against the bare loop at its best budget, 16 callers"] == "met"
    assert verdicts["texts/s against litserve with batch 32, 64 callers"] == "met"
    assert verdicts["texts/s against mosec with batch 32, 64 callers"] == "missed"
    assert verdicts["texts/s against litserve at its best setting, 16 callers"] == "aim"
    assert verdicts["texts/s against mosec at its best setting, 16 callers"] == "missed"
    assert verdicts["bulk job against the bare loop, whole job sorted by length"] == "missed"
    about = {"cpu": "a processor", "cores": 2, "load_1m": 0.0}
    texts = {"source": "texts.jsonl", "mean_tokens": 63.0}
    page = markdown(
        {"machine": about, "commit": "none", "texts": texts, "plan": {"rounds": 1}}
        | {"medians": medians, "failed": ["mosec-1: ended"]}
    )
    assert "| mosec-1 | 64 | 80 |" in page
    assert "failed: mosec-1: ended" in page


def test_page_of_overload_has_medians_and_all_that_failed():
    found = {"peak_per_s": 8000.0, "in_time_to_peak": 0.8, "refused_p99_ms": 500.0, "slip_ms": 9.0}
    rounds = [
        {"a model": {"found": found | {"in_time_to_peak": share, "failed": 1}}}
        for share in (0.7, 0.81, 0.99)
    ]

    assert overload.markdown(rounds).splitlines()[2:] == [
        "| a model | 8,000 | 0.81 | 500 | 9 | 3 |"
    ]
