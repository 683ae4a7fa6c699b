"""The catalog: what is on disk, which version a name stands for, what is wrong with the rest."""

import json
import os

import pytest
import yaml

from app.errors import ManifestInvalid, ModelNotFound, UnsafePath
from app.models.base import Ref
from app.models.catalog import MAX_MANIFEST_BYTES, Catalog
from app.models.directory import keep_name_resolvable, read_active

ARTIFACT = {"file": "model.skops", "sha256": "0" * 64, "size_bytes": 1}


def manifest(name, version, **changes):
    return {
        "name": name,
        "version": version,
        "format": "skops",
        "labels": ["no", "yes"],
        "artifacts": [ARTIFACT],
    } | changes


def add(root, name, version, content=None):
    path = root / name / version
    path.mkdir(parents=True)
    content = manifest(name, version) if content is None else content
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (path / "model.yaml").write_text(text, errors="surrogateescape")
    return path


@pytest.fixture
def root(tmp_path):
    for version in ("v1", "v2"):
        add(tmp_path, "sentiment", version)
    add(tmp_path, "spam-filter", "v1")
    (tmp_path / "active.json").write_text(json.dumps({"sentiment": "v2"}))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        (None, "sentiment-v2"),
        ("sentiment", "sentiment-v2"),
        ("sentiment-v1", "sentiment-v1"),
        ("v1", "sentiment-v1"),
        ("spam-filter", "spam-filter-v1"),
        ("spam-filter-v1", "spam-filter-v1"),
    ],
)
def test_reference_is_resolved_to_one_version(root, text, ref):
    assert str(Catalog(root, "sentiment").resolve(text)) == ref


def test_default_model_may_be_an_exact_version(root):
    catalog = Catalog(root, "sentiment-v1")

    assert str(catalog.resolve()) == "sentiment-v1"
    assert str(catalog.resolve("v2")) == "sentiment-v2"


@pytest.mark.parametrize("text", ["sentiment-v9", "v9", "nothing", "../etc", "a/b", "-", "\x00"])
def test_unknown_reference_names_what_exists(root, text):
    with pytest.raises(ModelNotFound, match="are: sentiment-v1, sentiment-v2, spam-filter-v1"):
        Catalog(root, "sentiment").resolve(text)


def test_newest_version_is_never_active_by_itself(root):
    catalog = Catalog(root, "sentiment")
    catalog.entries()
    add(root, "sentiment", "v3")

    catalog.entries(fresh=True)

    assert str(catalog.resolve("sentiment")) == "sentiment-v2"
    assert str(catalog.resolve("v3")) == "sentiment-v3"


def test_name_with_several_versions_and_no_active_one_is_not_guessed(root):
    add(root, "spam-filter", "v2")

    assert Catalog(root, "sentiment").active("spam-filter") is None


def test_active_version_that_left_the_disk_is_not_resolved(root):
    (root / "active.json").write_text(json.dumps({"sentiment": "v7"}))

    with pytest.raises(ModelNotFound):
        Catalog(root, "sentiment").resolve()


WRONG_MANIFESTS = {
    "other version": (manifest("sentiment", "v8"), "describes sentiment-v8"),
    "unknown key": (manifest("sentiment", "v9", colour="red"), "unknown field `colour`"),
    "one label": (manifest("sentiment", "v9", labels=["a"]), "length >= 2"),
    "a label twice": (manifest("sentiment", "v9", labels=["a", "b", "a"]), "each of them once"),
    "a blank label": (manifest("sentiment", "v9", labels=["a", " "]), "none blank"),
    "path as file": (
        manifest("sentiment", "v9", artifacts=[ARTIFACT | {"file": "../x"}]),
        "matching regex",
    ),
    "not YAML": ("a: [", "expected"),
    "not a mapping": ("just text", "Expected `object`"),
    "nested too deeply": ("[" * 5000, "nested too deeply"),
    "aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases are not allowed"),
    "a date that does not exist": ("name: 2026-13-45", "not valid for 'timestamp'"),
    "no boolean": ("name: !!bool foo", "not valid for 'bool', line 1"),
    "no whole number": ('name: !!int ""', "not valid for 'int'"),
    "no number": ('name: !!float ""', "not valid for 'float'"),
    "a number without end": (f"name: {'1:' * 200}1.5", "not valid for 'float'"),
    "no date": ("name: !!timestamp foo", "not valid for 'timestamp'"),
    "a key that is no text": ("architecture: {x: {1: 2, a: 3}}", "a key is no text"),
    "not UTF-8": ("name: \udcff", "can't decode"),
    "too large": ("#" * (MAX_MANIFEST_BYTES + 1), "larger than"),
    "a Python object": ("!!python/object/apply:os.getpid []", "could not determine a constructor"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS)
def test_wrong_manifest_is_listed_with_its_reason_beside_the_others(root, content, reason):
    add(root, "sentiment", "v9", content)

    entries = Catalog(root, "sentiment").entries()

    wrong = entries[Ref("sentiment", "v9")]
    assert isinstance(wrong.error, ManifestInvalid)
    assert reason in str(wrong.error)
    assert str(root) not in str(wrong.error)
    assert entries[Ref("sentiment", "v1")].error is None


def test_directory_without_manifest_is_listed_with_its_reason(root):
    (root / "sentiment" / "v9").mkdir()

    error = Catalog(root, "sentiment").entries()[Ref("sentiment", "v9")].error

    assert str(error) == "model.yaml of v9: the file is missing"


def test_symbolic_link_is_not_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    add(elsewhere, "sentiment", "v9")
    (root / "sentiment" / "v9").symlink_to(elsewhere / "sentiment" / "v9")

    assert isinstance(
        Catalog(root, "sentiment").entries()[Ref("sentiment", "v9")].error, UnsafePath
    )


def test_directory_that_is_being_written_is_not_listed(root):
    add(root, "sentiment", ".v9.partial")

    assert len(Catalog(root, "sentiment").entries()) == 3


def test_corrected_manifest_is_read_again(root):
    path = add(root, "sentiment", "v9", "a: [")
    catalog = Catalog(root, "sentiment")
    catalog.entries()
    (path / "model.yaml").write_text(yaml.safe_dump(manifest("sentiment", "v9")))

    assert catalog.entries(fresh=True)[Ref("sentiment", "v9")].error is None


def test_empty_directory_knows_no_models(tmp_path):
    with pytest.raises(ModelNotFound, match="there are: no models"):
        Catalog(tmp_path / "absent", "sentiment").resolve()


def test_digest_depends_on_what_decides_an_answer(root):
    entries = Catalog(root, "sentiment").entries()
    one, two = (entries[Ref("sentiment", v)].manifest for v in ("v1", "v2"))
    other = add(root, "x", "v1", manifest("x", "v1", labels=["yes", "no"]))

    assert one.digest == two.digest
    assert Catalog(other.parents[1], "x").get(Ref("x", "v1")).manifest.digest != one.digest


@pytest.mark.timeout(10)
def test_pipe_instead_of_a_manifest_is_not_waited_for(root):
    (root / "sentiment/v1/model.yaml").unlink()
    os.mkfifo(root / "sentiment/v1/model.yaml")

    entry = Catalog(root, "sentiment").entries()[Ref("sentiment", "v1")]

    assert "not a regular file" in str(entry.error)


def test_first_version_of_a_name_becomes_active_and_later_ones_do_not(root):
    add(root, "mood", "v1")
    keep_name_resolvable(root, Ref("mood", "v1"))
    add(root, "mood", "v2")
    keep_name_resolvable(root, Ref("mood", "v2"))

    assert read_active(root) == {"sentiment": "v2", "mood": "v1"}
    assert str(Catalog(root, "sentiment").resolve("mood")) == "mood-v1"


def test_lone_version_stays_what_its_name_stands_for_when_a_second_one_comes(root):
    add(root, "spam-filter", "v2")
    keep_name_resolvable(root, Ref("spam-filter", "v2"))

    assert str(Catalog(root, "sentiment").resolve("spam-filter")) == "spam-filter-v1"


def test_chosen_version_is_not_changed_by_a_new_one(root):
    add(root, "sentiment", "v3")
    keep_name_resolvable(root, Ref("sentiment", "v3"))

    assert read_active(root) == {"sentiment": "v2"}
