"""Harness. What one run measures, from the command line."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.contenders import CONTENDERS, merged
from benchmarks.paths import ROOT, STATE

EXTRAS = ("cache", "batch", "overload")
FLOORS = ("empty-asgi", "empty-flask", "bare")


@dataclass(frozen=True)
class Plan:
    """What one run measures."""

    contenders: list[str]
    connections: list[int]
    seconds: float
    rounds: int
    extras: list[str]
    ref: str
    models_dir: str
    settings: dict[str, Any]
    output: str


def parse(argv: Sequence[str] | None = None) -> Plan:
    """The plan that the command line asks for; `--quick` only changes defaults."""
    everyone = [*CONTENDERS, *FLOORS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one round, 2 s, 1 and 64 connections")
    add("--contenders", help=f"some of {','.join(everyone)}")
    add("--connections", help="default: 1,16,64,256")
    add("--seconds", type=float, help="of each run; default 8")
    add("--rounds", type=int, help="default 3")
    add("--extras", default=",".join(EXTRAS), help="more of mlserve: some of cache,batch,overload")
    add("--ref", default="sentiment-v2", help="the model that everybody serves")
    add("--models-dir", default=str(ROOT / "models"))
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of mlserve")
    add("--output", help="directory; default .bench/results/<time>")
    options = parser.parse_args(argv)
    quick = options.quick
    chosen = _chosen(parser, options.contenders, everyone)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Plan(
        contenders=chosen,
        connections=[
            int(c) for c in (options.connections or ("1,64" if quick else "1,16,64,256")).split(",")
        ],
        seconds=options.seconds or (2 if quick else 8),
        rounds=options.rounds or (1 if quick else 3),
        extras=_chosen(parser, options.extras, list(EXTRAS)) if options.extras else [],
        ref=options.ref,
        models_dir=str(Path(options.models_dir).resolve()),
        settings=_settings(parser, options.set),
        output=str(Path(options.output or STATE / "results" / stamp).resolve()),
    )


def _chosen(parser: argparse.ArgumentParser, given: str | None, known: list[str]) -> list[str]:
    chosen = given.split(",") if given else known
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return chosen


def _settings(parser: argparse.ArgumentParser, given: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for item in given:
        key, sign, value = item.partition("=")
        if not sign:
            parser.error(f"--set {item}: expected key=value, e.g. server.workers=2")
        tree: Any = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            tree = {part: tree}
        settings = merged(settings, tree)
    return settings
