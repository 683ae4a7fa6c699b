"""The verbs that need no service, and what they say where there is none."""

import json

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.unit.cli.asking import ASKING, write_inputs

TOKEN = "correct-horse-battery-staple"
SECRET_URL = "redis://user:hunter2@127.0.0.1:1/0"


@pytest.fixture
def config(tmp_path):
    """A config file whose service, Redis and models do not exist."""
    settings = {
        "models_dir": str(tmp_path / "models"),
        "state_dir": str(tmp_path / "state"),
        "server": {"port": 1},
        "redis": {"url": SECRET_URL, "socket_timeout_s": 0.2},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def run(config, *args):
    return CliRunner().invoke(main, ["--config", str(config), *args])


def test_config_tells_where_each_value_came_from(config, monkeypatch):
    monkeypatch.setenv("MLSERVE_CACHE__TTL_SECONDS", "60")

    shown = json.loads(run(config, "config", "--json").output)

    assert shown["cache.ttl_seconds"] == {"value": 60, "from": "MLSERVE_CACHE__TTL_SECONDS"}
    assert shown["server.port"] == {"value": 1, "from": "config.yaml"}
    assert shown["max_batch_size"]["from"] == "default"


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["for people", "as json"])
def test_config_masks_the_password_of_redis(config, form):
    result = run(config, "config", *form)

    assert "redis://user:***@127.0.0.1:1/0" in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h/0?password=hunter2&db=1", "redis://h/0?password=***&db=1"),
        ("rediss://h/0?db=1&ssl_password=hunter2", "rediss://h/0?db=1&ssl_password=***"),
        ("redis://:hun@hunter2@h/0", "redis://:***@h/0"),
    ],
)
def test_config_masks_a_password_wherever_the_address_has_it(config, monkeypatch, url, shown):
    monkeypatch.setenv("MLSERVE_REDIS_URL", url)

    result = run(config, "config", "--json")

    assert json.loads(result.output)["redis.url"]["value"] == shown


@pytest.mark.parametrize("verb", ["list", "serve"])
def test_malformed_address_of_redis_is_one_line(config, monkeypatch, verb):
    monkeypatch.setenv("MLSERVE_REDIS_URL", "redis://:hun/ter2@127.0.0.1:1/0")

    result = run(config, verb)

    assert result.exit_code == 1
    assert result.output.startswith("Error: redis.url: ")
    assert result.output.count("\n") == 1
    assert "hun" not in result.output


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["for people", "as json"])
def test_config_masks_the_admin_token_and_tells_where_it_came_from(config, monkeypatch, form):
    unset = run(config, "config", *form).output
    monkeypatch.setenv("MLSERVE_ADMIN__TOKEN", TOKEN)

    shown = run(config, "config", *form).output

    assert "***" in shown.replace("redis://user:***", "")
    assert "MLSERVE_ADMIN__TOKEN" in shown
    assert "***" not in unset.replace("redis://user:***", "")
    assert TOKEN not in shown


@pytest.mark.parametrize("args", ASKING, ids=" ".join)
def test_verb_without_service_names_the_address_and_the_way_out(
    config, args, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    result = run(config, *args)

    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "http://127.0.0.1:1" in result.output
    assert "mlserve serve" in result.output


def test_list_without_service_shows_the_disk_and_says_so(config):
    result = run(config, "list")

    assert result.exit_code == 0
    assert "no models in" in result.output
    assert "workers are unreachable" in result.output


def test_list_as_json_is_one_document(config):
    shown = json.loads(run(config, "list", "--json").output)

    assert shown["models"] == []
    assert shown["workers"]["reachable"] is False


@pytest.mark.parametrize(
    "args",
    [
        ("predict",),
        ("predict", "--top-k", "0", "a"),
        ("benchmark", "v2", "0"),
        ("benchmark", "v2", "10", "--batch", "101"),
        ("serve", "--port", "0"),
        ("load", "/nonexistent/model"),
        ("job", "submit", "/nonexistent.txt"),
        ("job", "submit", __file__, "--metadata", "no value"),
        ("job", "results", "an id", "--output", "results.parquet"),
        ("job", "results", "an id", "--after", "-1"),
        ("job", "list", "--limit", "0"),
        ("predict", "a text", "--output", "out.csv"),
        ("predict", "--file", __file__, "--output", "out.parquet"),
        ("predict", "--file", __file__, "--output", "out.csv", "--top-k", "2"),
        ("predict", "--file", __file__, "--job", "an id"),
        ("predict", "--file", "a.csv", "--output", "./a.csv"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(config, args):
    assert run(config, *args).exit_code == 2


def test_wrong_config_is_one_line_and_exit_1(config):
    config.write_text("server: {prot: 1}\n")

    result = run(config, "list")

    assert result.exit_code == 1
    assert result.output.startswith("Error: server.prot = 1: unknown key; allowed: host")
    assert result.output.count("\n") == 1


def test_config_option_of_the_verb_wins_over_the_global_one(config, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("max_batch_size: 7\n")

    shown = json.loads(run(config, "config", "--json", "--config", str(other)).output)

    assert shown["max_batch_size"] == {"value": 7, "from": "other.yaml"}


def test_every_verb_has_json_and_config():
    groups = {"": main, "job ": main.commands["job"]}
    verbs = {
        before + name: verb
        for before, group in groups.items()
        for name, verb in group.commands.items()
    }
    assert verbs.pop("job")
    for name, command in verbs.items():
        options = {option for param in command.params for option in param.opts}
        assert {"--json", "--config"} <= options, name
