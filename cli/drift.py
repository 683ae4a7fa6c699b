"""CLI. `mlserve drift`: does the traffic of a version still look like what it was trained on?"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click

from cli.client import ServiceClient
from cli.feedback import print_performance
from cli.options import Call, print_table, verb

EXIT_CODES = {"warn": 3, "alarm": 4}
BARS = "▁▂▃▄▅▆▇█"
MAX_LABELS = 10
SENTENCES = {
    "no_reference": "no reference.json that can be used: nothing to compare with",
    "insufficient_data": "too few texts for a verdict, {min_samples} are needed",
    "ok": "like the reference",
    "warn": "differs from the reference",
    "alarm": "far from the reference",
}


@click.command()
@click.argument("model", required=False)
@verb
def drift(call: Call, model: str | None) -> None:
    """Compare the live traffic of MODEL (default: the default model) with its training data.

    Exit codes: 0 no drift, or no verdict; 3 the verdict is warn; 4 it is alarm. What feedback
    says has a verdict of its own, and no exit code.
    """
    ref = quote(model or call.settings.default_model, safe="")
    found = ServiceClient(call.settings).get(f"/models/{ref}/drift")
    call.show(found, lambda: _print(found))
    click.get_current_context().exit(EXIT_CODES.get(found["verdict"], 0))


def _print(found: dict[str, Any]) -> None:
    sentence = SENTENCES[found["verdict"]].format(**found)
    click.echo(f"{found['model_version']}: {found['verdict']}, {sentence}")
    if found["verdict"] != "no_reference":
        _print_features(found)
    if performance := found.get("performance"):
        click.echo("\nby feedback")
        print_performance(performance)


def _print_features(found: dict[str, Any]) -> None:
    click.echo(f"{found['live_texts']} texts in the last {found['window_seconds']} s")
    if rows := [row for feature in found["features"] for row in _scores(feature)]:
        click.echo()
        columns = (
            "feature",
            "verdict",
            "method",
            "score",
            "warn",
            "alarm",
            "p",
            "n",
            "reference n",
        )
        print_table(columns, rows)
    for feature in found["features"]:
        click.echo()
        _print_labels(feature) if feature["feature"] == "labels" else _print_histogram(feature)


def _scores(feature: dict[str, Any]) -> list[tuple[str, ...]]:
    first = (feature["feature"], feature["verdict"])
    last = (
        f"{feature['p_value'] or 0:.2g}",
        str(feature["live_texts"]),
        str(feature["reference_texts"]),
    )
    return [
        (
            *(first if at == 0 else ("", "")),
            score["method"],
            f"{score['value']:.4f}",
            f"{score['warn']:.4g}",
            "-" if score["alarm"] is None else f"{score['alarm']:.4g}",
            *(last if at == 0 else ("", "", "")),
        )
        for at, score in enumerate(feature["scores"])
    ]


def _print_labels(feature: dict[str, Any]) -> None:
    """The labels whose shares changed most."""
    bins = sorted(feature["bins"], key=lambda row: -abs(row["live"] - row["reference"]))
    rows = [(r["name"], f"{r['reference']:.1%}", f"{r['live']:.1%}") for r in bins[:MAX_LABELS]]
    print_table(("label", "reference", "live"), rows)


def _print_histogram(feature: dict[str, Any]) -> None:
    """One bar a bin, of those that are in use; both rows have the same scale."""
    used = [at for at, row in enumerate(feature["bins"]) if row["reference"] or row["live"]]
    bins = feature["bins"][used[0] : used[-1] + 1]
    highest = max(max(row["reference"], row["live"]) for row in bins)
    click.echo(f"{feature['feature']}, from {bins[0]['name']} to {bins[-1]['name']} and more")
    for side in ("reference", "live"):
        click.echo(f"  {side:<10} {_bars([row[side] / highest for row in bins])}".rstrip())


def _bars(heights: Sequence[float]) -> str:
    """Heights from 0 to 1; a space is exactly 0."""
    return "".join(
        BARS[min(len(BARS) - 1, int(height * len(BARS)))] if height else " " for height in heights
    )
