"""`mlserve tune` as a user types it."""

import json

import pytest
from click.testing import CliRunner

from app.models.catalog import read_manifest
from app.models.golden import Golden, encode
from cli.main import main
from tests.hugging_face_models import build_transformer
from tests.models import WORDS, activate, build_model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_transformer(root, "tiny", "v1")
    build_model(root, "linear", "v1")
    activate(root, tiny="v1", linear="v1")
    return root


@pytest.fixture
def tune(root, monkeypatch):
    monkeypatch.setenv("MLSERVE_MODELS_DIR", str(root))
    monkeypatch.setenv("MLSERVE_MAX_BATCH_SIZE", "16")

    def run(*words):
        return CliRunner().invoke(main, ["tune", *map(str, words), "--seconds", "0.2"])

    return run


@pytest.fixture
def manifest(root):
    """The file before the test, which is put back after it."""
    file = root / "tiny/v1/model.yaml"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_best_budget_is_written_and_nothing_else(tune, manifest):
    # A budget that cannot be the best one: it is none of those that are tried.
    manifest.write_text(manifest.read_text().replace("512", "500"))
    before = manifest.read_text()

    result = tune("tiny")

    assert result.exit_code == 0, result.output
    best = read_manifest(manifest.parent).batching.max_batch_tokens
    assert manifest.read_text() == before.replace("500", str(best))
    for said in (
        "BUDGET",
        "TEXTS/S",
        "PADDING",
        "MS A BATCH",
        f"max_batch_tokens: {best} (was 500)",
    ):
        assert said in result.stdout
    assert "workers that hold tiny-v1 load it again by themselves" in result.stdout


def test_dry_run_writes_nothing(tune, manifest):
    manifest.write_text(manifest.read_text().replace("512", "500"))
    before = manifest.read_text()

    result = tune("tiny-v1", "--dry-run")

    assert result.exit_code == 0, result.output
    assert "max_batch_tokens of tiny-v1 is 500; " in result.stdout
    assert manifest.read_text() == before


def test_curve_is_printed_as_json(tune, manifest):
    found = json.loads(tune("tiny", "--json", "--dry-run").stdout)

    assert found["model_version"] == "tiny-v1"
    assert (found["before"], found["written"], found["device"]) == (512, False, "cpu")
    assert found["setting"] == "max_batch_tokens"
    assert found["best"] in [point["size"] for point in found["curve"]]
    assert set(found["curve"][0]) == {"size", "texts_per_s", "padding_share", "batch_ms"}


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("texts.txt", "good day\nbad night\n", []),
        ("texts.csv", "id,text\n1,good day\n2,\n", ["--column", "text"]),
        ("texts.jsonl", '{"text": "good day"}\n', []),
    ],
)
def test_texts_of_a_file_are_measured(tune, tmp_path, name, content, more):
    file = tmp_path / name
    file.write_text(content)

    found = json.loads(tune("tiny", "--dry-run", "--json", "--file", file, *more).stdout)

    # Short ones: the whole window is one batch of the first budget.
    assert found["texts"] == "file"
    assert [point["size"] for point in found["curve"]] == [64]


def test_file_without_texts_is_refused(tune, tmp_path):
    (tmp_path / "texts.txt").write_text("\n")

    result = tune("tiny", "--file", tmp_path / "texts.txt")

    assert result.exit_code == 2
    assert "has no texts" in result.stderr


def test_texts_are_made_up_from_golden_ones_where_there_are_enough(tune, root):
    words = " ".join(f"{word} word{at}" for at, word in enumerate(" ".join(WORDS.values()).split()))
    golden = root / "linear/v1/golden.jsonl"
    golden.write_bytes(encode([Golden(text=f"good day great {words}", label="positive")]))

    try:
        found = json.loads(tune("linear", "--json").stdout)
    finally:
        golden.unlink()

    assert found["texts"] == "made up from the words of the golden texts"


def test_linear_model_gets_a_curve_over_texts_and_the_name_of_the_setting(tune, root):
    before = (root / "linear/v1/model.yaml").read_bytes()

    result = tune("linear")

    assert result.exit_code == 0, result.output
    assert "TEXTS A BATCH" in result.stdout
    assert "linear-v1 counts texts: max_batch_size in config.yaml (16)" in result.stdout
    assert "made up from a word list" in result.stdout
    assert (root / "linear/v1/model.yaml").read_bytes() == before


def test_manifest_that_cannot_be_written_is_one_line_with_the_budget(tune, manifest, monkeypatch):
    manifest.write_text(manifest.read_text().replace("512", "500"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.models.manifest_file.set_max_batch_tokens", refuse)
    result = tune("tiny")

    assert result.exit_code == 1
    assert "model.yaml: Permission denied; max_batch_tokens would be " in result.stderr


def test_unknown_model_is_one_line(tune):
    result = tune("nobody")

    assert result.exit_code == 1
    assert "nobody" in result.stderr
