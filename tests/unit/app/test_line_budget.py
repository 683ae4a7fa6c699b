"""Lines of the same failure: the first of each second, and how many were left out."""

from app.line_budget import LineBudget


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_first_lines_of_a_second_are_written_and_the_rest_are_left_out():
    budget = LineBudget(max_lines=2, now=Clock())

    assert [budget.take("a") for _ in range(4)] == [0, 0, None, None]


def test_next_second_begins_with_the_number_of_lines_that_were_left_out():
    clock = Clock()
    budget = LineBudget(max_lines=2, now=clock)
    for _ in range(5):
        budget.take("a")

    clock.now += 1.0

    assert [budget.take("a") for _ in range(3)] == [3, 0, None]


def test_kinds_do_not_share_a_budget():
    budget = LineBudget(max_lines=1, now=Clock())

    assert [budget.take("a"), budget.take("b"), budget.take("a")] == [0, 0, None]


def test_rare_lines_are_all_written():
    clock = Clock()
    budget = LineBudget(max_lines=1, now=clock)
    taken = []
    for _ in range(5):
        taken.append(budget.take("a"))
        clock.now += 1.0

    assert taken == [0] * 5
