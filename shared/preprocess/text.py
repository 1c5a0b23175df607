"""Text to show (`clean_text`) and text to compare (`match_key`).

The ranges and tags below are written out instead of asked from `unicodedata` and `html.parser`, since both change with
the Python release: a model trained on one release and served on another must see the same characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from html import unescape
from html.entities import html5
from pathlib import Path

PREPROCESS_VERSION = "1"
LOOKED_AT = 8  # characters for each that a clean text may have: of markup there may be much

# Controls that are not white space, zero-width and direction marks, variation selectors, fillers, tags, non-characters
# and lone surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# Nothing in a text of these characters needs more than a look at its spaces.
_PLAIN = re.compile("[ !-%'-;=-~\u3001-\u3029\u4e00-\u9fff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff5e]*")
_WIDE = re.compile("[\u3000\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+")
_NARROW = {0x3000: 0x20} | {
    wide: wide - 0xFEE0 for wide in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
}

# Entities without their semicolon stay as they are: "R&D", "a=1&copy=2".
_ENTITY = re.compile(r"&(#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
_NESTED_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0{0,5}38|#[xX]0{0,5}26);)+")
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)(?:\s[^<>]*)?>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
# No part of a tag may hold another "<": every search ends at the next one, so that the time is linear.
_TAG = re.compile(
    r"""<[/?!]?([A-Za-z][A-Za-z0-9:-]*)(?:(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*')*)?|[\s/][^<>]*)>""",
)
_INLINE = re.compile(
    "a|abbr|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|small|span|strong|sub|sup|tt|u|var|wbr",
    re.IGNORECASE,
)
_MOST_PASSES = 8
_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_NOT_WORD = re.compile(r"[\W_]+")


def clean_text(text: str, limit: int = 2000) -> str:
    """The text as people should see it, at most `limit` characters; ``clean_text(clean_text(x)) == clean_text(x)``.

    HTML goes (tags, comments, scripts; entities become their characters, however often they were escaped), control and
    zero-width characters and lone surrogates go, full-width letters, digits and spaces become half-width, characters
    are composed (NFC) and white space becomes single spaces. Chinese punctuation and traditional characters stay.
    """
    if _PLAIN.fullmatch(text):
        clean = text if "  " not in text and text[:1] != " " and text[-1:] != " " else " ".join(text.split())
    else:
        clean = _thorough(text[: max(LOOKED_AT * limit, 1000)])
    return clean if len(clean) <= limit else clean[:limit].rstrip()


def match_key(text: str) -> str:
    """What two texts have in common when only width, case, script, spaces and punctuation differ. For comparing only.

    NFKC, case-folded, simplified Chinese character by character (a word table would make the key depend on spaces),
    letters and digits only.
    """
    if text.isascii():
        return _NOT_WORD.sub("", text).lower()
    key = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", key).translate(_simplified()))


def to_simplified(text: str) -> str:
    """The text with traditional characters made simplified, one for one, so that places in it stay the same."""
    return text.translate(_simplified())


def has_invisible(text: str) -> bool:
    """Whether the text holds a control, zero-width or other character that nobody sees, line breaks included."""
    return not text.isprintable() and bool(_INVISIBLE.search(text) or _BREAKS.search(text))


def visible(text: str) -> str:
    """The text without characters that nobody sees; line breaks stay."""
    return text if text.isprintable() else _INVISIBLE.sub("", text)


def _thorough(text: str) -> str:
    """One pass may bring out what the next has to remove (``&lt;b&gt;``, ``<<i>b>``): passes until nothing changes."""
    for _ in range(_MOST_PASSES):
        once = _characters(_markup(text))
        if once == text:
            return once
        text = once
    # Nested deeper than any real text: without these two nothing is left to interpret.
    return _characters(text.replace("<", " ").replace("&", " "))


def _markup(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(_entity, _NESTED_AMPERSAND.sub("&", text))
    if "<" in text and (">" in text or "<!--" in text):
        text = _TAG.sub(_tag, _HIDDEN.sub(" ", text))
    return text


def _entity(match: re.Match[str]) -> str:
    name = match[1]
    return unescape(match[0]) if name[0] == "#" else html5.get(name + ";", match[0])


def _tag(match: re.Match[str]) -> str:
    return "" if _INLINE.fullmatch(match[1]) else " "


def _characters(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    if _WIDE.search(text):
        text = text.translate(_NARROW)
    return " ".join(unicodedata.normalize("NFC", text).split())


@cache
def _simplified() -> dict[int, str]:
    lines = Path(__file__).with_name("traditional.tsv").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if not line.startswith("#"))
    return {ord(traditional): simplified for traditional, simplified in pairs}
