"""Worker process. The text steps: pure functions from one text to one text.

Keyword-only parameters are the options that a manifest may set. No function raises on any text,
lone surrogates included, and each but `unescape_html` is idempotent with its default options.
"""

import html
import re
import unicodedata
from functools import lru_cache
from typing import Literal

_SURROGATE = re.compile("[\ud800-\udfff]")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
# An address such as someone@example.org is no mention, therefore no word character before the @.
_MENTION = re.compile(r"(?<!\w)(?:@\w+)+")
_HASH_SIGN = re.compile(r"(?<!\w)#+(?=\w)")
_NEGATIONS = frozenset(
    ("no", "not", "never", "nor", "neither", "none", "nothing", "nobody", "without", "cannot")
)
_CLAUSE_ENDS = ".,:;!?()"

NEGATED = "not_"
# Tokens of social media: emoticons, words with inner apostrophes or hyphens, runs of punctuation.
# No lookaround, so that a token alone is always found again as the same token.
_TOKENS = {
    "words": re.compile(r"\w+"),
    "social": re.compile(
        r"[<>]?[:;=8][-o*']?[)\](\[dDpP/\\|@3]+"
        r"|<3+"
        r"|[^\W_]+(?:['’-][^\W_]+)*"  # noqa: RUF001 - the typographic apostrophe is meant
        r"|_+\w*"
        r"|[!?]+|\.{2,}"
        r"|[^\w\s]"
    ),
}


def normalize_unicode(text: str, *, form: Literal["NFC", "NFD", "NFKC", "NFKD"] = "NFC") -> str:
    """One spelling for equal characters; lone surrogates become U+FFFD."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize(form, text)


def unescape_html(text: str) -> str:
    """Character references (`&amp;`, `&#39;`) become the characters that they stand for."""
    return html.unescape(text)


def lowercase(text: str) -> str:
    """Lower case of every script."""
    return text.lower()


def replace_urls(text: str, *, replacement: str = " ") -> str:
    """Web addresses, up to the next white space, become `replacement`."""
    # Most texts have none, and to look for a character takes a tenth of the time.
    if "://" not in text and "www." not in text.lower():
        return text
    return _URL.sub(lambda _: replacement, text)


def replace_mentions(text: str, *, replacement: str = " ") -> str:
    """`@name` becomes `replacement`; an e-mail address stays."""
    if "@" not in text:
        return text
    return _MENTION.sub(lambda _: replacement, text)


def strip_hash_signs(text: str) -> str:
    """`#word` becomes `word`."""
    if "#" not in text:
        return text
    return _HASH_SIGN.sub("", text)


def limit_repeats(text: str, *, max_run: int = 3) -> str:
    """Runs of one character are cut to `max_run`: `sooooo` becomes `sooo`."""
    return _run_longer_than(max(1, max_run)).sub(r"\1", text)


def replace_special_characters(text: str, *, keep: str = "", replacement: str = " ") -> str:
    """Everything but letters, marks, digits, white space and `keep` becomes `replacement`."""
    return text.translate(_special_characters(keep, replacement))


def collapse_whitespace(text: str) -> str:
    """Runs of white space become one space; none at the ends."""
    return " ".join(text.split())


def tokenize(text: str, *, pattern: Literal["words", "social"] = "words") -> str:
    """Tokens joined by single spaces; characters outside every token are dropped.

    `words` keeps runs of letters and digits; `social` also emoticons, punctuation marks and words
    with an apostrophe or a hyphen inside.
    """
    return " ".join(_TOKENS[pattern].findall(text))


def mark_negation(text: str, *, max_words: int = 3) -> str:
    """Up to `max_words` tokens after a negation, within its clause, get the prefix `not_`."""
    marked, left = [], 0
    for token in text.split():
        if token in _NEGATIONS or token.endswith("n't"):
            left = max_words
        elif left and not token.strip(_CLAUSE_ENDS):
            left = 0
        elif left:
            left -= 1
            if not token.startswith(NEGATED):
                token = NEGATED + token
        marked.append(token)
    return " ".join(marked)


@lru_cache(maxsize=32)
def _run_longer_than(max_run: int) -> re.Pattern[str]:
    return re.compile(rf"((.)\2{{{max_run - 1}}})\2+", re.DOTALL)


class _SpecialCharacters(dict[int, str]):
    """A table for `str.translate` that decides about a character when it first meets it."""

    def __init__(self, keep: str, replacement: str) -> None:
        super().__init__()
        self._keep = keep
        self._replacement = replacement

    def __missing__(self, code: int) -> str:
        character = chr(code)
        # Marks are kept: Indic vowel signs and decomposed accents are no letters to Python.
        kept = unicodedata.category(character)[0] in "LMN"
        kept = kept or character.isspace() or character in self._keep
        self[code] = character if kept else self._replacement
        return self[code]


@lru_cache(maxsize=32)
def _special_characters(keep: str, replacement: str) -> _SpecialCharacters:
    return _SpecialCharacters(keep, replacement)
