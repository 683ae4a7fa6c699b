"""Worker process. Which texts are computed together, so that passes and padding cost least.

Where a batch is padded to its longest text, few batches pad much, and many batches pass often: a
pass costs something whatever is in it. What is best between the two follows from the lengths alone.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

# What a pass costs besides its tokens, as a share of the largest batch. `mlserve tune` takes the
# smallest budget that is within 2 % of the fastest, so that passes cost 2 to 4 % of full batches.
PASS_SHARE = 0.04


class _Plan(NamedTuple):
    """The cheapest way to compute the texts up to one length, the last ones as long as that.

    These begin at the place `start` among all texts in order.
    """

    cost: float
    start: int


def batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Numbers of texts for each batch, shorter texts first, each text once.

    `lengths` are in tokens. A batch has at most `max_tokens` with its padding, and at least one
    text. Dynamic programming over the different lengths (Bellman, 1954): exact but for this, that
    texts of one length are not parted between a batch of longer and one of shorter texts.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    end = len(order)
    found: list[list[int]] = []
    plans = _plans([lengths[row] for row in order], max_tokens)
    while end:
        start = plans[end].start
        size = _max_texts(lengths[order[end - 1]], max_tokens)
        # From the longest one down: what is left over for a batch of its own are short ones.
        for last in range(end, start, -size):
            found.append(order[max(start, last - size) : last])
        end = start
    yield from reversed(found)


def full_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """The same where nothing is padded: as many texts as have `max_tokens` together."""
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[row] > max_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch


def _plans(ordered: Sequence[int], max_tokens: int) -> dict[int, _Plan]:
    """The plan for the first n texts, for each n at which a length ends; and for none."""
    pass_tokens = PASS_SHARE * max_tokens
    starts, plans = [], {0: _Plan(0.0, 0)}
    end = 0
    for length, texts in groupby(ordered):
        starts.append(end)
        end += sum(1 for _ in texts)
        # Texts that differ by more than a pass costs are better off in two.
        near = [start for start in starts if length - ordered[start] <= pass_tokens]
        size = _max_texts(length, max_tokens)
        options = []
        for start in near:
            passes = -(-(end - start) // size)
            cost = plans[start].cost + passes * pass_tokens + (end - start) * length
            options.append(_Plan(cost, start))
        plans[end] = min(options)
    return plans


def _max_texts(length: int, max_tokens: int) -> int:
    return max(1, max_tokens // max(1, length))
