"""What the claim ledger reads, and what it does not begin to: no person writes forty figures in a row.

The ledger tries many patterns from every figure on and compares each figure with every fact, so that its time grows
with the square of such a run. A hostile text (``1-1-1-…``) would take seconds of a request's processor, or all of the
stack. What is left unread supports nothing, and a copy that holds it is refused as a whole: the limits can only refuse
more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from shared.policy.characters import CJK

LONGEST_COPY = 1000  # characters; a channel takes a few hundred
MOST_IN_COPY = 60  # figures
MOST_IN_AD = 300  # figures, of all fields
LONGEST_RUN = 48  # of figures and the signs between them
LONGEST_WORD = 64  # letters, joined ones included
LONGEST_CLAUSE = 200  # Chinese characters without a sign
BREAK = "。"  # a sentence's end in either language's patterns

_RUN = re.compile(rf"[\d{CJK}\s.,:;/~%+×x*=_^°$€£¥'\"–—，、：-]{{{LONGEST_RUN + 1},}}")
_WORD = re.compile(rf"[A-Za-zÀ-ɏЀ-ԯ\d_'’.@-]{{{LONGEST_WORD + 1},}}")
_CLAUSE = re.compile(rf"[\u3400-\u9fff]{{{LONGEST_CLAUSE + 1},}}")
_FIGURE = re.compile(
    rf"[\d{CJK}]+|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)"
    r"teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|half)\b",
    re.I,
)


def illegible(text: str) -> list[tuple[int, int]]:
    """Spans of a folded copy that it is to be refused for, unread."""
    if len(text) > LONGEST_COPY:
        return [(LONGEST_COPY, len(text))]
    figures = [match.span() for match in _FIGURE.finditer(text)]
    if len(figures) > MOST_IN_COPY:
        return [(figures[MOST_IN_COPY][0], len(text))]
    return _runs(text)


def readable(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(field, folded text) of an ad as far as the ledger reads them: endless runs broken, with every place kept, and
    `MOST_IN_AD` figures in all."""
    left = MOST_IN_AD
    for field, text in texts:
        broken = _broken(text)
        figures = list(islice(_FIGURE.finditer(broken), left + 1))
        yield field, broken[: figures[left].start()] if len(figures) > left else broken
        left = max(0, left - len(figures))


def _broken(text: str) -> str:
    runs = _runs(text)
    if not runs:
        return text
    chars = list(text)
    for start, end in runs:
        for place in range(start + LONGEST_RUN, end, LONGEST_RUN + 1):
            chars[place] = BREAK
    return "".join(chars)


def _runs(text: str) -> list[tuple[int, int]]:
    return sorted(match.span() for pattern in (_RUN, _WORD, _CLAUSE) for match in pattern.finditer(text))
