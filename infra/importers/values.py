"""One field's value out of a row: looked up, mapped, and brought into the form that the product reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping as Values
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from infra.importers.mapping import ADDRESSES, LISTS, NUMBERS, TIMES, FieldMapping
from shared.preprocess.fields import Refused, shown

_HOLE = re.compile(r"\{([^{}]+)\}")
_CHINESE = re.compile("[\u3400-\u9fff]")
_GROUPED = {".": re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?"), ",": re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d*)?")}
_AROUND_NUMBER = re.compile(r"^[^\d+\-.,(]+|[^\d.,)]+$")  # currency signs and units


class Skipped(Exception):
    """The mapping leaves the row out; carries why."""


def template_columns(template: str) -> list[str]:
    """The columns that a template names in braces."""
    return _HOLE.findall(template)


def text_of(value: Any) -> str:
    """A cell as text; "" where it is empty. A whole float is written without its point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip()


def value_of(name: str, rule: FieldMapping, row: Values[str, Any]) -> Any:
    """The value of field `name`, or None where the row has none.

    Raises:
        Refused: it cannot be read.
        Skipped: the mapping leaves such rows out.
    """
    raw = _looked_up(name, rule, row)
    if rule.values is not None:
        raw = _mapped(name, rule, raw)
    if raw is None or (not isinstance(raw, list) and text_of(raw) == ""):
        raw = rule.default
    if raw is None:
        return None
    if rule.detect:
        return "zh" if _CHINESE.search(text_of(raw)) else "en"
    if name in TIMES:
        return _moment(name, rule, raw)
    if name in NUMBERS or rule.number or rule.scale is not None:
        return _number(name, rule, raw)
    if name in LISTS or isinstance(raw, list):
        return _list(rule, raw)
    if isinstance(raw, (int, float)) and not isinstance(raw, bool) and name.startswith("attributes."):
        return raw
    return text_of(raw) or None


def _looked_up(name: str, rule: FieldMapping, row: Values[str, Any]) -> Any:
    if rule.column is not None:
        return row.get(rule.column)
    if rule.columns is not None:
        cells = [cell for cell in map(row.get, rule.columns) if cell is not None and text_of(cell)]
        return cells if name in LISTS else rule.join.join(map(text_of, cells)) or None
    if rule.template is not None:
        cells = [text_of(row.get(column)) for column in template_columns(rule.template)]
        if not all(cells):
            return None
        filled = iter([quote(cell, safe="") for cell in cells] if name in ADDRESSES else cells)
        return _HOLE.sub(lambda _: next(filled), rule.template)
    return rule.value


def _mapped(name: str, rule: FieldMapping, raw: Any) -> Any:
    text = text_of(raw)
    if rule.values is not None and text in rule.values:
        return rule.values[text]
    if rule.otherwise == "skip":
        raise Skipped(f"{name} {shown(text)} is not among the mapping's values" if text else f"{name} is empty")
    if rule.otherwise == "reject" and text:
        raise Refused(name, f"{name} {shown(text)} is not among the mapping's values.")
    return raw


def _moment(name: str, rule: FieldMapping, raw: Any) -> float | str:
    """Epoch seconds; a text without a format is left to the product's own reading where the zone is UTC."""
    zone = ZoneInfo(rule.zone)
    if isinstance(raw, datetime):
        return (raw if raw.tzinfo else raw.replace(tzinfo=zone)).timestamp()
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day, tzinfo=zone).timestamp()
    text = text_of(raw)
    if rule.format in ("epoch", "epoch_ms"):
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise Refused(name, f"{name} must be a number of {'milli' * (rule.format == 'epoch_ms')}seconds.")
        return seconds / 1000 if rule.format == "epoch_ms" else seconds
    try:
        if rule.format in (None, "iso"):
            if re.fullmatch(r"-?\d+(\.\d+)?", text) and len(text) != 8:  # eight digits are a date
                return float(text)
            found = datetime.fromisoformat(text)
        else:
            found = datetime.strptime(text, rule.format or "")  # noqa: DTZ007 - the zone is set below
    except ValueError:
        raise Refused(name, f"{name} {shown(text)} does not fit the format {rule.format or 'iso'}.") from None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC).timestamp()
    except (OverflowError, OSError):
        raise Refused(name, f"{name} {shown(text)} is not a possible time.") from None


def _number(name: str, rule: FieldMapping, raw: Any) -> float | int:
    if isinstance(raw, bool):
        raise Refused(name, f"{name} must be a number, not true or false.")
    text = _AROUND_NUMBER.sub("", text_of(raw))
    other = "." if rule.decimal == "," else ","
    if other in text and not _GROUPED[rule.decimal].fullmatch(text.lstrip("+-")):  # 24,90 is not 2490
        raise Refused(
            name, f'{name} {shown(text_of(raw))} has a "{other}" that groups no thousands: give decimal: "{other}"?'
        )
    text = text.replace(other, "").replace(rule.decimal, ".")
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise Refused(name, f"{name} must be a number, not {shown(text_of(raw))}.") from None
    if not found.is_finite():
        raise Refused(name, f"{name} must be a finite number.")
    if rule.scale is not None:
        found *= Decimal(str(rule.scale))
    return int(found) if found == found.to_integral_value() and abs(found) < 2**53 else float(found)


def _list(rule: FieldMapping, raw: Any) -> list[str]:
    entries = raw if isinstance(raw, list) else text_of(raw).split(rule.split) if rule.split else [raw]
    return [text for text in map(text_of, entries) if text]
