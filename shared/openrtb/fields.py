"""Values of a bid request, of which nobody has checked anything: what is not of its type counts as absent (2.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

LONGEST_NAME = 1000  # characters of a request's or impression's id
_READABLE = re.compile(r"[!-~]")
MOST_LISTED = 2000  # of an array

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
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        return None
    return value.strip()


def name_of(holder: Object) -> str | None:
    """The `id` by which an answer must name it, as it stands; None where it is no text with something to read."""
    value = holder.get("id")
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME and _READABLE.search(value) else None


def texts(holder: Object, name: str) -> tuple[str, ...]:
    value = holder.get(name)
    found = value[:MOST_LISTED] if isinstance(value, list) else []
    return tuple(one.strip() for one in found if isinstance(one, str) and one.strip())


def whole(holder: Object, name: str) -> int | None:
    value = number(holder, name)
    return int(value) if value is not None and value == int(value) else None


def wholes(holder: Object, name: str) -> frozenset[int]:
    value = holder.get(name)
    found = value[:MOST_LISTED] if isinstance(value, list) else []
    return frozenset(one for one in found if isinstance(one, int) and not isinstance(one, bool))


def number(holder: Object, name: str) -> float | None:
    value = holder.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
