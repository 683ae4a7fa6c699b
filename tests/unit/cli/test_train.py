"""`mlserve train` as a user types it."""

import json

import pytest
from click.testing import CliRunner

from cli.main import main

TRUTH = {"pos": "great lovely clever moving", "neg": "awful dull slow boring"}


@pytest.fixture
def data(tmp_path):
    """A CSV file with 120 rows."""
    rows = ["review,verdict"]
    for verdict, words in TRUTH.items():
        rows += [f'"Film {at}, {words.split()[at % 4]}",{verdict}' for at in range(60)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(rows))
    return path


def train(data, *more):
    columns = ["--text-column", "review", "--label-column", "verdict"]
    named = ["--name", "films", "--version", "v1", "--recipe", "tfidf-logreg"]
    options = [*named, *columns, "--models-dir", str(data.parent / "models"), *more]
    return CliRunner().invoke(main, ["train", str(data), *options])


def test_train_writes_a_version_and_shows_held_out_figures(data):
    result = train(data)

    assert result.exit_code == 0, result.output
    assert (data.parent / "models" / "films" / "v1" / "model.yaml").exists()
    for expected in ("PRECISION", "neg", "pos", "accuracy", "macro-F1", "films-v1"):
        assert expected in result.stdout


def test_train_with_json_prints_the_manifest_alone(data):
    result = train(data, "--json", "--seed", "7")

    manifest = json.loads(result.stdout)
    assert manifest["labels"] == ["neg", "pos"]
    assert manifest["metadata"]["seed"] == 7
    assert manifest["metadata"]["accuracy"] > 0.9


def test_train_into_the_models_directory_has_the_workers_hold_the_version(data, monkeypatch):
    monkeypatch.setenv("MLSERVE_MODELS_DIR", str(data.parent / "served"))
    monkeypatch.setenv("MLSERVE_REDIS_URL", "unix:///nonexistent/redis.sock")
    named = ["--name", "films", "--version", "v1", "--recipe", "tfidf-logreg"]
    columns = ["--text-column", "review", "--label-column", "verdict"]

    result = CliRunner().invoke(main, ["train", str(data), *named, *columns])

    assert result.exit_code == 0
    assert "films-v1 will be loaded at the next start" in result.stdout


def test_train_twice_gives_the_same_figures(data):
    first = json.loads(train(data, "--json").stdout)
    second = json.loads(train(data, "--json").stdout)

    assert first["artifacts"] == second["artifacts"]
    assert first["metadata"]["per_class"] == second["metadata"]["per_class"]


def test_label_cannot_control_the_terminal(data):
    data.write_text(data.read_text().replace("pos", "pos\x1b[2J\x9b31m"))

    table = train(data).stdout

    assert r"pos\x1b[2J\x9b31m" in table
    assert "\x1b" not in table
    assert "\x9b" not in table


def test_train_refuses_to_overwrite_another_model(data):
    train(data)

    result = train(data, "--held-out", "0.4")

    assert result.exit_code == 1
    assert "films-v1 exists with another digest" in result.stderr


@pytest.mark.parametrize(
    ("more", "exit_code", "said"),
    [
        (["--text-column", "body"], 1, "reviews.csv line 2: no column 'body'"),
        (["--name", "../films"], 1, "'../films'"),
        (["--version", "v-1"], 1, "'v-1'"),
        (["--held-out", "0.00001"], 1, "no held-out text has the label 'neg'"),
        (["--recipe", "magic"], 2, "'magic' is not one of"),
        (["--held-out", "1"], 2, "--held-out"),
        (["--seed", "-1"], 2, "--seed"),
    ],
)
def test_train_refuses_with_one_readable_line(data, more, exit_code, said):
    result = train(data, *more)

    assert result.exit_code == exit_code
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (data.parent / "models").exists()
