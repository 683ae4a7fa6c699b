"""Shared. The text of a scrape, in the words of an encoder of prometheus_client.

Of a sample all but the value is the same in every scrape, and takes most of the time to write. So
the encoder is asked for it once.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Encode = Callable[[Collector], bytes]
Labels = tuple[tuple[str, str], ...]

# A caller chooses the format, which has a version: there are two, and room for one more.
MAX_FORMATS = 3
# Encoders have a place of their own for these.
APART = ("_created", "_gsum", "_gcount")
PLAIN = (None, None, None)
# What is answered with plain text.
PLAIN_TYPES = ("text/plain", "text/*", "*/*")
WEIGHT = re.compile("0(\\.[0-9]{0,3})?|1(\\.0{0,3})?")
VERSION = re.compile("[0-9]{1,4}(\\.[0-9]{1,4}){0,3}")


class Said(NamedTuple):
    """The lines before those of the samples of a family, and what stands before each value."""

    heads: dict[tuple[str, str, str, str], str]
    names: dict[tuple[str, Labels], str]


class Exposition:
    """The texts of one collector, or registry."""

    def __init__(self) -> None:
        self._formats: dict[str, Format] = {}

    def encode(self, collector: Collector, accept: str) -> tuple[str, str]:
        """What it says now, and the content type, for the `Accept` header of a request."""
        encode, content_type = choose_encoder(understood(accept))
        chosen = self._formats.pop(content_type, None) or Format(encode)
        # The one that was wanted last is forgotten last.
        self._formats[content_type] = chosen
        for unwanted in list(self._formats)[:-MAX_FORMATS]:
            self._formats.pop(unwanted, None)
        return chosen.encode(collector), content_type


def understood(accept: str) -> str:
    """An `Accept` header as the library needs it, which takes the first format that it knows.

    So the best one comes first, and none that is not wanted (`q=0`). Nor one whose version is none:
    it fails on them. After plain text comes nothing: without a version it would look further.
    """
    wanted = [one for one in accept.split(",") if _has_version(one) and _weight(one) > 0]
    wanted.sort(key=_weight, reverse=True)
    plain = (at for at, one in enumerate(wanted) if one.partition(";")[0].strip() in PLAIN_TYPES)
    return ",".join(wanted[: next(plain, len(wanted)) + 1])


class Format:
    """One encoder, and what it said of the families and samples of the last scrape."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._end = encode(_Families([])).decode()
        self._said = Said({}, {})

    def encode(self, collector: Collector) -> str:
        """As the encoder would."""
        # What nobody has any more is forgotten. Another thread may be at it, too.
        before, said = self._said, Said({}, {})
        parts: list[str] = []
        for family in collector.collect():
            if _is_plain(family):
                parts += self._lines(family, before, said)
            else:
                parts.append(self._text(family))
        self._said = said
        return "".join((*parts, self._end))

    def _lines(self, family: Metric, before: Said, said: Said) -> Iterator[str]:
        of = (family.name, family.documentation, family.type, family.unit)
        head = said.heads[of] = before.heads.get(of) or self._text(_with(family, []))
        yield head
        keys = [(sample.name, tuple(sample.labels.items())) for sample in family.samples]
        new = [at for at, key in enumerate(keys) if key not in before.names]
        names = self._names(family, new, head) if new else {}
        for at, (key, sample) in enumerate(zip(keys, family.samples, strict=True)):
            name = said.names[key] = names.get(at) or before.names[key]
            yield f"{name} {floatToGoString(sample.value)}\n"  # type: ignore[no-untyped-call]

    def _names(self, family: Metric, places: list[int], head: str) -> dict[int, str]:
        samples = [family.samples[at]._replace(value=0.0) for at in places]
        lines = self._text(_with(family, samples)).removeprefix(head)[:-1].split("\n")
        return {at: line.removesuffix(" 0.0") for at, line in zip(places, lines, strict=True)}

    def _text(self, family: Metric) -> str:
        return self._encode(_Families([family])).decode().removesuffix(self._end)


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _has_version(accepted: str) -> bool:
    return all(map(VERSION.fullmatch, _values(accepted, "version")))


def _weight(accepted: str) -> float:
    # What cannot be understood is ignored.
    given = [float(value) for value in _values(accepted, "q") if WEIGHT.fullmatch(value)]
    return given[0] if given else 1.0


def _values(accepted: str, wanted: str) -> list[str]:
    parameters = (part.strip().partition("=") for part in accepted.split(";"))
    return [value for name, _, value in parameters if name.lower() == wanted]


def _is_plain(family: Metric) -> bool:
    return all(sample[3:] == PLAIN and not sample.name.endswith(APART) for sample in family.samples)


def _with(family: Metric, samples: list[Sample]) -> Metric:
    other = copy(family)
    other.samples = samples
    return other
