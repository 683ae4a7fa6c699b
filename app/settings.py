"""Shared. Every setting with its type, its range and its default, as one frozen `Settings`.

`app.config` reads them; config.yaml explains each.
"""

from typing import Annotated, Any, Literal

import msgspec

SECRET_KEYS = ("admin.token", "jobs.webhook_secret", "monitoring.feedback_secret")
# In place of a secret.
MASK = "***"

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=600_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Score = Annotated[float, msgspec.Meta(gt=0, le=100)]


Secret = Annotated[str, msgspec.Meta(min_length=16, pattern=r"^[!-~]+$")]
HostPattern = Annotated[str, msgspec.Meta(pattern=r"^(\*\.)?[a-z0-9:]([a-z0-9.:-]*[a-z0-9])?$")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block of settings: immutable, closed against unknown keys, and not showing its secrets."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        section = type(self).__name__.lower()
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [
            (name, MASK if value is not None and f"{section}.{name}" in SECRET_KEYS else value)
            for name, value in values
        ]

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({', '.join(shown)})"


class Server(Section, frozen=True):
    """The HTTP API."""

    host: str = "127.0.0.1"
    port: Port = 8000
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    cpu_affinity: bool = True


class Redis(Section, frozen=True):
    """Broker, result store and cache."""

    url: str | None = None
    socket_timeout_s: Seconds = 1.0


class Worker(Section, frozen=True):
    """The processes that hold the models."""

    processes: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    hard_limit_s: Seconds = 30.0
    stall_limit_s: Seconds = 15.0
    max_memory_mb: Annotated[int, msgspec.Meta(ge=64, le=1 << 30)] | None = None


class Models(Section, frozen=True):
    """How versions come to the workers."""

    watch: bool = False
    load_timeout_s: Seconds = 60.0


class Admin(Section, frozen=True):
    """Who may change models over HTTP, and see the jobs of others."""

    token: Secret | None = None


class Limits(Section, frozen=True):
    """What a caller, or a model directory, may ask of us at most."""

    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 1_048_576
    max_text_chars: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    max_batch_texts: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_queued_texts: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 4096
    max_artifact_bytes: PositiveInt = 2_147_483_648
    allow_pickle: bool = False


class Cache(Section, frozen=True):
    """Answers that are kept for texts seen before."""

    enabled: bool = True
    ttl_seconds: PositiveInt = 3600
    max_size: PositiveInt = 10_000


class Jobs(Section, frozen=True):
    """Bulk jobs."""

    max_texts: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 1_000_000
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 40)] = 268_435_456
    target_chunk_seconds: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.5
    max_batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    max_queued_chunks: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    max_run_seconds: Annotated[int, msgspec.Meta(ge=1, le=2_592_000)] = 86_400
    result_ttl_seconds: Annotated[int, msgspec.Meta(ge=1, le=2_592_000)] = 86_400
    webhook_allow: list[HostPattern] = []
    webhook_secret: Secret | None = None
    webhook_allow_private: bool = False


class Monitoring(Section, frozen=True):
    """Prometheus metrics, and how good predictions are by the feedback on them."""

    enabled: bool = True
    port: Port = 9090
    feedback: bool = False
    feedback_ttl_seconds: Annotated[int, msgspec.Meta(ge=1, le=2_592_000)] = 604_800
    feedback_window_seconds: Annotated[int, msgspec.Meta(ge=60, le=2_592_000)] = 86_400
    feedback_min_texts: PositiveInt = 100
    feedback_secret: Secret | None = None


class Thresholds(Section, frozen=True):
    """From which scores on a feature has drifted: a little, or so that somebody should look."""

    psi_warn: Score = 0.1
    psi_alarm: Score = 0.25
    jensen_shannon_warn: Score = 0.02
    jensen_shannon_alarm: Score = 0.05


class Drift(Section, frozen=True):
    """How live traffic is compared with what a version was trained on."""

    enabled: bool = True
    window_seconds: Annotated[int, msgspec.Meta(ge=12, le=2_592_000)] = 3600
    min_samples: Annotated[int, msgspec.Meta(ge=50, le=1_000_000)] = 200
    significance: Annotated[float, msgspec.Meta(gt=0, le=0.1)] = 0.01
    labels: Thresholds = Thresholds()
    confidence: Thresholds = Thresholds()
    characters: Thresholds = Thresholds()
    unknown_tokens: Thresholds = Thresholds()
    distance: Thresholds = Thresholds()


class Logging(Section, frozen=True):
    """One line an event, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"
    access: bool = False


class Tracing(Section, frozen=True):
    """Spans of OpenTelemetry."""

    enabled: bool = False
    max_traces_per_s: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10


class Settings(Section, frozen=True):
    """Every setting and its default; config.yaml explains each."""

    models_dir: str = "models"
    default_model: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = (
        "sentiment"
    )
    state_dir: str = ".mlserve"
    max_batch_size: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    batch_timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 10
    request_timeout_ms: Milliseconds = 5000
    server: Server = Server()
    redis: Redis = Redis()
    worker: Worker = Worker()
    models: Models = Models()
    admin: Admin = Admin()
    limits: Limits = Limits()
    cache: Cache = Cache()
    jobs: Jobs = Jobs()
    monitoring: Monitoring = Monitoring()
    drift: Drift = Drift()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()
