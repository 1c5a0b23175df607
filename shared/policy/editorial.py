"""Channels (where copy is shown), their lengths, and the platforms' editorial rules, from ``packs/platforms.json``."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from shared.domain import Finding
from shared.errors import Unprocessable

Severity = Literal["block", "warn"]


@dataclass(frozen=True, slots=True)
class Channel:
    """A place where copy is shown. `width` counts columns: a Chinese character takes two.

    limit: what the platform refuses beyond, counted in `unit`; None where it only cuts the text off.
    """

    id: str
    width: int
    name: dict[str, str]
    platform: str = ""
    limit: int | None = None
    unit: Literal["columns", "characters"] = "columns"
    source: str = ""


@dataclass(frozen=True, slots=True)
class _EditorialRule:
    id: str
    pattern: re.Pattern[str]
    channels: frozenset[str]
    block: frozenset[str]
    warn: frozenset[str]
    reason: str
    citation: str

    def severity(self, channel: Channel) -> Severity | None:
        """What the rule is on a channel; None where it is none."""
        if self.channels and channel.id not in self.channels:
            return None
        if channel.platform in self.block:
            return "block"
        return "warn" if channel.platform in self.warn or "*" in self.warn else None


@cache
def channels() -> dict[str, Channel]:
    """Channels by id."""
    return {key: Channel(key, **row) for key, row in _document()["channels"].items()}


def editorial(text: str, channel: str) -> list[Finding]:
    """What a platform refuses (block) or advises against (warn) in a text for one of its channels.

    Raises:
        Unprocessable: no such channel.
    """
    place = channels().get(channel)
    if place is None:
        raise Unprocessable(f"channel: one of {', '.join(channels())}", field="channel")
    findings = _length(text, place)
    for rule in _rules():
        severity = rule.severity(place)
        if severity:
            findings += [
                Finding(*match.span(), rule.id, severity, rule.reason, rule.citation)
                for match in rule.pattern.finditer(text)
            ]
    return sorted(findings, key=lambda finding: (finding.start, finding.rule))


def columns(text: str) -> int:
    """Columns of a text: wide (East Asian) characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _length(text: str, channel: Channel) -> list[Finding]:
    size = columns(text) if channel.unit == "columns" else len(text)
    if channel.limit is not None and size > channel.limit:
        start = _reach(text, channel.limit, channel.unit)
        zh, en = (
            f"超过 {channel.limit} {'列' if channel.unit == 'columns' else '字'}",
            f"over {channel.limit} {channel.unit}",
        )
        return [Finding(start, len(text), "editorial.length", "block", f"{zh} / {en}", channel.source)]
    if columns(text) > channel.width:
        start = _reach(text, channel.width, "columns")
        reason = f"超过建议的 {channel.width} 列 / over the recommended {channel.width} columns"
        return [Finding(start, len(text), "editorial.length", "warn", reason, channel.source)]
    return []


def _reach(text: str, limit: int, unit: str) -> int:
    """The place in the text up to which it keeps to the limit."""
    if unit == "characters":
        return limit
    used = 0
    for place, char in enumerate(text):
        used += _columns(char)
        if used > limit:
            return place
    return len(text)


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (Path(__file__).with_name("packs") / "platforms.json").read_text(encoding="utf-8")
    )
    return document


@cache
def _rules() -> tuple[_EditorialRule, ...]:
    return tuple(
        _EditorialRule(
            id=row["id"],
            pattern=re.compile(row["pattern"]),
            channels=frozenset(row.get("channels", ())),
            block=frozenset(row["block"]),
            warn=frozenset(row["warn"]),
            reason=f"{row['reason']['zh']} / {row['reason']['en']}",
            citation=row["citation"],
        )
        for row in _document()["editorial"]
    )
