"""A lawful text from an unlawful one: put the lawful wording in place, or leave the clause out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Change = tuple[int, int, str | None]  # [start, end) of the text, and what may stand there; None: nothing

_ROUNDS = 6
_CLAUSE_END = re.compile(r"[，。！？；、,!?;\n…]|[.:](?=\s|$)|(?<=[\u4e00-\u9fff])[:：\s]|[—–]{1,2}|\s[-|]\s")
_EDGES = " \t\n，。；、：,;:-—–|/·&+!！?？"
_JOINING = re.compile(r"^(?:且|而且|并且|更|又|还|也|并|但|让|的|and|but|so|or)\s*(?=\S)")
_DOUBLED = re.compile(r"([，。！？；、,;:])\s*(?=[，。！？；、,.;:!?])")


def rewrite(text: str, changes: Callable[[str], Sequence[Change]]) -> str | None:
    """The text with every change made; None where nothing worth saying is left.

    changes: what is unlawful in a draft. The result has none.
    """
    draft = text
    for _ in range(_ROUNDS):
        found = _merged(changes(draft))
        if not found:
            return draft if says_something(draft) else None
        draft = _mended(draft, found)
        if not draft:
            return None
    return None


def says_something(text: str) -> bool:
    """Whether there are three Chinese characters or two Latin words."""
    return len(re.findall(r"[\u3400-\u9fff]", text)) >= 3 or len(re.findall(r"[A-Za-z]{2,}", text)) >= 2


def _merged(changes: Sequence[Change]) -> list[Change]:
    """In order, without overlaps; where two overlap nothing can stand in place, unless they are the same."""
    merged: list[Change] = []
    for start, end, new in sorted(changes, key=lambda change: (change[0], -change[1])):
        if merged and start < merged[-1][1]:
            low, high, other = merged[-1]
            merged[-1] = (low, max(high, end), other if (new == other or end <= high) and new is not None else None)
        else:
            merged.append((start, end, new))
    return merged


def _mended(text: str, changes: Sequence[Change]) -> str:
    """Every change made: a clause that nothing lawful can stand in goes, unless no other would be left."""
    shorter = _put(text, changes, keep_clauses=False)
    return shorter if says_something(shorter) else _put(text, changes, keep_clauses=True)


def _put(text: str, changes: Sequence[Change], *, keep_clauses: bool) -> str:
    kept: list[str] = []
    first = 0
    for low, high in _clauses(text):
        while first < len(changes) and changes[first][1] <= low:
            first += 1
        last = first
        while last < len(changes) and changes[last][0] < high:
            last += 1
        own = changes[first:last]
        if keep_clauses or all(new is not None and low <= start and end <= high for start, end, new in own):
            kept.append(_replaced(text, low, high, own))
    return _tidy("".join(kept))


def _clauses(text: str) -> list[tuple[int, int]]:
    """Clauses with the mark that ends them."""
    ends = [match.end() for match in _CLAUSE_END.finditer(text)]
    starts = [0, *ends]
    return [(low, high) for low, high in zip(starts, [*ends, len(text)], strict=True) if low < high]


def _replaced(text: str, low: int, high: int, changes: Sequence[Change]) -> str:
    parts = []
    for start, end, new in changes:
        parts += [text[low : max(start, low)], new or "" if start >= low else ""]
        low = min(end, high)
    return "".join([*parts, text[low:high]])


def _tidy(text: str) -> str:
    text = re.sub(r"[ \t]{2,}", " ", _DOUBLED.sub("", text))
    text = _JOINING.sub("", text.strip().lstrip(_EDGES)).lstrip(_EDGES)
    text = text.rstrip("，；、：,;:-—–|/·&+ ")
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
