"""Shared. Reads config.yaml and MLSERVE_* variables into one frozen `Settings`.

Order, last one wins: the defaults, config.yaml, the environment. `MLSERVE_CACHE__TTL_SECONDS` sets
`cache.ttl_seconds`, `MLSERVE_REDIS_URL` sets `redis.url`; `MLSERVE_CONFIG` names the file. Unknown
keys, wrong types and values out of range are refused with the dotted path, the value and what is
allowed.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import yaml
from redis.connection import parse_url

from app.errors import ConfigError
from app.settings import MASK, SECRET_KEYS, Drift, Section, Settings, Thresholds
from app.untrusted_yaml import Values, wrong

ENV_PREFIX = "MLSERVE_"
CONFIG_VARIABLE = "MLSERVE_CONFIG"
# The usual spelling of the one address that most deployments set.
SHORT_NAMES = {"MLSERVE_REDIS_URL": "MLSERVE_REDIS__URL"}
KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
DEFAULT_PATH = "config.yaml"
MALFORMED_URL = (
    "redis.url: no address of a Redis, such as redis://:password@host:6379/0; special characters "
    "of the password must be percent-encoded: / as %2F, # as %23, ? as %3F, @ as %40"
)


class Loaded(msgspec.Struct, frozen=True):
    """The effective settings, and where each dotted key came from."""

    settings: Settings
    origins: dict[str, str]
    path: Path


def load(path: str | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Merge defaults, the file and the environment; `ConfigError` names the first wrong key.

    Relative directories in the result are resolved against the directory of the file.
    """
    named = path or environ.get(CONFIG_VARIABLE) or None
    file = Path(named or DEFAULT_PATH).absolute()
    raw = _read(file, required=named is not None)
    origins = {key: file.name for key, _ in leaves(raw)}
    _convert(raw, origins, file.name)
    for name, key, value in _environment(environ):
        _put(raw, key, value)
        origins[".".join(key)] = name
    settings = _convert(raw, origins, file.name)
    _check_together(settings)
    return Loaded(_resolve(settings, file.parent), origins, file)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for everything in a nested mapping that is not a mapping."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class _Loader(Values, yaml.SafeLoader):
    """Refuses what YAML would take without a word: a key twice, or one that is no text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, before anything is merged into it."""
        found = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in found.value:
            shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "[...]"
            if key.tag not in KEY_TAGS:
                raise wrong(f"the key {shown} is no text", key)
            if key.value in seen:
                raise wrong(f"the key {shown} is there for the second time", key)
            seen.add(key.value)
        return found


def _read(file: Path, required: bool) -> dict[str, Any]:
    if not file.exists() and not required:
        return {}
    try:
        raw = _Loader(file.read_text(encoding="utf-8")).get_single_data()
        if not isinstance(raw or {}, dict):
            raise ConfigError(f"{file}: expected keys and values, got {type(raw).__name__}")
        # An alias may stand for what it is in: that goes on for ever.
        list(leaves(raw or {}))
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply, or without end") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {_reason(error)}") from error
    return raw or {}


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        # Its own text quotes the line, which may hold a secret.
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return " ".join(str(error).split())


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str], Any]]:
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        key = SHORT_NAMES.get(name, name).removeprefix(ENV_PREFIX).lower().split("__")
        yield name, key, _parse(name, key, environ[name])


def _parse(name: str, key: list[str], value: str) -> Any:
    kind: Any = Settings
    for part in key:
        fields = {f.name: f.type for f in msgspec.structs.fields(kind)} if _is_section(kind) else {}
        if part not in fields:
            raise ConfigError(f"{name}: there is no setting {'.'.join(key)!r}")
        kind = fields[part]
    if _is_section(kind):
        raise ConfigError(f"{name}: {'.'.join(key)!r} is a section; set one of its keys")
    # Python has a code of its own for each byte that is no UTF-8; nothing else knows them.
    if re.search("[\ud800-\udfff]", value):
        raise ConfigError(f"{name}: its value is not UTF-8")
    # The items of a list are given with commas between them.
    items = [item.strip() for item in value.strip("[]").split(",") if item.strip()]
    given: Any = items if get_origin(kind) is list else value
    try:
        return msgspec.to_builtins(msgspec.convert(given, kind, strict=False))
    except msgspec.ValidationError as error:
        path = ".".join(key)
        raise ConfigError(f"{path} = {_shown(path, value)} (from {name}): {error}") from error


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _put(tree: dict[str, Any], key: list[str], value: Any) -> None:
    for part in key[:-1]:
        tree = tree.setdefault(part, {})
    tree[key[-1]] = value


def _convert(raw: dict[str, Any], origins: Mapping[str, str], file: str) -> Settings:
    try:
        return msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), raw, origins, file)) from error


def _explain(message: str, raw: dict[str, Any], origins: Mapping[str, str], file: str) -> str:
    what, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    value = _get(raw, path)
    if "unknown field" in what:
        unknown = ".".join(filter(None, [path, what.split("`")[1]]))
        shown = _shown(unknown, _get(raw, unknown))
        return f"{unknown} = {shown}: unknown key; allowed: {', '.join(_allowed(path))}"
    # Items and sections have none of their own; variables have been looked at one by one.
    origin = origins.get(path, file)
    return f"{path} = {_shown(path, value)} (from {origin}): {what}"


def _shown(path: str, value: Any) -> str:
    # A secret may also stand beside its key, or under one that is misspelt.
    section, _, key = path.partition("[")[0].partition(".")
    has_secrets = any(secret.startswith(f"{section}.") for secret in SECRET_KEYS)
    if path in SECRET_KEYS or (has_secrets and key not in _allowed(section)):
        return MASK
    return "{...}" if isinstance(value, dict) else repr(value)


def _get(raw: Any, path: str) -> Any:
    for part in re.findall(r"[^.[\]]+", path):
        if isinstance(raw, list):
            raw = raw[int(part)] if part.isdecimal() and int(part) < len(raw) else None
        else:
            raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _allowed(path: str) -> list[str]:
    kind: Any = Settings
    for part in filter(None, path.split(".")):
        kind = next(f.type for f in msgspec.structs.fields(kind) if f.name == part)
    return [f.name for f in msgspec.structs.fields(kind)]


def _check_together(settings: Settings) -> None:
    if settings.batch_timeout_ms >= settings.request_timeout_ms:
        raise ConfigError(
            f"batch_timeout_ms = {settings.batch_timeout_ms}: must be below "
            f"request_timeout_ms = {settings.request_timeout_ms}"
        )
    if settings.limits.max_batch_texts > settings.limits.max_queued_texts:
        raise ConfigError(
            f"limits.max_queued_texts = {settings.limits.max_queued_texts}: must not be below "
            f"limits.max_batch_texts = {settings.limits.max_batch_texts}"
        )
    if settings.jobs.target_chunk_seconds > settings.worker.hard_limit_s / 2:
        raise ConfigError(
            f"jobs.target_chunk_seconds = {settings.jobs.target_chunk_seconds:g}: must be at most "
            f"half of worker.hard_limit_s = {settings.worker.hard_limit_s:g}"
        )
    if settings.jobs.webhook_allow and settings.jobs.webhook_secret is None:
        raise ConfigError("jobs.webhook_secret: must be set where jobs.webhook_allow is")
    _check_thresholds(settings.drift)
    if settings.redis.url is not None:
        _check_redis_url(settings.redis.url)
    if settings.monitoring.enabled and settings.monitoring.port == settings.server.port:
        raise ConfigError(f"monitoring.port = {settings.monitoring.port}: is also server.port")


def _check_thresholds(drift: Drift) -> None:
    for name in msgspec.structs.asdict(drift):
        feature = getattr(drift, name)
        if not isinstance(feature, Thresholds):
            continue
        for key, value in msgspec.structs.asdict(feature).items():
            method, _, level = key.rpartition("_")
            alarm = getattr(feature, f"{method}_alarm")
            if level == "warn" and value > alarm:
                raise ConfigError(
                    f"drift.{name}.{key} = {value:g}: must not be above "
                    f"drift.{name}.{method}_alarm = {alarm:g}"
                )


def _check_redis_url(url: str) -> None:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("redis.url: expected redis://, rediss:// or unix://")
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
        # What a client of Redis or of Celery overlooks, or trips over later.
        parts = urlsplit(url)
        parse_qsl(parts.query, strict_parsing=True)
        database = "" if parts.scheme == "unix" else unquote(parts.path).strip("/")
        if parts.fragment or not (database or "0").isdecimal():
            raise ValueError
    except ValueError:
        # The error has a part of the URL in its text, which may be one of the password.
        raise ConfigError(MALFORMED_URL) from None


def _resolve(settings: Settings, base: Path) -> Settings:
    return msgspec.structs.replace(
        settings,
        models_dir=str((base / settings.models_dir).resolve()),
        state_dir=str((base / settings.state_dir).resolve()),
    )
