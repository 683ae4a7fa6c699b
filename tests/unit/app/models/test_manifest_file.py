"""One value of model.yaml is written, and the rest of the file stays as its author left it."""

import stat

import msgspec
import pytest

from app.errors import ManifestInvalid
from app.models.base import Batching
from app.models.catalog import read_manifest
from app.models.manifest_file import set_max_batch_tokens
from tests.models import build_model, edit_manifest

HEAD = (
    "# Made by hand: größer, 文, 😀\nname: tiny\nversion: v1\nformat: skops\n"
    "labels: ['é', \"b\"]  # two\nartifacts: []\n"
)


@pytest.fixture
def version(tmp_path):
    return tmp_path


def written(version, text):
    (version / "model.yaml").write_bytes(text.encode())
    set_max_batch_tokens(version, 768)
    return (version / "model.yaml").read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            "batching:\n  max_batch_tokens: 512  # a guess\n  cost: padded_tokens\n",
            "batching:\n  max_batch_tokens: 768  # a guess\n  cost: padded_tokens\n",
            id="block",
        ),
        pytest.param(
            "batching: {cost: padded_tokens, max_batch_tokens: 512}\n",
            "batching: {cost: padded_tokens, max_batch_tokens: 768}\n",
            id="flow",
        ),
        pytest.param(
            "batching:\n    cost: padded_tokens  # the default budget\ndevice: cpu\n",
            "batching:\n    max_batch_tokens: 768\n"
            "    cost: padded_tokens  # the default budget\ndevice: cpu\n",
            id="block without a budget",
        ),
        pytest.param(
            'batching: {"cost": "padded_tokens"}',
            'batching: {max_batch_tokens: 768, "cost": "padded_tokens"}',
            id="flow without a budget",
        ),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_only_the_budget_is_written(version, before, after, line_end):
    ends = {"old": "\n", "new": line_end}
    before, after = ((HEAD + text).replace(ends["old"], ends["new"]) for text in (before, after))

    found = written(version, before)

    # A key that is added ends its line as YAML allows, whatever the others do.
    assert found.replace("\r\n", "\n") == after.replace("\r\n", "\n")
    assert read_manifest(version).batching.max_batch_tokens == 768


def test_what_load_writes_can_be_changed_and_says_the_same_but_for_the_budget(tmp_path):
    path = build_model(tmp_path)
    edit_manifest(path, batching=Batching(cost="padded_tokens"))
    before = read_manifest(path)

    now = set_max_batch_tokens(path, 64)

    assert now == msgspec.structs.replace(
        before, batching=Batching(cost="padded_tokens", max_batch_tokens=64)
    )
    assert now.digest != before.digest
    assert now.untuned_digest == before.untuned_digest


def test_manifest_without_a_budget_to_change_is_left_alone(version):
    text = f"{HEAD}metadata: {{recipe: batching}}\n"

    with pytest.raises(ManifestInvalid, match="max_batch_tokens cannot be written"):
        written(version, text)

    assert (version / "model.yaml").read_bytes().decode() == text


def test_file_stays_readable_for_others_and_nothing_is_left_beside_it(tmp_path):
    path = build_model(tmp_path)
    edit_manifest(path, batching=Batching(cost="padded_tokens"))
    (path / "model.yaml").chmod(0o640)
    before = {file.name for file in path.iterdir()}

    set_max_batch_tokens(path, 64)

    assert stat.S_IMODE((path / "model.yaml").stat().st_mode) == 0o640
    assert {file.name for file in path.iterdir()} == before


def test_file_that_cannot_be_replaced_stays_whole(tmp_path, monkeypatch):
    path = build_model(tmp_path)
    edit_manifest(path, batching=Batching(cost="padded_tokens"))
    before = (path / "model.yaml").read_bytes()
    files = {file.name for file in path.iterdir()}

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.models.manifest_file.os.replace", refuse)
    with pytest.raises(PermissionError):
        set_max_batch_tokens(path, 64)

    assert (path / "model.yaml").read_bytes() == before
    assert {file.name for file in path.iterdir()} == files
