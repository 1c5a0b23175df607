"""What a number counts: ``eight evenings`` contradicts six evenings, even where the ad has eight of something else."""

from __future__ import annotations

import re

from shared.policy.english_numbers import NUMBER_WORDS
from shared.policy.numerals import Quantity
from shared.policy.vocabulary import Vocabulary, frame, stem

_WORD = re.compile(r"[A-Za-z][A-Za-z']*|[.,;:!?()\n]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_NUMERAL = re.compile(rf"\b(?:{NUMBER_WORDS})\b|[\d零〇一二三四五六七八九十百千万亿两]+", re.I)
_FUNCTION = frame("counting.function")
_CLASSIFIERS = frozenset("个款种件项样类套组条大重次遍回份位名只双副对台部把根支瓶盒包袋片粒颗枚罐张篇本册段层级档")

Keys = frozenset[str | int]


def counted(plain: str, quantity: Quantity, known: Vocabulary) -> Keys:
    """The stems and concepts of what a quantity of a text counts."""
    unit = re.sub(_NUMERAL, " ", plain[quantity.start : quantity.end].lower())
    found = keys(unit, known) | _following(plain, quantity.end, known)
    return found | {quantity.unit.dimension} if ":" in quantity.unit.dimension else found


def keys(text: str, known: Vocabulary) -> Keys:
    """The stems and concepts in a piece of text, or in an attribute's name."""
    found: set[str | int] = set()
    for match in _WORD.finditer(text.replace("_", " ")):
        if match[0][0].isalpha():
            _add(stem(match[0].lower()), known, found)
    run = "".join(_HAN.findall(text))
    for start in range(len(run)):
        for length in (1, 2, 3):
            term = run[start : start + length]
            if len(term) == length and term not in _CLASSIFIERS and term in known.concepts:
                _add(term, known, found)
    return frozenset(found)


def _add(term: str, known: Vocabulary, found: set[str | int]) -> None:
    if term.isascii() and len(term) > 2:
        found.add(term)
    found.update(concept for concept, _ in known.concepts.get(term, ()) if known.kinds[concept] != "comparison")


def _following(plain: str, end: int, known: Vocabulary) -> Keys:
    if end < len(plain) and _HAN.match(plain, end):
        run = re.match(r"[\u3400-\u9fff]{0,4}", plain[end:])
        return keys(run[0] if run else "", known)
    words: list[str] = []
    for match in _WORD.finditer(plain[end : end + 48].lstrip("-")):
        word = match[0].lower()
        if not word[0].isalpha() or word in _FUNCTION or len(words) == 3:
            break
        words.append(word)
    return keys(" ".join(words), known)
