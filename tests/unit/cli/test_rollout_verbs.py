"""swap, rollback, unload, load and list, over a real Redis and what workers say in it."""

import json

import pytest
import yaml
from click.testing import CliRunner

from app.fleet import RETIRING
from app.models.desired import DESIRED_FILE, DESIRED_KEY, Desired, decode, write_copy
from cli.main import main
from tests.hosts import Hosts
from tests.models import activate, build_model

BOTH = ("w1@test", "w2@test")
BROKEN = {"sentiment-v1": ("golden_mismatch", "sentiment-v1: says neutral to a good day")}
NOWHERE = "unix:///nonexistent/redis.sock"


@pytest.fixture
def models_dir(tmp_path):
    """sentiment-v1 and sentiment-v2, which is active."""
    build_model(tmp_path / "models", "sentiment", "v1", strength=1.0)
    build_model(tmp_path / "models", "sentiment", "v2")
    activate(tmp_path / "models", sentiment="v2")
    return tmp_path / "models"


@pytest.fixture
def run(tmp_path, models_dir, redis_server):
    """Runs a verb; `redis_url` names another Redis."""

    def call(*args, redis_url=redis_server.url):
        settings = {
            "models_dir": str(models_dir),
            "state_dir": str(tmp_path / "state"),
            "server": {"port": 1},
            "redis": {"url": redis_url},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        return CliRunner().invoke(main, ["--config", str(tmp_path / "config.yaml"), *args])

    return call


@pytest.fixture
def hosts(redis_client, models_dir):
    """Two workers that hold both versions."""
    made = Hosts(redis_client, models_dir)
    hold(made, "sentiment-v1", "sentiment-v2")
    return made


def hold(hosts, *refs, **more):
    for hostname in BOTH:
        hosts.hold(hostname, *refs, **more)


def desired(redis_client):
    return decode(redis_client.get(DESIRED_KEY))


def test_swap_tells_of_each_worker_and_of_the_way_back(run, hosts, redis_client):
    result = run("swap", "sentiment", "v1")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "w1@test: ready",
        "w2@test: ready",
        "sentiment-v1 is active; `mlserve rollback sentiment` returns to v2",
    ]
    assert desired(redis_client).active == {"sentiment": "v1"}


def test_swap_as_json_is_one_document(run, hosts):
    shown = json.loads(run("swap", "sentiment", "v1", "--json").stdout)

    assert (shown["state"], shown["model_version"]) == ("done", "sentiment-v1")
    assert [row["hostname"] for row in shown["workers"]] == list(BOTH)


def test_worker_that_cannot_load_it_fails_the_swap(run, hosts, redis_client):
    hosts.hold("w2@test", "sentiment-v2", failed=BROKEN)

    result = run("swap", "sentiment", "v1")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "w1@test: ready",
        "w2@test: cannot hold it: sentiment-v1: says neutral to a good day",
    ]
    assert "did not become active: 1 of 2 workers cannot hold it" in result.stderr
    assert desired(redis_client).active == {"sentiment": "v2"}


def test_failed_swap_as_json_is_one_document_with_the_reasons(run, hosts):
    hold(hosts, "sentiment-v2", failed=BROKEN)

    result = run("swap", "sentiment", "v1", "--json")

    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["state"]) == (1, "failed")
    assert {row["code"] for row in shown["workers"]} == {"golden_mismatch"}


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["for people", "as json"])
def test_swap_that_takes_longer_than_its_caller_waits_goes_on(run, hosts, redis_client, form):
    hosts.hold("w2@test", "sentiment-v2")

    result = run("swap", "sentiment", "v1", "--timeout", "0.2", *form)

    assert result.exit_code == 1
    assert "w2@test" in result.output
    assert list(desired(redis_client).rollouts) == ["sentiment"]
    if form:
        assert json.loads(result.stdout)["state"] == "preparing"
    else:
        assert result.stderr == "Error: sentiment-v1: not ready in time, and goes on: w2@test\n"


def test_rollback_returns_to_the_version_before(run, hosts, redis_client):
    run("swap", "sentiment", "v1")

    result = run("rollback", "sentiment")

    assert result.exit_code == 0
    assert "sentiment-v2 is active" in result.stdout
    assert desired(redis_client).active == {"sentiment": "v2"}


def test_unload_lets_go_of_a_version(run, hosts, redis_client):
    result = run("unload", "sentiment-v1", "--json")

    assert json.loads(result.stdout) == {"model_version": "sentiment-v1"}
    assert desired(redis_client).unloaded == ["sentiment-v1"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("rollback", "sentiment"), "no other version of sentiment is held to go back to"),
        (("unload", "sentiment-v2"), "sentiment-v2 is active; swap to another version first"),
        (("unload", "sentiment-v7"), "there are: sentiment-v1, sentiment-v2"),
        (("swap", "sentiment", "v7"), "there are: sentiment-v1, sentiment-v2"),
        (("swap", "../sentiment", "v1"), "'../sentiment'"),
        (("swap", "sentiment", "v-1"), "'v-1'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_line(run, hosts, args, said):
    result = run(*args)

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("swap", "sentiment", "v1"), ("rollback", "x"), ("unload", "v1")])
def test_without_redis_the_address_is_named_and_its_password_is_not(run, args):
    result = run(*args, redis_url="redis://user:hunter2@127.0.0.1:1/0")

    assert result.exit_code == 1
    assert "Redis does not answer at redis://user:***@127.0.0.1:1/0" in result.stderr
    assert "hunter2" not in result.output


def test_without_workers_nothing_can_be_swapped(run, redis_client):
    result = run("swap", "sentiment", "v1")

    assert (result.exit_code, result.stderr) == (1, "Error: no worker holds sentiment-v1\n")


@pytest.fixture
def added(tmp_path):
    """A version elsewhere, to be taken in."""
    return build_model(tmp_path / "elsewhere", "sentiment", "v3", strength=3.0)


def test_load_installs_and_waits_for_every_worker(run, added, redis_client, models_dir):
    hold(Hosts(redis_client, added.parents[1]), "sentiment-v3")

    result = run("load", str(added))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"sentiment-v3 installed in {models_dir}",
        "w1@test: ready",
        "w2@test: ready",
        "sentiment-v3 is held by all workers",
    ]
    assert "sentiment-v3" in desired(redis_client).loaded
    assert desired(redis_client).active == {"sentiment": "v2"}


def test_load_that_a_worker_cannot_follow_fails(run, added, redis_client):
    failed = {"sentiment-v3": ("memory_limit_reached", "it needs too much")}
    hold(Hosts(redis_client, added.parents[1]), failed=failed)

    result = run("load", str(added), "--json")

    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["installed"]) == (1, True)
    assert [row["error"] for row in shown["workers"]] == ["it needs too much"] * 2


def test_load_without_workers_is_for_those_that_start_next(run, added, redis_client, models_dir):
    before = Desired(generation=5, active={"sentiment": "v2"})
    write_copy(models_dir, before)

    result = run("load", str(added))

    assert result.exit_code == 0
    assert "no worker is running: sentiment-v3 will be loaded at the next start" in result.stdout
    assert desired(redis_client).loaded == ["sentiment-v3"]


def test_load_without_redis_is_for_those_that_start_next(run, added, models_dir):
    write_copy(models_dir, Desired(generation=5, active={"sentiment": "v2"}))

    result = run("load", str(added), redis_url=NOWHERE)

    kept = decode((models_dir / DESIRED_FILE).read_bytes())
    assert "workers are unreachable" in result.stdout
    assert (kept.generation, kept.loaded) == (6, ["sentiment-v3"])


def test_list_tells_where_each_version_stands_and_why(run, hosts):
    hold(hosts, "sentiment-v2", failed=BROKEN)

    rows = json.loads(run("list", "--json").stdout)["models"]

    assert [(row["status"], row["code"]) for row in rows] == [
        ("failed", "golden_mismatch"),
        ("ready", None),
    ]
    assert "sentiment-v1: sentiment-v1: says neutral" in run("list").stdout


def test_list_by_worker_shows_what_each_one_holds(run, hosts):
    hosts.hold("w2@test", "sentiment-v1", status=RETIRING, generation=3)
    hosts.hold("w1@test", "sentiment-v2", failed=BROKEN, generation=7)

    shown = run("list", "--workers").stdout.splitlines()

    assert [line.split() for line in shown] == [
        ["WORKER", "GENERATION", "PROCESS", "VERSION", "STATUS", "MEMORY"],
        ["w1@test", "7", "of", "0", "100.0", "MB", "sentiment-v2", "ready", "2.0", "MB"],
        ["sentiment-v1", "failed", "-"],
        ["w2@test", "3", "of", "0", "100.0", "MB", "sentiment-v1", "retiring", "2.0", "MB"],
        ["w1@test:", "sentiment-v1:", "sentiment-v1:", "says", "neutral", "to", "a", "good", "day"],
    ]


def test_list_by_worker_as_json_has_every_heartbeat(run, hosts):
    shown = json.loads(run("list", "--workers", "--json").stdout)

    assert shown["hosts"] == list(BOTH)
    assert [model["ref"] for model in shown["states"][0]["models"]] == [
        "sentiment-v1",
        "sentiment-v2",
    ]


def test_list_by_worker_without_workers_says_so(run, redis_client):
    assert "no worker is running" in run("list", "--workers").stdout
    assert "workers are unreachable" in run("list", "--workers", redis_url=NOWHERE).stdout


@pytest.mark.parametrize("words", [("--name", "other"), ("--version", "v9")])
def test_load_takes_no_name_for_a_directory_that_has_one(run, tmp_path, words):
    path = build_model(tmp_path / "new", "sentiment", "v9")

    result = run("load", str(path), *words)

    assert result.exit_code == 2
    assert "model.yaml has both" in result.stderr
