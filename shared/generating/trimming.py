"""Trims a text to its clauses that may stand: a true line need not be lost for one word too loud or too many.

What is left is still the writer's own words, and goes through the gate like any text. A text with an invention is never
trimmed: who invents once has done so again as like as not, where no check sees it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain import Language
from shared.generating.width import display_width

Span = tuple[int, int]

_BREAKS: dict[Language, re.Pattern[str]] = {
    "zh": re.compile(r"[，。！？；!?;]+"),
    "en": re.compile(r"(?<![.!?;])[.!?;]+(?=\s|$)|\s[–—-](?=\s)"),
}
_LEAST = {"zh": 8, "en": 5}  # Chinese characters, words
_UNITS = {"zh": re.compile(r"[\u3400-\u9fff]"), "en": re.compile(r"[\w'’]+")}
# A clause that leans on the one before it cannot come first.
_LEANS: dict[Language, re.Pattern[str]] = {
    "zh": re.compile(
        r"(?:但|却|而|也|还|并|更|又|就|才|都|再|所以|因此|从而|让|使|令|同时|以及|和|或|及|且|其|它|这|那|此)"
    ),
    "en": re.compile(r"(?:and|but|or|so|yet|nor|which|that|this|these|those|it|they|its|their|both|also|then)\b", re.I),
}
# The first of a pair of words that wants the second.
_PAIRS = tuple(
    (re.compile(first), re.compile(second))
    for first, second in (
        ("不仅|不但|不光|不止", "还|也|更|而且"),
        ("既", "又|也"),
        ("无论|不管|不论", "都|也"),
        ("虽然|尽管", "但|却"),
        ("只要|如果|若|一旦", "就|便|都"),
        ("因为|由于", "所以|因此"),
        ("除了", "还|也"),
    )
)
# An English sentence that begins so has its main clause after the comma.
_SUBORDINATE = re.compile(
    r"(?:if|when|whether|while|with|without|for|as|because|although|though|since|once|unless|after|before|whatever"
    r"|wherever|whenever|from|in|on|at|by|to|thanks|made|designed|built|powered)\b",
    re.I,
)


def trimmed(text: str, bad: Sequence[Span], language: Language, *, room: int) -> str | None:
    """The text without the clauses that a span of `bad` touches, and without those at its end for which `room` columns
    are too few; None where nothing of use is left, or nothing has to go."""
    clauses = _clauses(text, language)
    if not bad and display_width(text) <= room:
        return None
    kept = [place for place, clause in enumerate(clauses) if not clause.touched(bad)]
    if language == "en":
        for place in set(range(len(clauses))) - set(kept):
            if (head := _head(text, clauses[place], bad)) is not None:
                clauses[place] = head
                kept = sorted([*kept, place])
    while len(kept) > 1 and display_width(_joined(text, [clauses[place] for place in kept], language)) > room:
        kept.pop()
    leaning = (place for place in kept if place and place - 1 not in kept)
    if not kept or any(_LEANS[language].match(text[clauses[place].start :]) for place in leaning):
        return None
    made = _joined(text, [clauses[place] for place in kept], language)
    if len(_UNITS[language].findall(made)) < _LEAST[language]:
        return None
    if language == "zh" and any(first.search(made) and not second.search(made) for first, second in _PAIRS):
        return None
    return made


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause of Chinese or a sentence of English: its place without the punctuation after it, and that."""

    start: int
    end: int
    close: str

    def touched(self, bad: Sequence[Span]) -> bool:
        return any(start < self.end and self.start < end for start, end in bad)


def _clauses(text: str, language: Language) -> list[_Clause]:
    found = []
    start = 0
    for match in (*_BREAKS[language].finditer(text), None):
        end = match.start() if match else len(text)
        part = text[start:end]
        if part.strip():
            lead = len(part) - len(part.lstrip())
            found.append(_Clause(start + lead, start + len(part.rstrip()), match.group() if match else ""))
        start = match.end() if match else end
    return found


def _head(text: str, sentence: _Clause, bad: Sequence[Span]) -> _Clause | None:
    """The main clause that an English sentence begins with, where all that is wrong comes after its comma."""
    first = min(start for start, end in bad if start < sentence.end and sentence.start < end)
    comma = text.rfind(", ", sentence.start, max(first, sentence.start))
    head = text[sentence.start : max(comma, sentence.start)]
    if _SUBORDINATE.match(head) or len(_UNITS["en"].findall(head)) < _LEAST["en"]:
        return None
    return _Clause(sentence.start, comma, sentence.close if sentence.close == "?" else ".")


def _joined(text: str, kept: Sequence[_Clause], language: Language) -> str:
    """The clauses with the punctuation that followed them; the last one ends as the text did, or asks as it did."""
    closing = text[-1] if text[-1:] in tuple("。！？.!?") else ""
    parts = [text[clause.start : clause.end] for clause in kept]
    between = "" if language == "zh" else " "
    made = "".join(f"{part}{clause.close}{between}" for part, clause in zip(parts, kept[:-1], strict=False))
    asks = kept[-1].close if kept[-1].close[:1] in ("?", "？") else ""
    made += parts[-1] + (asks or closing or ("." if language == "en" and kept[-1].close else ""))
    return made if language == "zh" else made[:1].upper() + made[1:]
