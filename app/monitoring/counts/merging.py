"""Shared. Adds up the counts of many processes, at a cost that a busy process can bear.

Sample for sample what prometheus_client's `MultiProcessCollector.merge` says; but which rows make
up which sample is worked out again only when there are others, and else only numbers are added.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from app.monitoring.counts.file import CountsFile, Labels, Numbers, Row

GAUGE, HISTOGRAM = "gauge", "histogram"
BOUND = "le"
EACH_PROCESS = ("all", "liveall")

Key = tuple[str, Labels]
K = TypeVar("K")


class Merger:
    """Merges whichever files it is given; what it knows of them serves for the next time."""

    def __init__(self) -> None:
        self._plan = Plan([])

    def merge(self, files: Sequence[CountsFile]) -> list[Metric]:
        """The metrics of all `files` together; the labels of samples are not to be changed."""
        numbers = [file.read() for file in files]
        if _layout_of(files) != self._plan.layout:
            self._plan = Plan(files)
        return self._plan.metrics(numbers)


class Plan:
    """Which rows of which files make up which samples, as long as there are no others."""

    def __init__(self, files: Sequence[CountsFile]) -> None:
        self.layout = _layout_of(files)
        self._places = count()
        # Of each file: where among the totals the number of each row is added; gauges are apart.
        self._targets: list[list[int]] = []
        # That of a row which another file had already.
        self._known: dict[tuple[str, Row], int] = {}
        self._sums: dict[tuple[str, str], Sums] = {}
        self._gauges_of: dict[str, Gauges] = {}
        # In the order in which they are met.
        self._families: list[Sums | Gauges] = []
        for at, file in enumerate(files):
            self._targets.append([])
            for number, row in enumerate(file.rows):
                if file.kind == GAUGE:
                    self._gauges(row).add(row, file, Cell(at, 2 * number))
                else:
                    self._targets[at].append(self._target(file.kind, row))
        for family in self._families:
            family.finish()
        self._size = next(self._places)

    def metrics(self, numbers: Sequence[Numbers]) -> list[Metric]:
        """The metrics, where `numbers` is what each file has now."""
        totals = [0.0] * self._size
        for targets, of_file in zip(self._targets, numbers, strict=True):
            for target, value in zip(targets, of_file[::2], strict=False):
                totals[target] += value
        return [family.metric(totals, numbers) for family in self._families]

    def _target(self, kind: str, row: Row) -> int:
        target = self._known.get((kind, row))
        if target is None:
            family = self._sums.get((kind, row.family))
            if family is None:
                family = self._sums[kind, row.family] = Sums(kind, row, self._places)
                self._families.append(family)
            target = self._known[kind, row] = family.add(row)
        return target

    def _gauges(self, row: Row) -> "Gauges":
        family = self._gauges_of.get(row.family)
        if family is None:
            family = self._gauges_of[row.family] = Gauges(row)
            self._families.append(family)
        return family


class Cell(NamedTuple):
    """Where a value stands, with its time stamp behind it."""

    file: int
    place: int


class Sums:
    """A counter, summary or histogram: rows that agree are added."""

    def __init__(self, kind: str, row: Row, places: Iterator[int]) -> None:
        self._kind, self._name, self._help, self._places = kind, row.family, row.help_text, places
        # By labels without the bound, as they are told together.
        self._series: defaultdict[Labels, dict[Key, int]] = defaultdict(dict)
        self._buckets: defaultdict[Labels, dict[float, int]] = defaultdict(dict)
        # The places of the buckets of a series, then that of its count.
        self._ladders: list[tuple[list[int], int]] = []
        self._samples: list[tuple[str, dict[str, str], int]] = []

    def add(self, row: Row) -> int:
        """One more row; where its value belongs."""
        bound = dict(row.labels).get(BOUND) if self._kind == HISTOGRAM else None
        if bound is None:
            return self._place(self._series[row.labels], (row.name, row.labels))
        return self._place(self._buckets[_without(BOUND, row.labels)], float(bound))

    def finish(self) -> None:
        """All rows are there."""
        for labels, places in self._buckets.items():
            series, bounds = self._series[labels], sorted(places.items())
            for bound, place in bounds:
                told = (*labels, (BOUND, floatToGoString(bound)))  # type: ignore[no-untyped-call]
                series[f"{self._name}_bucket", told] = place
            total = self._place(series, (f"{self._name}_count", labels))
            self._ladders.append(([place for _, place in bounds], total))
        for series in self._series.values():
            self._samples += [(name, dict(labels), at) for (name, labels), at in series.items()]

    def metric(self, totals: list[float], _: Sequence[Numbers]) -> Metric:
        """The metric, of rows that are added to `totals`."""
        for places, total in self._ladders:
            so_far = 0.0
            for place in places:
                so_far += totals[place]
                totals[place] = so_far
            totals[total] = so_far
        metric = Metric(self._name, self._help, self._kind)
        metric.samples = [Sample(name, labels, totals[at]) for name, labels, at in self._samples]
        return metric

    def _place(self, places: dict[K, int], key: K) -> int:
        if key not in places:
            places[key] = next(self._places)
        return places[key]


class Gauges:
    """A gauge: what becomes of rows that agree is said by its mode."""

    def __init__(self, row: Row) -> None:
        self._name, self._help = row.family, row.help_text
        self._mode = ""
        self._cells: list[tuple[Row, str, Cell]] = []
        self._keys: list[tuple[Key, Cell]] = []

    def add(self, row: Row, file: CountsFile, cell: Cell) -> None:
        """One more row."""
        self._mode = file.mode
        self._cells.append((row, file.pid, cell))

    def finish(self) -> None:
        """All rows are there."""
        for row, pid, cell in self._cells:
            labels = (*row.labels, ("pid", pid))
            if self._mode not in EACH_PROCESS:
                labels = _without("pid", labels)
            self._keys.append(((row.name, labels), cell))

    def metric(self, _: list[float], numbers: Sequence[Numbers]) -> Metric:
        """The metric."""
        found: dict[Key, float] = {}
        stamps: defaultdict[Key, float] = defaultdict(float)
        for key, (file, place) in self._keys:
            value, stamp = numbers[file][place : place + 2]
            match self._mode.removeprefix("live"):
                case "min":
                    found[key] = min(found.get(key, value), value)
                case "max":
                    found[key] = max(found.get(key, value), value)
                case "sum":
                    found[key] = found.get(key, 0.0) + value
                case "mostrecent":
                    if stamps[key] < stamp:
                        found[key], stamps[key] = value, stamp
                case _:
                    found[key] = value
        metric = Metric(self._name, self._help, GAUGE)
        metric.samples = [
            Sample(name, dict(labels), value) for (name, labels), value in found.items()
        ]
        return metric


def _layout_of(files: Sequence[CountsFile]) -> list[tuple[CountsFile, int]]:
    return [(file, len(file.rows)) for file in files]


def _without(name: str, labels: Labels) -> Labels:
    return tuple(label for label in labels if label[0] != name)
