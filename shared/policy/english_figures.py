"""An ad's figures with what they count and what they are a rate of: four plants each, £38 a month, 4 g per 100 ml."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.policy.counting import Keys, counted, keys
from shared.policy.numerals import Quantity
from shared.policy.vocabulary import Vocabulary, stem

BESIDE = 44  # characters of the text on either side of a figure
_WORDS = r"(?: (?!and\b|or\b|with\b|for\b|in\b|at\b)[a-z'-]+)"
_PER = re.compile(
    rf"^(?:\s?/\s?|{_WORDS}{{0,2}}? (?:an?|per|each|every|for (?:an?|one|each|every)) )(?P<per>[a-z]+)"
    rf"|^{_WORDS}{{0,3}}? (?P<adv>daily|nightly|weekly|monthly|yearly|annually|hourly|each|apiece)\b"
    r"|^\s?(?:[/每]|一)个?(?P<zh>晚|天|日|周|星期|月|年|节|课时|次|人|小时|位)",
    re.I,
)
_PER_BEFORE = re.compile(
    rf"\b(?:each|every) (?P<per>[a-z]+){_WORDS}{{0,2}} $"
    r"|\b(?P<adv>daily|weekly|monthly|yearly|annual)(?: \w+)?:? $"
    r"|每(?P<zh>晚|天|日|周|星期|月|年|节|课时|次|人|小时|位)[^，。；、]{0,8}$",
    re.I,
)
_AMOUNT = re.compile(
    r"^(?: of [a-z]+)?(?: [a-z]+)? ?(?:/|per|in|for each|for every|in each|in every) ?(?P<n>100|10|1000) ?(?P<unit>ml"
    r"|g)\b",
    re.I,
)
_PERIOD = {
    "daily": "day", "nightly": "night", "weekly": "week", "monthly": "month", "yearly": "year", "annual": "year",
    "annually": "year", "hourly": "hour", "apiece": "each", "mo": "month", "yr": "year", "head": "person",
    "晚": "night", "天": "day", "日": "day", "周": "week", "星期": "week", "月": "month", "年": "year", "节": "lesson",
    "课时": "lesson", "次": "visit", "人": "person", "位": "person", "小时": "hour",
}  # fmt: skip
_ANTECEDENT = re.compile(r"^ of (?:them|these|those|which|whom)\b", re.I)
_NO_PER = frozenset(("lot", "little", "few", "bit", "half", "quarter", "the", "your", "pinch", "touch"))
_CLAUSE = re.compile(r"[.;!?](?!\d)|[。；！？\n]")


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity of an ad.

    `bound`: what limits it; `of`: stems and concepts of what it counts; `per`: what it is a rate of (``week``,
    ``person``, ``each``, ``100 ml``; empty for none); `sentence`: number of its sentence among those with figures, -1
    where it has no text; `beside`: what stands around it, in lower case.
    """

    field: str
    quantity: Quantity
    bound: str
    of: Keys
    per: str
    sentence: int
    beside: str = ""

    @property
    def value(self) -> Decimal:
        return self.quantity.value

    @property
    def dimension(self) -> str:
        return self.quantity.unit.dimension

    @property
    def is_count(self) -> bool:
        return not self.quantity.literal and self.dimension.partition(":")[0] in ("", "count")


def rate_of(plain: str, start: int, end: int) -> str:
    """What the quantity at ``[start, end)`` of a folded text is said to be a rate of; empty for nothing."""
    after = plain[end : end + 48]
    if (amount := _AMOUNT.match(after)) is not None:
        return f"{amount['n']} {amount['unit'].lower()}"
    before = _CLAUSE.split(plain[max(0, start - 48) : start])[-1]
    match = _PER.match(after) or _PER_BEFORE.search(before)
    if match is None:
        return ""
    name = (match["per"] or match["adv"] or match["zh"]).lower()
    return "" if name in _NO_PER else _PERIOD.get(name, rate_name(name))


def rate_name(name: str) -> str:
    """A word in small letters as `Figure.per` has it."""
    return stem(name) if len(name) > 5 else name


def figures(
    texts: Sequence[tuple[str, str]], quantities: Sequence[tuple[str, Quantity, str]], known: Vocabulary
) -> tuple[Figure, ...]:
    """The figures of an ad's (field, folded text) pairs, in their order; those without a text come first."""
    written = dict(texts)
    ends = {field: [match.start() for match in _CLAUSE.finditer(text)] for field, text in written.items()}
    sentences: dict[tuple[str, int], int] = {}
    found: list[Figure] = []
    for field, quantity, bound in quantities:
        text = written.get(field, "")
        named = keys(field.removeprefix("attributes."), known) if field.startswith("attributes.") else frozenset()
        if quantity.end == 0:
            found.append(Figure(field, quantity, bound, named, "", -1))
            continue
        of = counted(text, quantity, known) | named
        if _ANTECEDENT.match(text[quantity.end :]) and found and found[-1].field == field:
            of |= found[-1].of  # six pockets, two of them zipped
        last = quantity.start - 1
        begun = bisect_left(ends.get(field, ()), last) + (last >= 0 and bool(_CLAUSE.match(text, last, last + 1)))
        sentence = sentences.setdefault((field, begun), len(sentences))
        per = rate_of(text, quantity.start, quantity.end)
        beside = text[max(0, quantity.start - BESIDE) : quantity.end + BESIDE].lower()
        found.append(Figure(field, quantity, bound, of, per, sentence, beside))
    return tuple(found)
