"""What an advertisement may not say: rule packs (data, by jurisdiction and domain) against a text.

A pack's terms and patterns are matched on a folded text: width, traditional characters, look-alikes and spaces or dots
put between Chinese characters make no difference; findings carry the span in the text as it was given. An
exception of a rule lifts the findings that lie within it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from shared.domain import Finding
from shared.policy.numerals import fold
from shared.preprocess import to_simplified

_PACKS = ("china", "west")
_LOOKALIKE = str.maketrans(
    {"蕞": "最", "嘬": "最", "朂": "最", "苐": "第", "弌": "一", "壹": "一", "囯": "国", "冣": "最", "苾": "必"}
)
_IGNORED = frozenset(" \t\u3000·.•*_-~|/\\'\"“”‘’^`+=,")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad\ufe0e\ufe0f]")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a pack, ready to match. `requires`: another thing that the text must contain for it to apply."""

    id: str
    severity: Literal["block", "warn"]
    citation: str
    reason: dict[str, str]
    domains: frozenset[str]
    only_known: bool
    jurisdictions: frozenset[str]
    pattern: re.Pattern[str]
    exceptions: tuple[re.Pattern[str], ...]
    requires: re.Pattern[str] | None
    rewrites: dict[str, str]


def check(text: str, domain: str | None, jurisdiction: str = "CN", *, names: Sequence[str] = ()) -> list[Finding]:
    """Findings of every rule that applies, in the order of the text, the longest of each rule at a place.

    domain: of the ad; None where it is not known: rules that forbid a domain what another may say do not apply then.
    names: product names, models and trade marks; a term within one only refers to the product (absolute-terms guidance,
    article 6(4)) and is no finding of the absolute-terms rule.
    """
    folded, places = _folded(text)
    named = [span for name in names for span in _spans(folded, _folded(name)[0])]
    findings: list[Finding] = []
    for rule in _rules():
        if rule.domains and (rule.only_known if domain is None else domain not in rule.domains):
            continue
        if jurisdiction not in rule.jurisdictions or (rule.requires and not rule.requires.search(folded)):
            continue
        lifted = [match.span() for exception in rule.exceptions for match in exception.finditer(folded)]
        if rule.id == "cn.absolute":
            lifted += named
        for match in rule.pattern.finditer(folded):
            start, end = match.span()
            if start == end or any((low <= start and end <= high) or low < end <= high for low, high in lifted):
                continue
            findings.append(
                Finding(
                    start=places[start],
                    end=places[end - 1] + 1,
                    rule=rule.id,
                    severity=rule.severity,
                    reason=f"{rule.reason['zh']} / {rule.reason['en']}",
                    citation=rule.citation,
                    rewrite=_rewrite(text, places[start], places[end - 1] + 1, rule.rewrites.get(match[0])),
                )
            )
    return sorted(findings, key=lambda finding: (finding.start, -finding.end, finding.rule))


def blocking(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that keep a text from being shown."""
    return [finding for finding in findings if finding.severity == "block"]


def packs_version() -> str:
    """Versions of the rule packs, as responses name them."""
    return "+".join(_document(name)["version"] for name in _PACKS)


@dataclass(frozen=True, slots=True)
class Channel:
    """A place where copy is shown. `width` counts columns: a Chinese character takes two."""

    id: str
    width: int
    name: dict[str, str]


@cache
def channels() -> dict[str, Channel]:
    """Channels by id."""
    rows = _document("channels")["channels"]
    return {key: Channel(key, int(row["width"]), dict(row["name"])) for key, row in rows.items()}


@cache
def _document(name: str) -> dict[str, Any]:
    path = Path(__file__).with_name("packs") / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def _rules() -> tuple[Rule, ...]:
    return tuple(_rule(row, pack) for pack in map(_document, _PACKS) for row in pack["rules"])


def _rule(row: dict[str, Any], pack: dict[str, Any]) -> Rule:
    terms = {_folded(term)[0]: rewrite for term, rewrite in row.get("terms", {}).items()}
    # The longest term first, so that 最低价 is found as itself and not as a shorter one.
    parts = [re.escape(term) for term in sorted(terms, key=len, reverse=True)]
    parts += [entry["pattern"] for entry in row.get("patterns", ())]
    return Rule(
        id=row["id"],
        severity=row["severity"],
        citation=row["citation"],
        reason=row["reason"],
        domains=frozenset(row.get("domains", ())),
        only_known=bool(row.get("only_known_domain")),
        jurisdictions=frozenset(row.get("jurisdictions", pack["jurisdictions"])),
        pattern=re.compile("|".join(parts), re.I),
        exceptions=tuple(re.compile(entry["pattern"], re.I) for entry in row.get("exceptions", ())),
        requires=re.compile(row["requires"], re.I) if row.get("requires") else None,
        rewrites=terms,
    )


def _folded(text: str) -> tuple[str, list[int]]:
    """The text for matching, and for each of its characters the place it came from."""
    plain = to_simplified(fold(text).translate(_LOOKALIKE)).lower()
    kept: list[str] = []
    places: list[int] = []
    for place, char in enumerate(plain):
        if _INVISIBLE.match(char) or (char in _IGNORED and _between_chinese(plain, place)):
            continue
        kept.append(char)
        places.append(place)
    return "".join(kept), places


def _between_chinese(text: str, place: int) -> bool:
    """Whether a filler character parts two Chinese characters, or one from a digit."""
    before = text[:place].rstrip("".join(_IGNORED))[-1:]
    after = text[place:].lstrip("".join(_IGNORED))[:1]
    chinese = ["\u4e00" <= char <= "\u9fff" for char in (before, after)]
    return all(chinese) or (any(chinese) and (before.isdigit() or after.isdigit()))


def _spans(folded: str, name: str) -> Iterator[tuple[int, int]]:
    start = folded.find(name) if name else -1
    while start >= 0:
        yield start, start + len(name)
        start = folded.find(name, start + 1)


def _rewrite(text: str, start: int, end: int, replacement: str | None) -> str | None:
    """The whole text with the lawful wording in place; None where there is none (an empty one in the pack)."""
    return text[:start] + replacement + text[end:] if replacement else None
