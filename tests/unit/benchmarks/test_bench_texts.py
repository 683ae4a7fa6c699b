"""The harness never sends a text twice."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.texts import Cursor, Texts

WORDS = st.text(alphabet="ab 1\u00e4\U0001f600", min_size=1, max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(0, 1 << 41))
def test_texts_of_any_stretch_of_numbers_differ(words: list[str], first: int) -> None:
    texts = Texts([*words, *words])

    stretch = [texts.at(first + i) for i in range(3 * len(texts))]

    assert len(set(stretch)) == len(stretch)


def test_texts_that_look_numbered_are_left_out() -> None:
    texts = Texts(["good", "good again1", "once again"])

    assert [texts.at(i) for i in range(4)] == [
        "good",
        "once again",
        "good again1",
        "once again again1",
    ]


def test_text_file_has_an_escaped_line_for_each_text(tmp_path: Path) -> None:
    words = ['say "yes"', "back\\slash", "\U0001f600 caf\u00e9", "tab\there"]

    file = Texts(words).write(tmp_path / "texts.txt")

    lines = file.read_text(encoding="ascii").splitlines()
    assert [json.loads(f'"{line}"') for line in lines] == words


def test_cursor_gives_every_number_once() -> None:
    cursor = Cursor()

    assert [cursor.take(10), cursor.take(1), cursor.take(5), cursor.next] == [0, 10, 11, 16]
