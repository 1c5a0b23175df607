"""Checks of single fields. Each returns the value as the domain keeps it, or raises `Refused` with a sentence.

None and the empty string mean that a field is absent: a CSV knows no other way to say so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from shared.domain import DOMAINS, Domain
from shared.preprocess.addresses import NotPublic, public_address
from shared.preprocess.contact import LONGEST, mask
from shared.preprocess.text import clean_text, has_invisible

EARLIEST = 946_684_800.0  # 2000-01-01T00:00:00Z
LATEST = 253_402_300_799.0  # 9999-12-31T23:59:59Z
_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138
_LARGEST = 1e12  # of an amount of money or a value

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,32}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:[eE][+-]?[0-9]{1,3})?")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(\.[0-9]{1,12})?"
    r"\s?([Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)


class Refused(Exception):
    """A field whose value cannot be taken, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def kind_of(value: object) -> str:
    """The JSON name of a value's type, for a sentence."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else "null" if value is None else type(value).__name__


def shown(value: str) -> str:
    """A sender's text, safe and short enough to be quoted in a reason, without contact data: reasons are kept."""
    short = mask(clean_text(value, 40 + 2 * LONGEST))
    short = (short[:-LONGEST] if len(value) > 40 + LONGEST else short)[:40].rstrip()
    return f'"{short}"' if len(value) <= 40 else f'"{short}…"'


def identifier(value: object, field: str, *, numbers: bool = False, longest: int = 200) -> str | None:
    """An id of 1 to `longest` characters without invisible ones; a whole number counts as its digits with `numbers`.

    Without ``.`` and ``..`` between slashes: what stands in a URL's path so is taken out on the way (RFC 3986, section
    5.2.4), so that a request about this id would be one about another.
    """
    found = _unbroken(value, field, numbers, longest)
    if found is not None and not {".", ".."}.isdisjoint(found.split("/")):
        raise Refused(field, f"{field} holds . or .. as a part of a path.")
    return found


def addressed(value: object, field: str, *, numbers: bool = False) -> str | None:
    """An id of a person or an ad: an `identifier` without ``?`` besides. They are asked for in a URL's path, which an
    HTTP API of API Gateway decodes and then cuts at a question mark: a request to erase ``ann?2`` would erase ``ann``.
    """
    found = identifier(value, field, numbers=numbers)
    if found is not None and "?" in found:
        raise Refused(field, f"{field} holds a question mark, at which the path of a request ends.")
    return found


def _unbroken(value: object, field: str, numbers: bool, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        if not numbers or isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 10**longest:
            raise Refused(field, f"{field} must be text, not {kind_of(value)}.")
        value = str(value)
    if len(value) > longest:
        raise Refused(field, f"{field} has {len(value)} characters; the limit is {longest}.")
    if has_invisible(value):
        raise Refused(field, f"{field} holds a control or invisible character.")
    return value.strip() or None


def required_addressed(value: object, field: str, *, numbers: bool = False) -> str:
    found = addressed(value, field, numbers=numbers)
    if found is None:
        raise Refused(field, f"{field} is missing.")
    return found


def text(value: object, field: str, longest: int, *, cut: bool = False) -> str:
    """A clean text; "" where absent. Longer ones are cut with `cut`, else refused."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(field, f"{field} must be text, not {kind_of(value)}.")
    if cut:
        return clean_text(value, longest)
    clean = clean_text(value, longest + 1)
    if len(clean) > longest:
        raise Refused(field, f"{field} is longer than {longest} characters.")
    return clean


def text_list(value: object, field: str, most: int, longest: int) -> tuple[str, ...]:
    """Clean texts in their order, without empty ones and repeats."""
    if value is None or value == "":
        return ()
    if not isinstance(value, (list, tuple)):
        raise Refused(field, f"{field} must be a list of texts, not {kind_of(value)}.")
    if len(value) > most:
        raise Refused(field, f"{field} has {len(value)} entries; the limit is {most}.")
    cleaned = (text(entry, field, longest) for entry in value)
    return tuple(dict.fromkeys(entry for entry in cleaned if entry))


def number(value: object, field: str, *, least: float | None = None, most: float = _LARGEST) -> float | None:
    """A finite number, also as digits in a text."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        stripped = value.strip()
        if not _NUMBER.fullmatch(stripped):
            raise Refused(field, f"{field} must be a number, not {shown(value)}.")
        value = float(stripped)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(field, f"{field} must be a number, not {kind_of(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(field, f"{field} must be a finite number.")
    if not -most <= value <= most:
        raise Refused(field, f"{field} is out of range; the limit is {most:g}.")
    if least is not None and value < least:
        raise Refused(field, f"{field} must not be below {least:g}.")
    return float(value)


def moment(value: object, field: str) -> float | None:
    """Epoch seconds of a number (seconds, or milliseconds from 1e11 on), its digits, or an RFC 3339 time.

    A time without an offset is UTC, a date without a time its midnight.
    """
    if type(value) is float or type(value) is int:
        seconds = _seconds(value, field)
    elif value is None or value == "":
        return None
    elif isinstance(value, str):
        stripped = value.strip()
        numeric = _NUMBER.fullmatch(stripped)
        seconds = _seconds(float(stripped), field) if numeric else _parsed(stripped, value, field)
    else:
        raise Refused(field, f"{field} must be epoch seconds or an RFC 3339 time, not {kind_of(value)}.")
    if seconds < EARLIEST:
        raise Refused(field, f"{field} lies before the year 2000 ({readable(seconds)}).")
    if seconds > LATEST:  # by its offset, a fraction or a leap second: no answer could write it
        raise Refused(field, f"{field} is not a possible time.")
    return seconds


def readable(seconds: float) -> str:
    """A time in RFC 3339, or the bare number where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


def domain(value: object, default: Domain | None) -> Domain | None:
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise Refused("domain", f"domain must be text, not {kind_of(value)}.")
    name = value.strip().lower()
    if name not in DOMAINS:
        raise Refused("domain", f"domain {shown(value)} is unknown; use {listed(DOMAINS)}.")
    return name


def url(value: object, field: str) -> str | None:
    """A public http(s) address without a login, at most 2,000 characters (`shared.preprocess.addresses`)."""
    address = _unbroken(value, field, False, 2000)
    if address is None:
        return None
    try:
        return public_address(address)
    except NotPublic as problem:
        raise Refused(field, f"{field} {problem}.") from None


def listed(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def _seconds(value: float, field: str) -> float:
    if not -1e15 < value < 1e15:  # also false for NaN
        raise Refused(field, f"{field} is not a possible time.")
    seconds = float(value)
    if seconds > _MILLISECONDS_FROM:
        seconds /= 1000
    if seconds > LATEST:
        raise Refused(field, f"{field} is not a possible time.")
    return seconds


def _parsed(stripped: str, value: str, field: str) -> float:
    match = _RFC3339.fullmatch(stripped)
    if match is None:
        raise Refused(field, f"{field} must be epoch seconds or an RFC 3339 time, not {shown(value)}.")
    day, hour, minute, second, fraction, offset = match.groups()
    offset = "+00:00" if offset is None or offset in "Zz" else offset
    leap = second == "60"
    clock = f"{hour or '00'}:{minute or '00'}:{'59' if leap else second or '00'}"
    try:
        start = datetime.fromisoformat(f"{day}T{clock}{offset}")
        return start.timestamp() + (float(fraction) if fraction else 0.0) + leap
    except (ValueError, OverflowError) as error:
        raise Refused(field, f"{field} {shown(value)} is not a date of the calendar.") from error
