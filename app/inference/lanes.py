"""API process. Where texts go, those that are held on the way, and the chunks that left."""

from collections import deque
from typing import NamedTuple

from app.contract import Chunk
from app.inference.slots import Slot
from app.inference.window import ChunkSize, Window


class Route(NamedTuple):
    """Where a text goes: one version, on the queue of one kind of device."""

    ref: str
    device: str


class Flight(NamedTuple):
    """A chunk on its way: its slots in the order of its texts."""

    route: Route
    slots: list[Slot]
    sent_at: float
    deadline: float

    def chunk(self) -> Chunk:
        """The message; it is worth computing until the last caller has left."""
        ids = {ask.request_id for slot in self.slots for ask in slot.asks}
        return Chunk(
            ref=self.route.ref,
            texts=[slot.asks[0].text for slot in self.slots],
            deadline=self.deadline,
            request_ids=sorted(ids),
        )


class Lane:
    """The texts of one route that are held, and the chunks of it in flight."""

    __slots__ = ("held", "in_flight", "size", "window")

    def __init__(self) -> None:
        self.held: deque[Slot] = deque()
        self.in_flight = 0
        self.size = ChunkSize()
        self.window = Window()

    def may_send(self, held_before: float) -> bool:
        """Whether a chunk may leave: the window is open, or the oldest text was held too long."""
        if not self.held:
            return False
        return self.in_flight < self.window.size or self.held[0].held_at <= held_before
