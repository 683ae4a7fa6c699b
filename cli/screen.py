"""CLI. The one screen that `mlserve serve` shows when all is ready."""

from typing import Any

from app.settings import Settings
from cli.client import service_url
from cli.inventory import Row, as_data, look_at_fleet, rows, summary

BODY = '{"text": "What a wonderful day!"}'


def ready_data(settings: Settings, took_s: float) -> dict[str, Any]:
    """What the screen says, for machines."""
    url = service_url(settings)
    return {
        "url": url,
        "docs": f"{url}/docs",
        "metrics": _metrics_url(settings),
        "models": as_data(rows(settings, look_at_fleet(settings))),
        "took_s": round(took_s, 2),
    }


def ready_screen(settings: Settings, took_s: float) -> str:
    """What the screen says, for people."""
    url = service_url(settings)
    models = _models(rows(settings, look_at_fleet(settings)))
    lines = ["", f"mlserve is ready at {url} ({took_s:.1f} s)", ""]
    lines += _block("models", models or ["none"])
    lines += _block("try", [_curl(url)])
    lines += _block("docs", [f"{url}/docs"])
    if metrics := _metrics_url(settings):
        lines += _block("metrics", [metrics])
    lines += [*_block("stop", ["Ctrl-C"]), ""]
    return "\n".join(lines)


def _curl(url: str) -> str:
    return f"curl -s {url}/predict -H 'Content-Type: application/json' -d '{BODY}'"


def _models(found: list[Row]) -> list[str]:
    ordered = sorted(found, key=lambda row: (not row.default, row.ref))
    return [summary(row) for row in ordered]


def _metrics_url(settings: Settings) -> str | None:
    if not settings.monitoring.enabled:
        return None
    host, _, _ = service_url(settings).rpartition(":")
    return f"{host}:{settings.monitoring.port}/metrics"


def _block(title: str, lines: list[str]) -> list[str]:
    first, *rest = lines
    return [f"  {title:<8} {first}", *(f"  {'':<8} {line}" for line in rest)]
