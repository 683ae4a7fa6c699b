"""Harness. One Markdown page from the figures of a run."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.wrk import failures

Report = dict[str, Any]


def markdown(report: Report) -> str:
    """The whole page."""
    parts = [
        "# Benchmark",
        _about(report),
        "## Targets",
        _targets(report["targets"]),
        "## Single texts, a different one with every request",
        *_singles(report["medians"]),
        "## CPU and memory",
        _usage(report["medians"]),
        *_stages(report["medians"]),
        "## More of mlserve",
        _extras(report["medians"].get("mlserve", {})),
        "## Floors",
        _floors(report["medians"].get("bare", {})),
        "## Correctness",
        _correctness(report["medians"], report["failed"]),
        "## Versions",
        _versions(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: bool = False) -> str:
    """A Markdown table; all but its first column are numbers, right aligned, unless `words`."""
    lines = [head, ["---", *["---" if words else "---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(value: float | None) -> str:
    """Three significant digits, thousands in full."""
    if value is None:
        return "-"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _about(report: Report) -> str:
    machine, plan = report["machine"], report["plan"]
    rows = {
        "measured": report["started_at"],
        "commit": report["commit"],
        "machine": f"{machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}",
        "other use of the machine": _others(report),
        "load generator": f"{machine['wrk']}, on the same cores",
        "model": plan["ref"],
        "texts": f"{plan['texts']:,} from {plan['source']}",
        "rounds": f"{report['rounds_done']} of {plan['rounds']}, interleaved, {plan['seconds']} s "
        "each; figures are medians",
        "settings of mlserve": str(plan["settings"] or "defaults"),
    }
    return table(("what", "value"), rows.items(), words=True)


def _others(report: Report) -> str:
    runs = [run for results in report["medians"].values() for run in results.values()]
    cores = [run["others_cores"] for run in runs if "others_cores" in run] or [0.0]
    middle, most = statistics.median(cores), max(cores)
    load = report["machine"]["load_1m"]
    return f"load {load:.2f} before; {middle:.2f} cores during the runs, at most {most:.2f}"


def _targets(rows: list[dict[str, Any]]) -> str:
    def bound(row: dict[str, Any], key: str) -> str:
        sign = "<=" if row["is_ceiling"] else ">="
        return "-" if row[key] is None else f"{sign} {figure(row[key])}"

    return table(
        ("what", "measured", "unit", "at least", "aim", "verdict"),
        (
            (
                row["what"],
                figure(row["measured"]),
                row["unit"],
                bound(row, "at_least"),
                bound(row, "aim"),
                row["verdict"],
            )
            for row in rows
        ),
    )


def _singles(medians: dict[str, Any]) -> list[str]:
    found = {name: _by_connections(results) for name, results in medians.items()}
    found = {name: runs for name, runs in found.items() if runs}
    connections = sorted({number for runs in found.values() for number in runs})

    def block(title: str, cell: Any) -> str:
        rows = (
            (name, *(cell(runs[number]) if number in runs else "-" for number in connections))
            for name, runs in found.items()
        )
        return f"{title}\n\n" + table(("connections", *map(str, connections)), rows)

    return [
        block("Requests/s (answered with 200)", lambda run: _flagged(run, "good_per_s")),
        block("p50 / p99, ms", lambda run: f"{figure(run['p50_ms'])} / {figure(run['p99_ms'])}"),
    ]


def _by_connections(results: dict[str, Any]) -> dict[int, Any]:
    return {
        int(name.removeprefix("single@")): result
        for name, result in results.items()
        if name.startswith("single@")
    }


def _flagged(run: dict[str, Any], key: str) -> str:
    bad = failures(run)
    return figure(run[key]) + (f" ({bad} failed)" if bad else "")


def _usage(medians: dict[str, Any]) -> str:
    rows = []
    for name, results in medians.items():
        run = results.get("single@64", {})
        for role, used in run.get("processes", {}).items():
            megabytes = f"{used['rss_bytes'] / 2**20:.0f}"
            row = (name, role, figure(used["processes"]), figure(used["cpu_us"]), megabytes)
            rows.append(row)
        if run:
            cost_us = run["wrk_cpu_s"] * 1e6 / max(run["requests"], 1)
            rows.append((name, "(wrk)", "1", figure(cost_us), "-"))
    head = ("64 connections", "role", "processes", "CPU us/request", "resident MiB")
    return table(head, rows)


def _stages(medians: dict[str, Any]) -> list[str]:
    found = medians.get("mlserve", {}).get("single@64", {}).get("stages_ms", {})
    rows = [(stage, figure(value)) for stage, value in found.items()]
    return [table(("stage of mlserve, 64 connections", "mean ms"), rows)] if rows else []


def _extras(results: dict[str, Any]) -> str:
    rows = []
    for name, run in results.items():
        if "good_per_s" not in run or name.startswith("single@"):
            continue
        also = [f"{figure(run['texts_per_s'])} texts/s"] if "texts_per_s" in run else []
        if "in_time_per_s" in run:
            also += [
                f"asked {figure(run['peak_per_s'] * 2)}/s",
                f"{figure(run['answered_per_s'])}/s answered",
                f"{figure(run['in_time_per_s'])}/s in time",
                f"{run['refused_share']:.0%} refused",
                f"schedule late by {figure(run['slip_ms'])} ms at most",
            ]
        row = (name, _flagged(run, "good_per_s"), figure(run["p50_ms"]), figure(run["p99_ms"]))
        rows.append((*row, ", ".join(also) or "-"))
    return table(("scenario", "requests/s", "p50 ms", "p99 ms", "also"), rows) if rows else ""


def _floors(results: dict[str, Any]) -> str:
    if not results:
        return ""
    sizes = list(next(iter(results.values()))["texts_per_s"])
    rows = (
        (name, *(figure(run["texts_per_s"][size]) for size in sizes))
        for name, run in results.items()
    )
    return table(("bare loop, texts/s with texts per call", *sizes), rows)


def _correctness(medians: dict[str, Any], failed: dict[str, list[str]]) -> str:
    rows = []
    for name, results in medians.items():
        checked = sum(run.get("checked", 0) for run in results.values())
        wrong = [problem for run in results.values() for problem in run.get("wrong", [])]
        errors = sum(failures(run) for run in results.values() if "errors" in run)
        reasons = "; ".join(dict.fromkeys([*failed.get(name, []), *wrong[:3]])) or "-"
        rows.append((name, figure(checked), str(len(wrong)), str(errors), reasons))
    rows += [(name, "0", "-", "-", "; ".join(failed[name])) for name in failed.keys() - medians]
    head = ("contender", "answers compared", "wrong", "failed requests", "why")
    return table(head, rows, words=True)


def _versions(report: Report) -> str:
    rows = (
        (name, about["what"], ", ".join(about["versions"]))
        for name, about in report["contenders"].items()
    )
    return table(("contender", "what", "versions"), rows, words=True)
