"""The mapping file: which of their columns becomes which of our fields, in YAML or JSON.

::

    kind: events                      # or ads
    file: {delimiter: ";"}            # how the file is read; what is left out is recognised
    fields:
      user_id: 会员编号                # the column's name alone
      event: {column: 行为, values: {pv: view, buy: purchase}, otherwise: skip}
      timestamp: {columns: [日期, 时间], format: "%Y/%m/%d %H:%M:%S", zone: Asia/Shanghai}
      item_id: 商品编号
      tags: {column: 类目, split: "/"}
      value: {column: 金额(分), scale: 0.01}
      domain: {value: ecommerce}      # the same for every row
    skip: {状态: [已取消]}              # rows that are left out
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from shared.preprocess.ads import TARGETING

Kind = Literal["events", "ads"]
FIELDS: dict[Kind, tuple[str, ...]] = {
    "events": (
        *("user_id", "event", "timestamp", "item_id", "text", "tags", "value", "platform", "domain", "event_id"),
    ),
    "ads": (
        *("ad_id", "title", "landing_url", "language", "domain", "description", "brand", "image_url", "campaign_id"),
        *("bid_cpm", "daily_budget", "start", "end", "exclusion_labels", "frequency_cap.count", "frequency_cap.hours"),
        *(f"targeting.{name}" for name in TARGETING),
    ),
}
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "events": ("user_id", "event", "timestamp"),
    "ads": ("ad_id", "title", "landing_url", "language", "domain"),
}
UNKNOWN = "?"  # in place of a column that a person has to name
TIMES = frozenset({"timestamp", "start", "end"})
NUMBERS = frozenset({"value", "bid_cpm", "daily_budget", "frequency_cap.count", "frequency_cap.hours"})
LISTS = frozenset({"tags", "exclusion_labels", *(f"targeting.{name}" for name in TARGETING)})
ADDRESSES = frozenset({"landing_url", "image_url"})


class MappingError(ValueError):
    """The mapping cannot be used; the message names the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class FileFormat(_Strict):
    """How a file is read; what is None is recognised.

    columns: of a file without a header. encoding: as Python names it.
    """

    format: Literal["csv", "parquet", "jsonl"] | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    escape: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str | None = None
    columns: list[str] | None = None


class FieldMapping(_Strict):
    """Where a field's value comes from (one of `column`, `columns`, `template`, `value`) and what is done with it.

    join: between the texts of `columns`. values: their value to ours; `otherwise` says what becomes of one that is not
    among them. format: of a time: ``iso``, ``epoch``, ``epoch_ms`` or one of `datetime.strptime`; zone: of a time
    without an offset. scale: a number is multiplied by it (0.01 for cents). decimal: the sign before a number's
    decimals. split: makes a list of a text. detect: `language` is read off the text. default: where it is empty.
    """

    column: str | None = None
    columns: list[str] | None = None
    template: str | None = None
    value: str | float | list[str] | None = None
    join: str = " "
    values: dict[str, str | float] | None = None
    otherwise: Literal["keep", "skip", "reject"] = "keep"
    format: str | None = None
    zone: str = "UTC"
    number: bool = False
    scale: float | None = None
    decimal: Literal[".", ","] = "."
    split: str | None = Field(default=None, min_length=1)
    detect: bool = False
    default: str | float | None = None

    @model_validator(mode="after")
    def _one_source(self) -> FieldMapping:
        given = [name for name in ("column", "columns", "template", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of column, columns, template and value, not {' and '.join(given) or 'none'}")
        return self

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no such time zone: {zone}; use a name like Asia/Shanghai or UTC") from None
        return zone


class Mapping(_Strict):
    """A mapping file as it stands."""

    kind: Kind
    file: FileFormat = FileFormat()
    fields: dict[str, FieldMapping]
    only: dict[str, list[str]] = Field(default_factory=dict)
    skip: dict[str, list[str]] = Field(default_factory=dict)

    @field_validator("fields", mode="before")
    @classmethod
    def _short_form(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: {"column": one} if isinstance(one, str) else one for name, one in fields.items()}

    @field_validator("only", "skip", mode="before")
    @classmethod
    def _as_texts(cls, rules: Any) -> Any:
        """YAML reads 0 as a number; a table's cell is a text."""
        if not isinstance(rules, dict):
            return rules
        return {
            str(column): [str(one) for one in (values if isinstance(values, list) else [values])]
            for column, values in rules.items()
        }

    @model_validator(mode="after")
    def _known_fields(self) -> Mapping:
        known = FIELDS[self.kind]
        for name in self.fields:
            if name in known or (self.kind == "ads" and name.startswith("attributes.") and len(name) > 11):
                continue
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; do you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            more = " and attributes.…" if self.kind == "ads" and not near else ""
            raise ValueError(f"{self.kind} have no field {name}{hint}{more}")
        missing = [name for name in REQUIRED[self.kind] if name not in self.fields]
        if missing:
            raise ValueError(f"{self.kind} need {', '.join(missing)}: name a column, or a value for all rows")
        return self

    def columns(self) -> dict[str, str]:
        """Every column that the mapping reads, with the first field that reads it."""
        from infra.importers.values import template_columns

        found: dict[str, str] = {}
        for name, one in self.fields.items():
            named = [one.column] if one.column is not None else one.columns or template_columns(one.template or "")
            for column in named:
                found.setdefault(column, f"fields.{name}")
        for rule in ("only", "skip"):
            for column in getattr(self, rule):
                found.setdefault(column, rule)
        return found


def load_mapping(path: Path) -> Mapping:
    """Reads a mapping file: ``.json``, or YAML.

    Raises:
        MappingError: it is neither, or does not fit; the message names file and field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        sent = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except OSError as error:
        raise MappingError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path} is no {'JSON' if path.suffix == '.json' else 'YAML'}: {_one_line(error)}") from None
    except RecursionError:
        raise MappingError(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise MappingError(f"{path}: {error}") from None
    return parse_mapping(sent, str(path))


def parse_mapping(sent: object, name: str = "the mapping") -> Mapping:
    """The mapping in parsed JSON or YAML.

    Raises:
        MappingError: see `load_mapping`.
    """
    if not isinstance(sent, dict):
        raise MappingError(f"{name} must hold kind and fields")
    try:
        return Mapping.model_validate(sent)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise MappingError(f"{name}: {place + ': ' if place else ''}{reason}") from None


class _Once(yaml.SafeLoader):
    """Refuses a name that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            line = next(key.start_mark.line for key, _ in reversed(node.value) if key.value == twice) + 1
            raise ValueError(
                f"{twice} stands twice, again on line {line}; two columns for one field: "
                f"{twice}: {{columns: [one, other]}}"
            )
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Once)  # noqa: S506  # nosec B506


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
