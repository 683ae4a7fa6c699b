"""Shared. The text of a scrape, in the words of an encoder of prometheus_client.

Of a sample all but the value is the same in every scrape, and takes most of the time to write. So
the encoder is asked for it once.
"""

from collections.abc import Callable, Iterable
from copy import copy

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


class Exposition:
    """The texts of one collector, or registry."""

    def __init__(self) -> None:
        self._formats: dict[str, Format] = {}

    def encode(self, collector: Collector, accept: str) -> tuple[str, str]:
        """What it says now, and the content type, for the `Accept` header of a request."""
        encode, content_type = choose_encoder(accept)
        chosen = self._formats.pop(content_type, None) or Format(encode)
        # The one that was wanted last is forgotten last.
        self._formats[content_type] = chosen
        for unwanted in list(self._formats)[:-MAX_FORMATS]:
            self._formats.pop(unwanted, None)
        return chosen.encode(collector), content_type


class Format:
    """One encoder, and what it said of the families and samples of the last scrape."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._end = encode(_Families([])).decode()
        self._heads: dict[tuple[str, str, str, str], str] = {}
        self._names: dict[tuple[str, Labels], str] = {}

    def encode(self, collector: Collector) -> str:
        """As the encoder would."""
        parts: list[str] = []
        # What nobody has any more is forgotten.
        heads: dict[tuple[str, str, str, str], str] = {}
        names: dict[tuple[str, Labels], str] = {}
        for family in collector.collect():
            if not _is_plain(family):
                parts.append(self._text(family))
                continue
            of = (family.name, family.documentation, family.type, family.unit)
            head = heads[of] = self._heads.get(of) or self._text(_with(family, []))
            parts.append(head)
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                name = self._names.get(key) or self._name(family, sample, head)
                names[key] = name
                parts.append(f"{name} {floatToGoString(sample.value)}\n")  # type: ignore[no-untyped-call]
        self._heads, self._names = heads, names
        return "".join((*parts, self._end))

    def _name(self, family: Metric, sample: Sample, head: str) -> str:
        text = self._text(_with(family, [sample._replace(value=0.0)]))
        return text.removeprefix(head).removesuffix(" 0.0\n")

    def _text(self, family: Metric) -> str:
        return self._encode(_Families([family])).decode().removesuffix(self._end)


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _is_plain(family: Metric) -> bool:
    return all(sample[3:] == PLAIN and not sample.name.endswith(APART) for sample in family.samples)


def _with(family: Metric, samples: list[Sample]) -> Metric:
    other = copy(family)
    other.samples = samples
    return other
