"""Values of a bid request, of which nobody has checked anything: what is not of its type counts as absent (2.6).

Where that would be against the evident word of whoever sent it, it counts as said all the same: a list's only entry
without its list, a price as digits in a text (`price`), a flag that is neither set nor clear (`flag`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import copysign, isfinite
from typing import Any

LONGEST_NAME = 1000  # characters of a request's or impression's id
_READABLE = re.compile(r"[!-~]")
_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)
MOST_LISTED = 2000  # of an array
_GREATEST = 1.7e308  # what a float has room for

Object = Mapping[str, Any]
_NOTHING: Object = {}


def table(holder: Object, name: str) -> Object:
    """The object of that name; an empty one where there is none."""
    value = holder.get(name)
    return value if isinstance(value, dict) else _NOTHING


def tables(holder: Object, name: str) -> list[Object]:
    value = holder.get(name)
    return [one for one in value[:MOST_LISTED] if isinstance(one, dict)] if isinstance(value, list) else []


def text(holder: Object, name: str, longest: int = 4000) -> str | None:
    """A text that says something, without the blanks around it; a number is taken for its digits, as ids often come."""
    value = holder.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value.strip() if isinstance(value, str) and _says_something(value) and len(value) <= longest else None


def name_of(holder: Object) -> str | None:
    """The `id` by which an answer must name it, as it stands; None where it is no text with something to read."""
    value = holder.get("id")
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not _READABLE.search(value):
        return None
    return value if _says_something(value) else None


def texts(holder: Object, name: str) -> tuple[str, ...]:
    """The texts of a list that say something; a text in the place of the list is its only one."""
    value = holder.get(name)
    found = value[:MOST_LISTED] if isinstance(value, list) else [value]
    return tuple(one.strip() for one in found if isinstance(one, str) and _says_something(one))


def _says_something(value: str) -> bool:
    """Not of blanks alone, nor with half a surrogate pair, which no UTF-8 can carry on."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return bool(value.strip())


def whole(holder: Object, name: str) -> int | None:
    value = number(holder, name)
    return int(value) if value is not None and value == int(value) else None


def wholes(holder: Object, name: str) -> frozenset[int]:
    value = holder.get(name)
    found = value[:MOST_LISTED] if isinstance(value, list) else []
    return frozenset(one for one in found if isinstance(one, int) and not isinstance(one, bool))


def number(holder: Object, name: str) -> float | None:
    """JSON has whole numbers of any length: one that no float has room for is the greatest there is."""
    value = holder.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return copysign(_GREATEST, value > 0 or -1)


def price(holder: Object, name: str) -> float | None:
    """A number, or a text of nothing but one: a floor that is read as none would be bid below."""
    value = text(holder, name, 40)
    if not isinstance(holder.get(name), str) or value is None or not _DECIMAL.fullmatch(value):
        return number(holder, name)
    return float(value)


def flag(holder: Object, name: str) -> bool:
    """Whether it is set: by anything at all that is neither absent nor 0, so that what cannot be read narrows."""
    value = holder.get(name)
    if isinstance(value, str):
        return value.strip() not in ("", "0")
    return value is not None and value != 0
