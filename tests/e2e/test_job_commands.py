"""Jobs by command line against the real service: Redis, workers and API, one of them restarted."""

import csv
import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
import yaml

from tests.models import activate, build_model
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.receivers import Receiver
from tests.waiting import eventually

MODEL = "sentiment-v1"
SECRET = "correct-horse-battery-staple"
ENV = {
    "MLSERVE_JOBS__WEBHOOK_ALLOW": "127.0.0.1",
    "MLSERVE_JOBS__WEBHOOK_SECRET": SECRET,
    "MLSERVE_JOBS__WEBHOOK_ALLOW_PRIVATE": "true",
    # Small chunks: what is looked at should be under way.
    "MLSERVE_JOBS__TARGET_CHUNK_SECONDS": "0.05",
    "MLSERVE_JOBS__MAX_BATCH_SIZE": "10",
    "MLSERVE_MONITORING__FEEDBACK": "true",
}


class Service:
    """A service with one worker, and the command line before it."""

    def __init__(self, models_dir):
        self.redis = RedisServer()
        self.worker = WorkerProcess(self.redis.url, models_dir, env=ENV)
        self.api = ApiProcess(self.redis.url, models_dir, env=ENV)
        self.config = self.api.directory / "config.yaml"

    @contextmanager
    def running(self):
        known = {"server": {"port": self.api.port}, "monitoring": {"feedback": True}}
        self.config.write_text(yaml.safe_dump(known))
        with self.redis, side_by_side(self.worker, self.api):
            eventually(lambda: self.run("predict", "good").returncode == 0, 30)
            yield

    def argv(self, *args):
        code = "from cli.main import main; main()"
        return [sys.executable, "-c", code, "--config", str(self.config), *map(str, args)]

    def run(self, *args, **options):
        argv = self.argv(*args)
        return subprocess.run(argv, capture_output=True, text=True, timeout=90, **options)

    def is_running_a_job(self):
        url = f"{self.api.url}/jobs?limit=1"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return [job["status"] for job in json.load(answer)["jobs"]] == ["in_progress"]

    def start(self, *args):
        pipe = subprocess.PIPE
        return subprocess.Popen(self.argv(*args), stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1")
    activate(root, sentiment="v1")
    service = Service(root)
    with service.running():
        yield service


@pytest.fixture
def reviews(tmp_path):
    """20,000 rows, some of them blank, in a CSV."""
    return write_reviews(tmp_path / "reviews.csv", 20_000, "a good day")


def write_reviews(path, rows, text):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["n", "review"])
        for number in range(rows):
            writer.writerow([number, "" if number % 1000 == 7 else f"{text}, {number}"])
    return path


def test_job_is_submitted_watched_and_fetched(service, reviews):
    submitted = service.run("job", "submit", reviews, "--column", "review", "--metadata", "a=b")
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()

    watched = service.run("job", "watch", job_id)
    assert watched.returncode == 0
    assert "completed: 19980 of 19980 texts" in watched.stdout
    shown = json.loads(service.run("job", "status", job_id, "--json").stdout)
    assert (shown["metadata"], shown["model_version"]) == ({"a": "b"}, MODEL)
    rows = list(map(json.loads, service.run("job", "results", job_id).stdout.splitlines()))
    assert [row["index"] for row in rows] == list(range(19_980))
    assert all("label" in row for row in rows)
    assert service.run("job", "errors", job_id).stdout == ""
    assert job_id in service.run("job", "list").stdout


def test_same_key_and_file_are_the_same_job(service, reviews):
    args = ("job", "submit", reviews, "--column", "review", "--idempotency-key", "once")

    first, again = service.run(*args), service.run(*args)

    assert first.returncode == 0, first.stderr
    assert again.stdout == first.stdout


def test_refused_text_is_told_by_the_line_of_the_file(service, tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('review\n\n"good\nday"\n\x01\n')

    result = service.run("job", "submit", path, "--column", "review")

    assert result.returncode == 1
    assert "422 invalid_fields: line 5: " in result.stderr
    assert "control character" in result.stderr


def test_cancelled_job_keeps_what_it_has(service, tmp_path):
    # So long that it runs while the command starts.
    reviews = write_reviews(tmp_path / "reviews.csv", 40_000, "a good day " * 80)
    job_id = service.run("job", "submit", reviews, "--column", "review").stdout.strip()
    eventually(lambda: service.run("job", "results", job_id).stdout, 30)

    cancelled = service.run("job", "cancel", job_id)

    assert cancelled.returncode == 0, cancelled.stderr
    watched = service.run("job", "watch", job_id, "--json")
    assert (watched.returncode, json.loads(watched.stdout)["status"]) == (1, "cancelled")
    rows = service.run("job", "results", job_id).stdout.splitlines()
    assert len(rows) == 39_960
    assert "cancelled" in service.run("job", "errors", job_id).stdout


def test_file_is_predicted_while_the_api_is_restarted(service, reviews, tmp_path):
    output = tmp_path / "out.csv"
    args = ("predict", "--file", reviews, "--column", "review", "--output", output)
    with service.start(*args) as predict:
        # By HTTP: the job may have ended before a command has started.
        eventually(service.is_running_a_job, 30)
        service.api.kill()
        service.api.start()
        told = predict.communicate(timeout=90)

    assert predict.returncode == 1, told  # for the blank texts
    assert "20000 rows written" in told[0]
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == [str(number) for number in range(20_000)]
    wrong = [row["n"] for row in rows if bool(row["label"]) == bool(row["error"])]
    assert wrong == []
    assert sum(bool(row["error"]) for row in rows) == 20


def test_interrupted_watch_leaves_the_job_alone(service, reviews):
    job_id = service.run("job", "submit", reviews, "--column", "review").stdout.strip()
    with service.start("job", "watch", job_id) as watch:
        watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, told = watch.communicate(timeout=20)

    assert f"`mlserve job watch {job_id}` comes back to it" in told
    assert service.run("job", "watch", job_id).returncode == 0


def test_end_is_told_by_webhook(service, reviews):
    with Receiver() as receiver:
        webhook = f"http://127.0.0.1:{receiver.port}/hook"
        args = ("--column", "review", "--webhook", webhook, "--json")
        job = json.loads(service.run("job", "submit", reviews, *args).stdout)
        service.run("job", "watch", job["id"])
        (seen,) = eventually(lambda: receiver.received)

    shown = json.loads(service.run("job", "status", job["id"], "--json").stdout)
    assert json.loads(seen.body) == shown
    assert seen.headers["X-Mlserve-Webhook-Id"] == job["id"]


def test_true_labels_of_a_predicted_file_are_counted(service, tmp_path):
    texts, predicted = tmp_path / "texts.txt", tmp_path / "out.csv"
    texts.write_text("\n".join(f"a good day, {number}" for number in range(200)))
    done = service.run("predict", "--file", texts, "--output", predicted)
    assert done.returncode == 0, done.stderr
    with predicted.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"positive"}
    labels = tmp_path / "labels.csv"
    told = [
        f"{row['prediction_id']},{'positive' if n % 10 else 'negative'}"
        for n, row in enumerate(rows)
    ]
    labels.write_text("\n".join(["prediction_id,label", *told]))

    given, again = service.run("feedback", labels), service.run("feedback", labels)

    assert (given.returncode, again.returncode) == (0, 0), given.stderr
    assert given.stdout == "200 rows: 200 recorded, 0 corrected, 0 duplicate, 0 skipped\n"
    assert again.stdout == "200 rows: 0 recorded, 0 corrected, 200 duplicate, 0 skipped\n"
    shown = json.loads(service.run("feedback", "--show", "sentiment", "--json").stdout)
    live = {figure["name"]: figure["live"] for figure in shown["windows"][0]["figures"]}
    assert (shown["model_version"], shown["windows"][0]["texts"]) == (MODEL, 200)
    assert live["accuracy"] == 0.9
    # The probabilities of all labels come from the worker.
    assert 0 < live["brier"] < 2


def test_webhook_to_another_host_is_refused(service, reviews):
    args = ("--column", "review", "--webhook", "https://example.net/")

    result = service.run("job", "submit", reviews, *args)

    assert result.returncode == 1
    assert "422 webhook_refused: webhook: example.net is not in jobs.webhook_allow" in result.stderr
