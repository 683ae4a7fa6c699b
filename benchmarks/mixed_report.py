"""Harness. What is wanted of transformers, as ratios within one run, and the page of figures."""

from collections.abc import Callable
from typing import Any

from benchmarks.report import figure, table
from benchmarks.targets import Medians, Target

BY_COUNT = ("litserve-32", "mosec-32")
CALLERS = (16, 64)


def _rate(medians: Medians, name: str, callers: int) -> float:
    return float(medians[name][f"mixed@{callers}"]["texts_per_s"])


def _best_of(medians: Medians, server: str, callers: int) -> float:
    return max(_rate(medians, name, callers) for name in (f"{server}-32", f"{server}-1"))


def _p99(medians: Medians, name: str, callers: int) -> float:
    return float(medians[name][f"mixed@{callers}"]["short"]["p99_ms"])


def _lit_best(medians: Medians, callers: int) -> str:
    return max(("litserve-32", "litserve-1"), key=lambda name: _rate(medians, name, callers))


def _against_bare(callers: int) -> Callable[[Medians], float]:
    return lambda m: _rate(m, "mlserve", callers) / m["bare"]["loop"]["texts_per_s"]


def _against(name: str, callers: int) -> Callable[[Medians], float]:
    return lambda m: _rate(m, "mlserve", callers) / _rate(m, name, callers)


def _against_best(server: str, callers: int) -> Callable[[Medians], float]:
    return lambda m: _rate(m, "mlserve", callers) / _best_of(m, server, callers)


def _short_p99(callers: int) -> Callable[[Medians], float]:
    return lambda m: _p99(m, "mlserve", callers) / _p99(m, _lit_best(m, callers), callers)


def _job(medians: Medians) -> float:
    job = medians["mlserve"]["job"]
    return float(job["texts_per_s"] / job["bare_texts_per_s"])


def _difference(medians: Medians) -> float:
    return float(medians["mlserve"]["check"]["largest_difference"])


def _targets() -> list[Target]:
    found = []
    for callers in CALLERS:
        at = f"{callers} callers"
        bare = f"texts/s against the bare loop at its best budget, {at}"
        found.append(Target(bare, _against_bare(callers), 0.9, 0.97))
        for name in BY_COUNT:
            what = f"texts/s against {name.removesuffix('-32')} with batch 32, {at}"
            found.append(Target(what, _against(name, callers), 2.5, 3.2))
        for server in ("litserve", "mosec"):
            what = f"texts/s against {server} at its best setting, {at}"
            found.append(Target(what, _against_best(server, callers), 1.0, 1.15))
        what = f"p99 of short texts against LitServe at its best setting, {at}"
        found.append(Target(what, _short_p99(callers), 0.8, 0.5, is_ceiling=True))
    job = "bulk job against the bare loop, whole job sorted by length"
    found.append(Target(job, _job, 0.95, 1.1))
    equal = "largest difference to transformers"
    found.append(Target(equal, _difference, 1e-5, None, unit="", is_ceiling=True))
    return found


TARGETS = _targets()


def markdown(report: dict[str, Any]) -> str:
    """The whole page."""
    medians = report["medians"]
    loop, threads = medians["bare"]["loop"], medians["threads"]["loops"]
    about = (
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores, commit "
        f"{report['commit']}, load {report['machine']['load_1m']:.2f} afterwards; texts of "
        f"{report['texts']['source']}, {report['texts']['mean_tokens']:.0f} tokens in the mean of "
        f"the sample; medians of {report['plan']['rounds']} rounds"
    )
    floor = (
        f"Bare loop, a process for each core: {figure(loop['texts_per_s'])} texts/s with a budget "
        f"of {figure(loop['budget'])}. The same budget: processes x 1 thread "
        f"{figure(threads['processes'])}, 1 process with all threads {figure(threads['threads'])}."
    )
    parts = ["# Transformers", about, _target_table(medians), floor, _servers(medians)]
    parts += [f"failed: {line}" for line in report["failed"]]
    return "\n\n".join(parts) + "\n"


def _target_table(medians: Medians) -> str:
    rows = []
    for target in TARGETS:
        value = target.measured(medians)
        sign = "<=" if target.is_ceiling else ">="
        bounds = ["-" if b is None else f"{sign} {b:g}" for b in (target.at_least, target.aim)]
        rows.append((target.what, _shown(value), *bounds, target.verdict(value)))
    return table(("what", "measured", "at least", "aim", "verdict"), rows)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _servers(medians: Medians) -> str:
    rows = []
    for name, results in medians.items():
        for callers in CALLERS:
            if (run := results.get(f"mixed@{callers}")) is None:
                continue
            shares = [_pair(run[kind]) for kind in ("short", "long")]
            wrong, failed = results["check"]["wrong"], run["failed"]
            row = (name, str(callers), figure(run["texts_per_s"]), *shares)
            rows.append((*row, figure(failed), figure(wrong)))
    head = ("server", "callers", "texts/s", "short p50 / p99, ms", "long p50 / p99, ms")
    return table((*head, "failed", "wrong"), rows)


def _pair(row: dict[str, float]) -> str:
    return f"{figure(row.get('p50_ms'))} / {figure(row.get('p99_ms'))}"
