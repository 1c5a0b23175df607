"""What an advertisement may not say: rule packs (data, by jurisdiction and domain) against a text.

One automaton finds every literal word of all packs in one pass over the folded text; regular expressions are tried
only around those words. Findings carry the span in the text as it was given, and blocking ones a rewrite of the whole
text that passes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from shared.domain import Finding
from shared.policy.editorial import Channel, channels, editorial
from shared.policy.folding import Folded, fold_text
from shared.policy.likeness import Like
from shared.policy.likeness import likeness as alike
from shared.policy.packs import Book, Near, Rule, Use, book, lift
from shared.policy.rewriting import Change, rewrite
from shared.policy.versions import packs_version

__all__ = ["Channel", "blocking", "channels", "check", "editorial", "packs_version"]

REACH = 80  # characters around an anchor within which its pattern lies
CONTEXT = 120  # characters around a finding within which an exception lies
MARGIN = 0.6  # log-odds by which a rewrite is to be less like a violation than what is let through
TERM_LEAD = 2  # characters that a pattern must cover beyond a literal term to be preferred to it
_SENTENCE_END = re.compile(r"[。！!\n]|[.;；](?=\s)")  # a question is asked to be answered: 脱发？三天就好
Span = tuple[int, int]
Severity = Literal["block", "warn"]


class LawReader(Protocol):
    """Who reads folded texts and judges what they mean (`shared.models.policy_reader`)."""

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        """What breaks one of the rules; `margin`: how much nearer than usual (log-odds) it is stopped."""

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        """The rules whose words at that place mean something else: of those it knows, where all is surely lawful."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A match of a rule in the folded text.

    instead: the wording that may stand there, None: none. term: whether it is one of the rule's literal terms.
    like: whether it only reads like what breaks the rule. lifted: whether the text reads as a lawful one.
    """

    start: int
    end: int
    rule: Rule
    instead: str | None
    term: bool = False
    like: bool = False
    lifted: bool = False

    @property
    def severity(self) -> Severity:
        return "warn" if self.lifted else self.rule.severity

    @property
    def reason(self) -> str:
        chinese, _, english = self.rule.reason.partition(" / ")
        if self.like:
            return f"读来像：{chinese} / reads like: {english}"
        return (
            f"字面上：{chinese}，读来合法 / by its words: {english}, reads as lawful"
            if self.lifted
            else self.rule.reason
        )


@dataclass(frozen=True, slots=True)
class _View:
    """What a text is looked at for; see `check`."""

    domain: str | None
    jurisdiction: str
    names: Sequence[str]
    likeness: bool
    reader: LawReader | None


def check(
    text: str,
    domain: str | None,
    jurisdiction: str = "CN",
    *,
    names: Sequence[str] = (),
    likeness: bool = True,
    reader: LawReader | None = None,
    mend: bool = True,
) -> list[Finding]:
    """Findings of every rule that applies, in the order of the text, the longest of each rule at a place.

    domain: of the ad; None where it is not known: rules of one domain then apply where the text's words show it.
    names: product names, models and trade marks; a term within one only refers to the product (absolute-terms guidance,
    article 6(4)) and is no finding of the absolute-terms rules.
    likeness: whether sentences that only read like a violation are findings, too: by their n-grams
    (`shared.policy.likeness`), or as `reader` reads them, where there is one; what rules that it knows find in a text
    that it is sure is lawful is then a warning.
    Every blocking finding has the same rewrite: the text with all of them mended; None where nothing lawful is left, or
    where nobody asks for one (`mend`).
    """
    folded = fold_text(text)
    view = _View(domain, jurisdiction, names, likeness, reader)
    matches = _matches(folded, view)
    if not matches:
        return []

    def changes(draft: str) -> list[Change]:
        again = folded if draft == text else fold_text(draft)
        found = matches if draft == text else _matches(again, view, margin)
        return [(*again.span(m.start, m.end), m.instead) for m in found if m.severity == "block"]

    blocked = [match for match in matches if match.severity == "block"]
    # What stands beside a claim that had to go is likely to be part of it.
    margin = MARGIN if any(match.instead is None for match in blocked) else 0.0
    lawful = rewrite(text, changes) if blocked and mend else None
    findings = []
    for match in matches:
        start, end = folded.span(match.start, match.end)
        mended = lawful if match.severity == "block" else None
        rule = match.rule
        findings.append(Finding(start, end, rule.id, match.severity, match.reason, rule.citation, mended))
    return sorted(findings, key=lambda finding: (finding.start, -finding.end, finding.rule))


def blocking(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that keep a text from being shown."""
    return [finding for finding in findings if finding.severity == "block"]


def _matches(folded: Folded, view: _View, margin: float = 0.0) -> list[_Match]:
    packs = book()
    text = folded.text
    hits = _hits(packs, text)
    found: dict[int, list[_Match]] = {}
    for number, uses in hits.items():
        rule = packs.rules[number]
        if rule.applies(view.domain, view.jurisdiction, "context" in uses, "unless" in uses):
            matches = list(_matches_of(rule, text, uses))
            if matches:
                found[number] = matches
    named = [span for name in view.names for span in _occurrences(text, fold_text(name).text)] if found else []
    kept: list[_Match] = []
    for number, matches in sorted(found.items()):
        kept += _longest(_standing(packs.rules[number], text, matches, hits[number], named))
    blocked = [match for match in kept if match.rule.severity == "block"]
    if view.reader is not None and blocked:
        kept = [_lifted(match, text, view, view.reader) for match in kept]
        blocked = [match for match in kept if match.severity == "block"]
    if view.likeness:
        for like in _alike(text, view, packs.ids(view.jurisdiction), margin):
            if not any(match.start < like.end and like.start < match.end for match in blocked):
                kept.append(_Match(like.start, like.end, packs.by_id[like.rule], None, like=True))
    return kept


def _lifted(match: _Match, text: str, view: _View, reader: LawReader) -> _Match:
    """The match, lifted where the reader takes its words for something else."""
    if match.rule.severity != "block":
        return match
    return replace(match, lifted=match.rule.id in reader.lifts(text, match.start, view.domain, view.jurisdiction))


def _alike(text: str, view: _View, rules: Container[str], margin: float) -> Iterable[Like]:
    if view.reader is not None:
        return view.reader.alike(text, view.domain, view.jurisdiction, rules, margin)
    return alike(text, rules, english=view.jurisdiction != "CN", margin=margin)


def _hits(packs: Book, text: str) -> dict[int, dict[Use, list[Span]]]:
    """Where the words of the packs stand, by rule and by what they mean to it."""
    hits: dict[int, dict[Use, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for last, (length, place) in packs.automaton.iter(text):
        start, end = last - length + 1, last + 1
        if not _begins(text, start):
            continue
        whole = _ends(text, end)
        for number, use in packs.uses[place]:
            # The anchor of a pattern may be the beginning of a word.
            if whole or isinstance(use, int):
                hits[number][use].append((start, end))
    return hits


def _matches_of(rule: Rule, text: str, uses: dict[Use, list[Span]]) -> Iterator[_Match]:
    for start, end in uses.get("term", ()):
        yield _Match(start, end, rule, rule.rewrites[text[start:end]], term=True)
    for which, pattern in enumerate(rule.patterns):
        for match in _around(pattern.regex, text, _windows(uses.get(which, ()), REACH)):
            instead = pattern.instead(match)
            yield _Match(match.start(), _word_end(text, *match.span()), rule, instead)
    for which, near in enumerate(rule.near):
        lists = [uses.get((which, one), []) for one in range(near.lists)]
        for start, end in _together(text, lists, near):
            yield _Match(start, end, rule, None)


def _together(text: str, lists: Sequence[list[Span]], near: Near) -> Iterator[Span]:
    """For each span of the first list what it makes with the nearest of each other."""
    if not all(lists):
        return
    for start, end in lists[0]:
        low, high = start, end
        for others in lists[1:]:
            nearest = _nearest(others, start, end)
            if nearest is None:
                break
            low, high = min(low, nearest[0]), max(high, nearest[1])
        else:
            if high - low <= near.within and (near.across or not _SENTENCE_END.search(text, low, high)):
                yield low, high


def _nearest(spans: list[Span], start: int, end: int) -> Span | None:
    """The span next to a place, and apart from it: 治 in 治疗 is no second word. spans: in the order of their ends."""
    after = bisect_left(spans, end, key=lambda span: span[0])  # words overlap a little, the order is near enough
    before = bisect_right(spans, start, key=lambda span: span[1]) - 1
    near = [spans[place] for place in (before, after, after + 1) if 0 <= place < len(spans)]
    apart = [span for span in near if span[1] <= start or end <= span[0]]
    return min(apart, key=lambda span: max(start - span[1], span[0] - end), default=None)


def _begins(text: str, start: int) -> bool:
    """Whether no Latin word goes on before the place."""
    return not (start and text[start].isascii() and text[start].isalnum() and _is_latin(text[start - 1]))


def _ends(text: str, end: int) -> bool:
    """Whether no Latin word goes on after the place, but for a plural."""
    if end == len(text) or not _is_latin(text[end]) or not _is_latin(text[end - 1]):
        return True
    return text[end] == "s" and (end + 1 == len(text) or not _is_latin(text[end + 1]))


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _word_end(text: str, start: int, end: int) -> int:
    """Where the last word of the span ends."""
    end = start + len(text[start:end].rstrip())
    while end < len(text) and _is_latin(text[end - 1]) and _is_latin(text[end]):
        end += 1
    return end


def _windows(spans: Iterable[Span], reach: int) -> list[list[int]]:
    """The text within reach of the spans, each part of it once. spans: in the order of their starts, nearly."""
    windows: list[list[int]] = []
    for start, end in spans:
        if windows and windows[-1][1] >= start - reach:
            windows[-1][1] = max(windows[-1][1], end + reach)
        else:
            windows.append([max(start - reach, 0), end + reach])
    return windows


def _around(regex: re.Pattern[str], text: str, windows: Iterable[Sequence[int]]) -> Iterator[re.Match[str]]:
    for low, high in windows:
        yield from regex.finditer(text, low, high)


def _standing(
    rule: Rule, text: str, matches: list[_Match], uses: dict[Use, list[Span]], named: list[Span]
) -> list[_Match]:
    """The matches that no exception lifts."""
    near = _windows(sorted((match.start, match.end) for match in matches), CONTEXT)
    lifted = []
    for number, exception in enumerate(rule.exceptions):
        windows = _windows(uses.get(lift(number), ()), CONTEXT) if exception.anchored else near
        lifted += [match.span() for match in _around(exception.regex, text, windows)]
    if rule.names:
        matches = [m for m in matches if not any(low <= m.start and m.end <= high for low, high in named)]
    if not lifted:
        return matches
    cover = bytearray(len(text))
    for low, high in lifted:
        cover[low:high] = b"\x01" * (high - low)
    return [match for match in matches if not any(cover[match.start : match.end])]


def _longest(matches: list[_Match]) -> list[_Match]:
    """The longest match at each place; a term before a pattern that goes on a little: it has the better rewrite."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda m: (m.start, -m.end - TERM_LEAD * m.term, m.instead is None)):
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
        elif match.end - match.start > kept[-1].end - kept[-1].start + TERM_LEAD * kept[-1].term:
            kept[-1] = match
    return kept


def _occurrences(text: str, name: str) -> Iterable[Span]:
    start = text.find(name) if name else -1
    while start >= 0:
        yield start, start + len(name)
        start = text.find(name, start + 1)
