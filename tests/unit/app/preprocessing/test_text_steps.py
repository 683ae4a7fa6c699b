"""The text steps, and the laws that hold for any text."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.preprocessing import text
from app.preprocessing.pipeline import TEXT_STEPS

# Lone surrogates included, which `st.text()` leaves out.
any_text = st.text(st.characters(exclude_categories=()))
# Text that is likely to hold what the steps look for.
ascii_parts = st.sampled_from(
    ["http://a.b/c", "WWW.x", "@me", "#tag", "##", "&amp;lt;", ":-)", "don't", "not", "so", "!!"]
)
other_parts = st.sampled_from(
    ["aaaa", "\u0301", "İ", "ß", "\u2028", " ", "\x00", "\ud83d", "\ude00", "मैं", "你好", "."]
)
web_text = st.lists(ascii_parts | other_parts, max_size=12).map("".join)
IDEMPOTENT = sorted(TEXT_STEPS.keys() - {"html_entities"})


@given(any_text | web_text)
def test_every_step_gives_text_for_any_text(given_text):
    given = {step: TEXT_STEPS[step](given_text) for step in TEXT_STEPS}

    assert {step: type(found) for step, found in given.items()} == dict.fromkeys(TEXT_STEPS, str)


@given(any_text | web_text)
def test_step_done_twice_changes_nothing_more(given_text):
    once = {step: TEXT_STEPS[step](given_text) for step in IDEMPOTENT}

    assert {step: TEXT_STEPS[step](found) for step, found in once.items()} == once


@given(any_text, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_unicode_gives_normal_text_that_can_be_encoded(given_text, form):
    normal = text.normalize_unicode(given_text, form=form)

    assert unicodedata.is_normalized(form, normal)
    normal.encode("utf-8")


@given(any_text | web_text, st.sampled_from(["words", "social"]))
def test_tokenize_keeps_tokens_whole_when_repeated(given_text, pattern):
    tokens = text.tokenize(given_text, pattern=pattern)

    assert text.tokenize(tokens, pattern=pattern) == tokens
    assert "  " not in tokens
    assert tokens == tokens.strip(" ")


@given(any_text | web_text, st.integers(1, 5))
def test_limit_repeats_leaves_no_longer_run(given_text, max_run):
    limited = text.limit_repeats(given_text, max_run=max_run)

    assert all(len(set(limited[at : at + max_run + 1])) > 1 for at in range(len(limited) - max_run))


# What the steps do, told by one pattern each; they look first for what is quick to find.
ADDRESS = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
MENTION = re.compile(r"(?<!\w)(?:@\w+)+")
HASH_SIGN = re.compile(r"(?<!\w)#+(?=\w)")
NEGATION = re.compile("no|not|never|nor|neither|none|nothing|nobody|without|cannot|.*n't")
CLAUSE_END = re.compile(r"[.,:;!?()]+")
near_address = st.text(st.sampled_from("hHtpPsS\u017fwW:/.a @#_")) | web_text
negation_part = st.sampled_from(
    [
        "not",
        "no",
        "can't",
        "n't",
        "nothing",
        "none",
        "never_",
        "good",
        "not_bad",
        "?",
        "!?",
        ".)",
        "a.",
    ]
)


@given(any_text | near_address)
def test_addresses_mentions_and_hash_signs_are_found_wherever_they_are(given_text):
    assert text.replace_urls(given_text) == ADDRESS.sub(" ", given_text)
    assert text.replace_mentions(given_text) == MENTION.sub(" ", given_text)
    assert text.strip_hash_signs(given_text) == HASH_SIGN.sub("", given_text)


@given(st.lists(negation_part, max_size=20), st.integers(0, 4))
def test_negation_marks_the_next_words_of_its_clause(tokens, max_words):
    expected, left = [], 0
    for token in tokens:
        is_word = not NEGATION.fullmatch(token) and not CLAUSE_END.fullmatch(token)
        is_marked = is_word and left > 0
        expected.append(f"not_{token.removeprefix('not_')}" if is_marked else token)
        left = left - is_marked if is_word else max_words * bool(NEGATION.fullmatch(token))

    assert text.mark_negation(" ".join(tokens), max_words=max_words) == " ".join(expected)


@given(any_text)
def test_special_characters_leave_letters_marks_digits_and_white_space(given_text):
    left = text.replace_special_characters(given_text, keep="'")

    assert all(c == "'" or c.isspace() or unicodedata.category(c)[0] in "LMN" for c in left)


@pytest.mark.parametrize(
    ("step", "options", "before", "after"),
    [
        ("unicode", {"form": "NFKC"}, "ﬁne \uff21", "fine A"),
        ("unicode", {}, "e\u0301 \ud83d\ude00 \ud83d", "é 😀 \ufffd"),
        ("html_entities", {}, "Q&amp;A &#39;x&#39;", "Q&A 'x'"),
        ("lowercase", {}, "ÀB Ж", "àb ж"),
        ("urls", {"replacement": "_url_"}, "see HTTPS://x.org/a?b=c now", "see _url_ now"),
        ("urls", {"replacement": r"\1"}, "www.x.org", r"\1"),
        ("mentions", {"replacement": "_user_"}, "hi @Bob_1, a@b.org", "hi _user_, a@b.org"),
        ("hashtags", {}, "#good C# # x", "good C# # x"),
        ("repeats", {}, "soooooo goood!!!!!", "sooo goood!!!"),
        ("repeats", {"max_run": 1}, "aab", "ab"),
        ("special_characters", {"keep": "!"}, "a-b! (c)", "a b!  c "),
        ("special_characters", {"replacement": ""}, "मैं, a-b", "मैं ab"),
        ("whitespace", {}, " a\t\n b\u3000c ", "a b c"),
        ("tokenize", {}, "it's 5 o'clock: go!", "it s 5 o clock go"),
        ("tokenize", {"pattern": "social"}, "isn't :-) great!!! <3", "isn't :-) great !!! <3"),
        ("negation", {}, "not a good film , really", "not not_a not_good not_film , really"),
        ("negation", {"max_words": 1}, "i don't like it", "i don't not_like it"),
    ],
)  # fmt: skip
def test_step_does_what_it_is_named_after(step, options, before, after):
    assert TEXT_STEPS[step](before, **options) == after
