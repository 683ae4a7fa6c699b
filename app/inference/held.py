"""API process. The texts of one lane that are held: their cost, and in which order they leave."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from app.inference.slots import Slot

# Texts of one chunk are answered together. So a text that takes longer than this is in none with
# one that costs so many times less.
SHORT_S = 0.025
MAX_COST_RATIO = 4


class Held:
    """Slots in the order in which they came; `cost` is that of all of them.

    What leaves from the midst is only marked, and swept out later: nobody searches.
    """

    __slots__ = ("_gone", "_has_passed", "_slots", "cost", "is_even")

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self._gone = 0
        self._has_passed = False
        self.cost = 0.0
        # Whether each of them costs 1.
        self.is_even = True

    def __len__(self) -> int:
        return len(self._slots) - self._gone

    def __iter__(self) -> Iterator[Slot]:
        return (slot for slot in self._slots if slot.is_held) if self._gone else iter(self._slots)

    @property
    def oldest(self) -> Slot:
        """The one that came first; there must be one."""
        return self._slots[0]

    def add(self, slot: Slot) -> None:
        """Hold one that comes after all others."""
        self._slots.append(slot)
        self._count(slot)

    def add_first(self, slot: Slot) -> None:
        """Hold one that came before all others."""
        self._slots.appendleft(slot)
        self._count(slot)

    def discard(self, slot: Slot) -> bool:
        """Hold it no longer; whether it was held."""
        if not slot.is_held:
            return False
        self._remove([slot])
        return True

    def take(
        self, max_texts: int, max_cost: float, unit_s: float, is_pressed: Callable[[Slot], bool]
    ) -> list[Slot]:
        """Those that leave together, one at least; a cost of 1 takes a worker `unit_s`.

        Those that came first; where some cost more than others, by turns those that cost least and
        those that came first, with what costs about the same. Nobody passes one that `is_pressed`.
        """
        taken: list[Slot] = []
        for slot in self if self.is_even else self._alike(unit_s, is_pressed):
            if len(taken) == max_texts or (taken and slot.cost > max_cost):
                break
            max_cost -= slot.cost
            taken.append(slot)
        self._remove(taken)
        return taken

    def _alike(self, unit_s: float, is_pressed: Callable[[Slot], bool]) -> Iterable[Slot]:
        """The one whose turn it is, and those that cost about the same."""

        def are_alike(one: Slot, other: Slot) -> bool:
            cheaper, dearer = sorted((one.cost, other.cost))
            return dearer * unit_s <= SHORT_S or dearer <= MAX_COST_RATIO * cheaper

        first = self.oldest
        if not is_pressed(first):
            # By turns: the cheapest alone would keep others waiting without end, and the oldest
            # alone everybody for as long as the dearest take.
            cheapest = min(self, key=lambda slot: slot.cost)
            self._has_passed = not self._has_passed and not are_alike(first, cheapest)
            first = cheapest if self._has_passed else first
        return chain([first], (s for s in self if s is not first and are_alike(s, first)))

    def _count(self, slot: Slot) -> None:
        slot.is_held = True
        self.cost += slot.cost
        self.is_even = self.is_even and slot.cost == 1.0

    def _remove(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.is_held = False
            self.cost -= slot.cost
        self._gone += len(slots)
        while self._slots and not self._slots[0].is_held:
            self._slots.popleft()
            self._gone -= 1
        if 2 * self._gone > len(self._slots):
            self._slots, self._gone = deque(self), 0
        if not self._slots:
            self.cost, self.is_even = 0.0, True
