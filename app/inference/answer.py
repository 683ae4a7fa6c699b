"""API process. What a request learns of its texts."""

from typing import Literal

import msgspec

from app.contract import Outcome
from app.inference.timing import REMEMBERED, Timing

Source = Literal["hit", "miss", "coalesced"]


class Answer(msgspec.Struct, frozen=True):
    """Outcomes in the order of the texts; `labels` names their probabilities.

    `digest` is that of the version.

    `remembered` texts came from the cache, `joined` ones shared a computation that was on its way
    for another request; the rest was computed for this one. `wait_s` is how long it might take.
    `timing` is that of the slowest chunk; None where nothing was computed.
    """

    ref: str
    labels: list[str]
    outcomes: list[Outcome]
    remembered: int
    joined: int
    digest: str
    wait_s: float
    timing: Timing | None = None

    @property
    def source(self) -> Source:
        """`miss` where anything was computed for this request."""
        if self.remembered + self.joined < len(self.outcomes):
            return "miss"
        return "coalesced" if self.joined else "hit"

    @property
    def server_timing(self) -> str | None:
        """The value of `Server-Timing`; None where a text ran out of time and none was sent."""
        if self.timing is not None:
            return self.timing.header()
        if self.remembered == len(self.outcomes):
            return REMEMBERED
        return None if any(outcome.is_expired for outcome in self.outcomes) else REMEMBERED
