"""Settings: where values come from, and how wrong ones are refused."""

import json
import os
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from rich.pretty import pretty_repr

from app.config import leaves, load
from app.errors import ConfigError
from app.settings import SECRET_KEYS, Settings

ROOT = Path(__file__).parents[3]
SECRET = "correct-horse-battery-staple"
DEFAULTS = dict(leaves(msgspec.to_builtins(Settings())))


def write(directory: Path, text: str) -> str:
    file = directory / "config.yaml"
    file.write_text(text)
    return str(file)


def test_environment_wins_over_file_and_file_over_defaults(tmp_path):
    file = write(tmp_path, "server: {port: 8001, workers: 2}")

    loaded = load(file, {"MLSERVE_SERVER__PORT": "8002"})

    assert loaded.settings.server.port == 8002
    assert loaded.settings.server.workers == 2
    assert loaded.settings.server.threads == 16
    assert loaded.origins == {
        "server.port": "MLSERVE_SERVER__PORT",
        "server.workers": "config.yaml",
    }


def test_directories_are_relative_to_the_file(tmp_path):
    loaded = load(write(tmp_path, "models_dir: store"), {})

    assert loaded.settings.models_dir == str(tmp_path / "store")
    assert loaded.settings.state_dir == str(tmp_path / ".mlserve")


def test_variable_names_the_file(tmp_path):
    file = write(tmp_path, "max_batch_size: 7")

    assert load(None, {"MLSERVE_CONFIG": file}).settings.max_batch_size == 7


WRONG_FILES = {
    "unknown key": ("server: {prot: 1}", r"server\.prot = 1: unknown key; allowed: host, port"),
    "unknown section": ("sever: {port: 1}", r"sever = .*unknown key; allowed: models_dir"),
    "out of range": ("server: {port: 70000}", r"server\.port = 70000 .*<= 65535"),
    "wrong type": ("server: {port: '80'}", r"server\.port = '80' .*Expected `int`, got `str`"),
    "number as boolean": ("cache: {enabled: 1}", r"cache\.enabled = 1 .*Expected `bool`"),
    "not a choice": ("worker: {device: tpu}", r"worker\.device = 'tpu'"),
    "value where a section is": ("server: 8000", r"server = 8000 .*Expected `object`"),
    "not a mapping": ("- 1", r"expected keys and values, got list"),
    "not YAML": ("a: b: c", r"mapping values are not allowed"),
    "no boolean": (
        "cache:\n  enabled: !!bool foo",
        r"other\.yaml: the value is not valid for 'bool' in line 2",
    ),
    "no whole number": ("server: {port: !!int ''}", r"the value is not valid for 'int' in line 1"),
    "a date that does not exist": (
        "server: {port: 2026-13-45}",
        r"valid for 'timestamp' in line 1",
    ),
    "held longer than waited": ("batch_timeout_ms: 5000", r"must be below request_timeout_ms"),
    "wrong scheme": ("redis: {url: 'http://x'}", r"redis\.url: expected redis://"),
    "hooks unsigned": ("jobs: {webhook_allow: [a.org]}", r"jobs\.webhook_secret: must be set"),
    "list item": (
        f"jobs: {{webhook_allow: [a.org, 'b*'], webhook_secret: {SECRET}}}",
        r"jobs\.webhook_allow\[1\] = 'b\*' \(from other\.yaml\)",
    ),
    "section in place of a value": (
        "server: {port: {a: 1}}",
        r"server\.port = \{\.\.\.\} \(from other\.yaml\): Expected `int`",
    ),
    "key is a number": ("server:\n  1: 2", r"other\.yaml: the key '1' is no text in line 2"),
    "key is a boolean": ("yes: 1", r"other\.yaml: the key 'yes' is no text in line 1"),
    "key is nothing": ("~: 1", r"other\.yaml: the key '~' is no text in line 1"),
    "key is a list": ("? [a]\n: 1", r"other\.yaml: the key \[\.\.\.\] is no text in line 1"),
    "key twice": (
        "server: {port: 1}\nserver: {host: a}",
        r"other\.yaml: the key 'server' is there for the second time in line 2",
    ),
    "key with a dot beside a list": ("jobs: {webhook_allow: [], webhook_allow.0: 1}", r"= \*\*\*"),
    "alias of itself": (
        "server: &a\n  port: *a",
        r"other\.yaml: nested too deeply, or without end",
    ),
    "nested deeply": ("[" * 5000, r"other\.yaml: nested too deeply"),
    "one port twice": ("monitoring: {port: 8000}", r"monitoring\.port = 8000: is also server"),
}


@pytest.mark.parametrize(("text", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_file_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "other.yaml").write_text(text)

    with pytest.raises(ConfigError, match=message) as caught:
        load(str(tmp_path / "other.yaml"), {})

    assert "\n" not in str(caught.value)


def test_merged_key_may_be_there_again(tmp_path):
    loaded = load(write(tmp_path, "server: {<<: {port: 1}, port: 7}"), {})

    assert loaded.settings.server.port == 7


WARNINGS = [key for key in DEFAULTS if key.startswith("drift.") and key.endswith("_warn")]


@pytest.mark.parametrize("key", WARNINGS)
def test_warning_is_not_above_the_alarm(tmp_path, key):
    name, alarm = f"MLSERVE_{key.replace('.', '__')}".upper(), key.replace("_warn", "_alarm")
    equal = load(write(tmp_path, ""), {name: str(DEFAULTS[alarm])})

    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, ""), {name: "5"})

    assert str(caught.value) == f"{key} = 5: must not be above {alarm} = {DEFAULTS[alarm]}"
    assert equal.origins == {key: name}


@pytest.mark.parametrize("variable", ["SERVER__PORT", "SERVER__HOST", "CACHE__ENABLED"])
def test_variable_that_is_not_utf8_is_refused_by_name(tmp_path, variable):
    name = f"MLSERVE_{variable}"

    with pytest.raises(ConfigError, match=f"^{name}: its value is not UTF-8$"):
        load(write(tmp_path, ""), {name: os.fsdecode(b"\xff")})


def test_empty_variable_names_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert load(None, {"MLSERVE_CONFIG": ""}).origins == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MLSERVE_SERVER__PORT", "no", r"server\.port = 'no' \(from MLSERVE_SERVER__PORT\)"),
        ("MLSERVE_SERVER__PROT", "1", r"MLSERVE_SERVER__PROT: there is no setting 'server\.prot'"),
        ("MLSERVE_SERVER", "1", r"'server' is a section"),
        ("MLSERVE_CACHE__ENABLED", "maybe", r"cache\.enabled = 'maybe'"),
    ],
)
def test_wrong_variable_is_refused_by_name(tmp_path, name, value, message):
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, ""), {name: value})


@pytest.mark.parametrize(("text", "expected"), [("false", False), ("true", True), ("0", False)])
def test_booleans_are_read_as_what_they_say(tmp_path, text, expected):
    loaded = load(write(tmp_path, ""), {"MLSERVE_CACHE__ENABLED": text})

    assert loaded.settings.cache.enabled is expected


def test_address_of_redis_has_a_short_variable(tmp_path):
    loaded = load(write(tmp_path, ""), {"MLSERVE_REDIS_URL": "redis://h:1/0"})

    assert loaded.settings.redis.url == "redis://h:1/0"
    assert loaded.origins == {"redis.url": "MLSERVE_REDIS_URL"}


def test_missing_named_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load(str(tmp_path / "absent.yaml"), {})


@pytest.mark.parametrize("key", DEFAULTS)
def test_every_key_can_be_set_by_environment(tmp_path, key):
    name = "MLSERVE_" + key.upper().replace(".", "__")
    given = {"redis.url": "redis://h:1/0", **dict.fromkeys(SECRET_KEYS, SECRET)}
    value = given.get(key, DEFAULTS[key])
    text = value if isinstance(value, str) else json.dumps(value)

    loaded = load(write(tmp_path, ""), {name: text})

    assert loaded.origins == {key: name}


@pytest.mark.parametrize(
    "text",
    [
        f"admin: {SECRET}",
        f"admin: [{SECRET}]",
        f"admin: {{token: '{SECRET} with spaces'}}",
        f"admin: {{tokem: {SECRET}}}",
        f"admim: {{token: {SECRET}}}",
        f"admin: {{token: [{SECRET}]}}",
        f"admin: {{token: {SECRET}",
        f"admin: {{token: !!bool {SECRET}}}",
        f"admin: {{token: !!int {SECRET}}}",
        f"admin:\n  token: {SECRET}: {SECRET}",
        f"admin:\n\ttoken: {SECRET}",
        f"jobs: {SECRET}",
        f"jobs: {{webhook_secret: '{SECRET} with spaces'}}",
        f"jobs: {{webhook_secret: [{SECRET}]}}",
        f"jobs: {{webhook_secrt: {SECRET}}}",
    ],
)
def test_wrong_file_is_refused_without_quoting_a_secret(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})

    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["ADMIN__TOKEN", "ADMIN", "ADMIN__KEY", "JOBS__WEBHOOK_SECRET", "MONITORING__FEEDBACK_SECRET"],
)
def test_wrong_variable_is_refused_without_quoting_a_secret(tmp_path, name):
    name = f"MLSERVE_{name}"
    with pytest.raises(ConfigError, match=name) as caught:
        load(write(tmp_path, ""), {name: f"{SECRET} with spaces"})

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_no_form_of_the_settings_shows_a_secret(tmp_path, key):
    section, _, name = key.partition(".")
    loaded = load(write(tmp_path, ""), {f"MLSERVE_{section}__{name}".upper(): SECRET})

    assert getattr(getattr(loaded.settings, section), name) == SECRET
    assert SECRET not in repr(loaded) + str(loaded.settings) + pretty_repr(loaded.settings)
    assert f"{name}='***'" in repr(loaded)


def test_list_is_given_by_environment_with_commas(tmp_path):
    environ = {
        "MLSERVE_JOBS__WEBHOOK_ALLOW": "hooks.example.org, *.example.com",
        "MLSERVE_JOBS__WEBHOOK_SECRET": SECRET,
    }

    loaded = load(write(tmp_path, ""), environ)

    assert loaded.settings.jobs.webhook_allow == ["hooks.example.org", "*.example.com"]


@pytest.mark.parametrize("host", ["*", "https://example.org", "Example.org", "ex*mple.org", ""])
def test_allowed_host_must_be_a_name_or_a_suffix(tmp_path, host):
    with pytest.raises(ConfigError, match=r"jobs\.webhook_allow"):
        load(write(tmp_path, f"jobs: {{webhook_allow: ['{host}'], webhook_secret: {SECRET}}}"), {})


def test_shipped_file_states_every_default():
    written = dict(leaves(yaml.safe_load((ROOT / "config.yaml").read_text())))

    assert written == DEFAULTS


def test_documentation_states_every_default():
    text = (ROOT / "docs/configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`]*)` \|", text, re.MULTILINE))

    assert {key: yaml.safe_load(value) for key, value in rows.items()} == DEFAULTS
