"""The whole system as a user starts it: `mlserve serve` and every verb against it."""

import json
import shlex
import shutil
import subprocess
import time

import psutil
import pytest
import urllib3
import yaml

from tests.e2e.serving import Serve, post
from tests.waiting import eventually

MODEL = "sentiment-v1"


@pytest.fixture(scope="module")
def serve(trained):
    with Serve(trained, workers=2) as serve:
        yield serve


def test_curl_line_of_the_screen_gets_a_prediction(serve):
    line = next(line for line in serve.logs().splitlines() if " curl " in line)
    words = shlex.split(line)

    answer = post(words[words.index("-s") + 1], words[words.index("-d") + 1])

    assert answer["label"] == "positive"
    assert answer["model_version"] == MODEL


def test_screen_names_url_models_docs_and_the_way_out(serve):
    screen = serve.logs().partition("mlserve is ready at ")[2]

    assert screen.startswith(serve.url)
    for expected in (f"{MODEL} (default), accuracy 1.000", f"{serve.url}/docs", "Ctrl-C"):
        assert expected in screen


def test_batch_of_ten_is_answered_within_100_ms(serve):
    texts = [f"this is text number {number} and it is great" for number in range(10)]
    took_ms = []
    for _ in range(5):
        started = time.perf_counter()
        answer = serve.post("/batch-predict", {"texts": texts})
        took_ms.append((time.perf_counter() - started) * 1000)

    assert len(answer["predictions"]) == 10
    assert min(took_ms) < 100


def test_predict_asks_the_service(serve, tmp_path):
    file = tmp_path / "texts.csv"
    file.write_text("id,review\n1,I love it\n2,I hate it\n")

    done = serve.run(
        "predict", "what a lovely day", "--file", str(file), "--column", "review", "--json"
    )

    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["model_version"] == MODEL
    assert [row["label"] for row in shown["predictions"]] == ["positive", "positive", "negative"]


def test_predict_locally_gives_the_same_numbers(serve):
    texts = ["I love it", "I hate it", "it is a table"]

    remote, local = (
        json.loads(serve.run("predict", *texts, "--json", *more).stdout)
        for more in ((), ("--local",))
    )

    assert remote["model_version"] == local["model_version"]
    for one, other in zip(remote["predictions"], local["predictions"], strict=True):
        assert one["label"] == other["label"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-6)


def test_refused_text_is_one_line_that_names_the_field(serve):
    done = serve.run("predict", "   ")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: the service answered 422 invalid_fields: text: ")
    assert done.stderr.count("\n") == 1


def test_list_tells_who_holds_the_model(serve):
    shown = json.loads(serve.run("list", "--json").stdout)

    row = next(row for row in shown["models"] if row["ref"] == MODEL)
    assert (row["status"], row["default"]) == ("ready", True)
    assert row["loaded_on"]
    assert MODEL in serve.run("list").stdout


def test_stats_count_what_was_predicted(serve):
    def texts():
        counts = json.loads(serve.run("stats", "--json").stdout)["counts"]
        return sum(row["texts"] for row in counts["predictions"])

    before = texts()
    serve.post("/batch-predict", {"texts": ["one", "two", "three"]})

    assert texts() == before + 3
    assert "/batch-predict" in serve.run("stats").stdout


def test_benchmark_measures_the_real_path(serve):
    done = serve.run(
        "benchmark", "sentiment", "200", "--batch", "5", "--concurrency", "4", "--json"
    )

    shown = json.loads(done.stdout)
    assert (shown["predictions"], shown["errors"], shown["path"]) == (200, {}, "http")
    assert shown["latency_ms"]["p50"] <= shown["latency_ms"]["p99"]


def test_metrics_of_all_processes_are_on_the_monitoring_port(serve):
    url = f"http://127.0.0.1:{serve.metrics_port}/metrics"
    assert b"mlserve_http_requests_total" in urllib3.request("GET", url).data


def test_load_installs_an_archive_and_the_worker_answers_with_it(serve, tmp_path):
    version = tmp_path / "model"
    shutil.copytree(serve.models_dir / "sentiment/v1", version)
    manifest = yaml.safe_load((version / "model.yaml").read_text())
    (version / "model.yaml").write_text(yaml.safe_dump(manifest | {"version": "v9"}))
    archive = shutil.make_archive(str(tmp_path / "v9"), "zip", version)

    done = serve.run("load", archive, "--json")

    shown = json.loads(done.stdout)
    assert (done.returncode, shown["ref"], shown["installed"]) == (0, "sentiment-v9", True)
    assert {row["status"] for row in shown["workers"]} == {"ready"}
    answer = serve.post("/predict", {"text": "great", "model_version": "sentiment-v9"})
    assert answer["model_version"] == "sentiment-v9"
    assert "was already installed" in serve.run("load", archive).stdout


def test_second_service_on_the_same_directory_is_refused(serve):
    done = subprocess.run(serve.argv(), capture_output=True, text=True, timeout=30)

    assert done.returncode == 1
    assert f"another `mlserve serve` (pid {serve.pid})" in done.stderr


def answers_within_1_s(serve):
    # Redis may still hand one request to the connection of a process that is just dying.
    try:
        body = {"text": "great"}
        answer = urllib3.request(
            "POST", f"{serve.url}/predict", json=body, timeout=1, retries=False
        )
    except urllib3.exceptions.TimeoutError:
        return False
    return answer.status == 200


def test_predictions_succeed_again_within_5_s_of_a_killed_worker(serve):
    workers = eventually(lambda: len(serve.workers()) == 2 and serve.workers(), 30)
    hostname, pid = workers.popitem()

    psutil.Process(pid).kill()
    killed_at = time.monotonic()

    eventually(lambda: answers_within_1_s(serve), 10)
    assert time.monotonic() - killed_at < 5
    assert eventually(lambda: serve.workers().get(hostname, pid) != pid, 60)
    url = f"http://127.0.0.1:{serve.metrics_port}/metrics"
    lost = b'mlserve_processes_lost_total{process="worker"} 1.0'
    assert lost in urllib3.request("GET", url).data
