"""Readers beside the law's rules that read nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable

from shared.policy.likeness import Like, likeness


class RulesAlone:
    """Of the law: n-grams in the reader's place, and no finding is lifted."""

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        return likeness(text, rules, english=jurisdiction != "CN", margin=margin)

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        return frozenset()
