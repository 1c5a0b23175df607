"""Rule packs: JSON files under ``packs/``, read on first use into one automaton of all their literal words.

A pack has a name, a version, its jurisdictions, the law it states, `words` (lists that patterns name in braces) and
rules, all written as `shared.policy.folding` leaves a text; `shared` names a file of more words, and of exceptions that
hold for all of its rules. A rule has an id, a severity, a citation, a reason in both languages, and

- `terms`: literal wordings, each with what may stand in its place (empty: nothing lawful);
- `patterns`: ``{"at", "pattern", "rewrite"}``: a regular expression, or the alternatives of one, that is tried only
  around the words of `at`, one of which every match contains; without stars or pluses, so that its time does not
  depend on the text;
- `near`: ``{"all", "within", "across"}``: a word of each list of `all` within so many characters, in any order, and in
  one sentence unless `across` says that it need not be;
- `exceptions`: patterns with a `why`, tried around the findings, or around the words of their own `at`; a finding that
  touches a match of one is lifted;
- `domains`, `context`, `unless`: the rule applies in an ad of these domains, or to a text with one of the context's
  words (with neither: everywhere), but not to a text with one of the words of `unless`;
- `names`: whether a term inside a product's own name is lifted.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import ahocorasick

FOLDER = Path(__file__).with_name("packs")
# In the order in which `packs_version` names them.
PACKS = (
    *("cn/absolute", "cn/general", "cn/health", "cn/goods", "cn/education", "cn/finance", "cn/property"),
    *("en/common", "eu", "us"),
)
Use = str | int | tuple[int, int]
_WORDS = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Pattern:
    """A regular expression, compiled when it is first tried."""

    source: str
    rewrite: str | None = None
    anchored: bool = True

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """It never begins inside a Latin word."""
        return re.compile(rf"(?:(?<![a-z0-9])|(?![a-z0-9]))(?:{self.source})", re.ASCII)

    def instead(self, match: re.Match[str]) -> str | None:
        """What may stand in a match's place; groups are expanded only where the rewrite names some: it is slow."""
        if not self.rewrite or "\\" not in self.rewrite:
            return self.rewrite or None
        return match.expand(self.rewrite)


@dataclass(frozen=True, slots=True)
class Near:
    """Words of `lists` lists within so many characters, in one sentence unless `across`."""

    lists: int
    within: int
    across: bool


@dataclass(frozen=True)
class Rule:
    """One rule of a pack. `rewrites`: by literal term, None where nothing lawful can stand in its place."""

    id: str
    severity: Literal["block", "warn"]
    citation: str
    reason: str
    domains: frozenset[str]
    jurisdictions: frozenset[str]
    has_context: bool
    names: bool
    rewrites: dict[str, str | None]
    patterns: tuple[Pattern, ...]
    near: tuple[Near, ...]
    exceptions: tuple[Pattern, ...]

    def applies(self, domain: str | None, jurisdiction: str, context: bool, unless: bool) -> bool:
        """Whether it is in force for an ad of `domain` with (`context`, `unless`) such words in its text."""
        if jurisdiction not in self.jurisdictions or unless:
            return False
        return not (self.domains or self.has_context) or domain in self.domains or (self.has_context and context)


@dataclass(frozen=True)
class Book:
    """All rules and the automaton over their words: (length, places in `uses`).

    uses: for each word what it means to which rule: a ``term``, an anchor of a pattern (its number) or of an exception
    (`lift`), one of a list of words that stand near each other (number, list), ``context`` or ``unless``.
    """

    rules: tuple[Rule, ...]
    automaton: Any
    version: str
    uses: tuple[tuple[tuple[int, Use], ...], ...] = field(repr=False, default=())

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        """The rules by their ids."""
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def _ids(self) -> dict[str, frozenset[str]]:
        everywhere = {name for rule in self.rules for name in rule.jurisdictions}
        return {
            name: frozenset(r.id for r in self.rules if name in r.jurisdictions and r.severity == "block")
            for name in everywhere
        }

    def ids(self, jurisdiction: str) -> frozenset[str]:
        """Ids of the blocking rules in force in a jurisdiction."""
        return self._ids.get(jurisdiction, frozenset())


@cache
def document(name: str) -> dict[str, Any]:
    """A pack's JSON."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@cache
def packs_names() -> str:
    """Names and versions of all packs."""
    return "+".join(f"{document(name)['pack']}-{document(name)['version']}" for name in PACKS)


@cache
def book() -> Book:
    """The rules of all packs."""
    rules: list[Rule] = []
    uses: dict[str, list[tuple[int, Use]]] = defaultdict(list)
    for name in PACKS:
        pack = document(name)
        shared = document(pack["shared"])
        words: dict[str, list[str]] = shared["words"] | pack["words"]
        for row in pack["rules"]:
            exceptions = [*row.get("exceptions", ()), *shared["exceptions"]]
            rule = _rule(row, pack, words, exceptions)
            for word, use in _uses(row, rule, exceptions, words):
                uses[word].append((len(rules), use))
            rules.append(rule)
    automaton = ahocorasick.Automaton()
    for place, word in enumerate(uses):
        automaton.add_word(word, (len(word), place))
    automaton.make_automaton()
    return Book(tuple(rules), automaton, packs_names(), tuple(map(tuple, uses.values())))


def _rule(
    row: dict[str, Any], pack: dict[str, Any], words: dict[str, list[str]], exceptions: list[dict[str, Any]]
) -> Rule:
    return Rule(
        id=row["id"],
        severity=row["severity"],
        citation=row["citation"],
        reason=f"{row['reason']['zh']} / {row['reason']['en']}",
        domains=frozenset(row.get("domains", ())),
        jurisdictions=frozenset(row.get("jurisdictions", pack["jurisdictions"])),
        has_context=bool(row.get("context")),
        names=bool(row.get("names")),
        rewrites={term: rewrite or None for term, rewrite in row.get("terms", {}).items()},
        patterns=tuple(Pattern(_filled(e["pattern"], words), e.get("rewrite")) for e in row.get("patterns", ())),
        near=tuple(Near(len(e["all"]), e["within"], e.get("across", False)) for e in row.get("near", ())),
        exceptions=tuple(Pattern(_filled(e["pattern"], words), anchored="at" in e) for e in exceptions),
    )


def _uses(
    row: dict[str, Any], rule: Rule, exceptions: list[dict[str, Any]], words: dict[str, list[str]]
) -> Iterator[tuple[str, Use]]:
    yield from ((term, "term") for term in rule.rewrites)
    for number, entry in enumerate(row.get("patterns", ())):
        yield from ((word, number) for word in _listed(entry["at"], words))
    for number, entry in enumerate(exceptions):
        yield from ((word, lift(number)) for word in _listed(entry.get("at", ()), words))
    for number, entry in enumerate(row.get("near", ())):
        for which, items in enumerate(entry["all"]):
            yield from ((word, (number, which)) for word in _listed(items, words))
    for use in ("context", "unless"):
        yield from ((word, use) for word in _listed(row.get(use, ()), words))


def lift(number: int) -> int:
    """What the anchors of an exception mean in `Book.uses`."""
    return -1 - number


def _listed(items: Any, words: dict[str, list[str]]) -> set[str]:
    """Literal words; ``{name}`` stands for a list of them."""
    found: set[str] = set()
    for item in items:
        found.update(words[item[1:-1]] if item.startswith("{") else [item])
    return found


def _filled(pattern: str | list[str], words: dict[str, list[str]]) -> str:
    """The alternatives as one pattern, with the lists that they name; longer words first: the longest is matched."""
    source = pattern if isinstance(pattern, str) else "|".join(pattern)
    return _WORDS.sub(lambda m: f"(?:{'|'.join(sorted(words[m[1]], key=len, reverse=True))})", source)
