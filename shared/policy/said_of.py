"""What an adjective of a copy is said of: the product (``a heavy case``, 更轻) or life (``long days``, 慢慢变轻)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from shared.policy.vocabulary import frame

_DEGREE = re.compile(r"(?:[更很又超也都还最够真挺太颇极且较既]|特别|非常|十分|格外|相当|不[是再]?|够)$")
_CHANGE = re.compile(r"(?:变|变得|渐渐|慢慢|一点点|一份|一丝|几分|一抹|那份|这份|添|多点|有点)$")
_NEXT = re.compile(r"[\s,]*([A-Za-z][A-Za-z'’]*)")
_LEADS = frame("said.leads")
_PLACES = frame("said.places")
_THINGS = frame("said.things")


def said_of_product(
    plain: str, start: int, end: int, starts: Container[int], ends: Container[int], in_ad: Callable[[str], bool]
) -> bool:
    """Whether the adjective at ``[start, end)`` is said of the product.

    starts, ends: where the copy's words that are facts or claims begin and end; in_ad: whether the ad has a word.
    """
    if "\u3400" <= plain[start] <= "\u9fff":
        return end - start > 1 or _chinese(plain, start, end, starts, ends)
    place = end
    for _ in range(2):
        match = _NEXT.match(plain, place)
        if match is None:
            return True
        word = match[1].lower()
        if match.start(1) in starts or word in _THINGS or in_ad(word):
            return True
        parted = "," in plain[place : match.start(1)]
        if word in _LEADS:
            return False
        if word.endswith("y") or (parted and match.start(1) in starts):
            place = match.end()  # quiet, muddy joy
            continue
        return parted or word in _PLACES
    return False


def _chinese(plain: str, start: int, end: int, starts: Container[int], ends: Container[int]) -> bool:
    after = end + plain.startswith("的", end)
    if after in starts or plain[end : end + 1] in ("到", "至", "达"):
        return True
    before = plain[:start]
    if _CHANGE.search(before):
        return False
    degree = _DEGREE.search(before)
    if degree is not None:
        return True
    return start in ends
