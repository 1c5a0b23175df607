"""Types of the fields of requests: what JSON says is what is meant. ``"5"`` is no number, and 0 is not false."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.preprocess import fields

_SECONDS = {"type": "number", "minimum": 946_684_800, "maximum": 100_000_000_000}
_MILLISECONDS = {"type": "number", "minimum": 946_684_800_000, "maximum": 253_402_300_799_000}
_WRITTEN = {"type": "string", "format": "date-time", "pattern": "^[2-9][0-9]{3}-"}


def _whole(value: Any) -> Any:
    """JSON has 5 and 5.0 for the same number; a text or a truth value is none."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _moment(value: Any) -> Any:
    if value is None or value == "":
        raise PydanticCustomError("moment", "Input should be epoch seconds or an RFC 3339 time")
    try:
        return fields.moment(value, "The time")
    except fields.Refused as refused:
        raise PydanticCustomError("moment", "{reason}", {"reason": refused.reason}) from None


def _external_id(value: str) -> str:
    """As the events have it, since it would name nobody otherwise."""
    try:
        found = fields.addressed(value, "The id")
    except fields.Refused as refused:
        raise PydanticCustomError("external_id", "{reason}", {"reason": refused.reason}) from None
    if found is None:
        raise PydanticCustomError("external_id", "The id holds nothing to read.")
    return found


Switch = StrictBool
Whole = BeforeValidator(_whole)  # Annotated[int, Field(ge=…), Whole]
Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [_WRITTEN, _SECONDS, _MILLISECONDS],
            "description": "RFC 3339, or epoch seconds (milliseconds from 1e11 on); from the year 2000 on.",
        }
    ),
]
ExternalId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_external_id)]
