"""The whole system as a user starts it: `mlserve serve` and every verb against it."""

import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import urllib3
import yaml

from tests.processes import Process, free_port
from tests.waiting import eventually

MLSERVE = str(Path(sys.executable).parent / "mlserve")
MODEL = "sentiment-v1"
JSON = {"Content-Type": "application/json"}


class Serve(Process):
    """`mlserve serve` with its own ports, state and models."""

    name = "serve"

    def __init__(self, trained, workers=1, **changes):
        super().__init__()
        self.port, self.metrics_port = free_port(), free_port()
        self.models_dir = self.directory / "models"
        shutil.copytree(trained, self.models_dir)
        settings = {
            "models_dir": "models",
            "state_dir": "state",
            "server": {"port": self.port, "threads": 16},
            "worker": {"processes": workers},
            "monitoring": {"port": self.metrics_port},
        }
        self.config = self.directory / "config.yaml"
        self.config.write_text(yaml.safe_dump(settings | changes))
        self.url = f"http://127.0.0.1:{self.port}"

    def argv(self):
        return [MLSERVE, "serve", "--config", str(self.config)]

    def start(self, timeout_s=60.0):
        return super().start(timeout_s)

    def is_ready(self):
        return "mlserve is ready" in self.logs()

    def run(self, *args):
        """One verb, as a user calls it in another terminal."""
        argv = [MLSERVE, "--config", str(self.config), *args]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd="/")

    def post(self, path, body):
        return post(self.url + path, json.dumps(body))

    def workers(self):
        """Process id by host name, as the service sees its workers."""
        rows = urllib3.request("GET", f"{self.url}/stats", timeout=10).json()["workers"]
        return {row["hostname"]: row["pid"] for row in rows}

    def family(self):
        return psutil.Process(self.pid).children(recursive=True)


def post(url, body):
    """The decoded answer of the service, whatever its status."""
    return urllib3.request("POST", url, body=body, headers=JSON, timeout=10).json()


def refused(serve):
    """Run `mlserve serve` that must not start; what it says."""
    try:
        done = subprocess.run(serve.argv(), capture_output=True, text=True, timeout=30)
        return done
    finally:
        serve.close()


def all_gone(processes):
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


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


def test_ctrl_c_ends_everything_within_10_s(trained):
    with Serve(trained) as serve:
        family = serve.family()
        serve.send(signal.SIGINT)

        assert serve.wait(10) == 0

    assert len(family) >= 4
    assert all_gone(family)


def test_killed_supervisor_leaves_nothing_and_the_next_start_is_ready_soon(trained):
    with Serve(trained) as serve:
        family = serve.family()
        serve.kill()
        eventually(lambda: all_gone(family), 10)

        # 4 s on two idle cores; the limit leaves room for a machine that does other work.
        serve.start(timeout_s=20)


def test_taken_port_is_refused_in_one_line(trained):
    serve = Serve(trained)
    with socket.create_server(("127.0.0.1", serve.port)):
        done = refused(serve)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: server.port = {serve.port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"max_batch_size": 0}, "Error: max_batch_size = 0 (from config.yaml): "),
        ({"redis": {"url": "redis://127.0.0.1:1/0"}}, "Error: Redis does not answer at redis://"),
        ({"default_model": "mood"}, "Error: the default model cannot be loaded: model 'mood' does"),
    ],
    ids=["config", "redis", "model"],
)
def test_start_that_could_only_fail_is_refused_in_one_line(trained, changes, line):
    done = refused(Serve(trained, **changes))

    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_changed_artifact_of_the_default_model_is_refused(trained):
    serve = Serve(trained)
    artifact = serve.models_dir / "sentiment/v1/classifier.skops"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"x")

    done = refused(serve)

    assert done.returncode == 1
    assert "the default model cannot be loaded: " in done.stderr
    assert "classifier.skops" in done.stderr
