"""Rule packs with a reader beside them: what it stops, what it lifts, what it is asked, and what stays as it was."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.evaluate.policy_task import Case, judge
from shared.models.policy_reader import header, reads
from shared.models.readers import Readers
from shared.policy.likeness import Like
from shared.policy.packs import book
from shared.policy.rules import blocking, check

CLEAN = "周末一起去看展"
TOLD, WORDS = "爸爸吃完这盒，上楼不用扶墙了", "上楼不用扶墙了"


@dataclass
class Reviewer:
    """Stops the words it is given, and takes a text for lawful that holds one of some others."""

    stops: dict[str, str] = field(default_factory=dict)  # words and their rule
    believes: tuple[str, ...] = ()
    knows: Container[str] = frozenset(rule.id for rule in book().rules)
    asked: list[tuple[str, str | None, str, float]] = field(default_factory=list)

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        self.asked.append((text, domain, jurisdiction, margin))
        for words, rule in self.stops.items():
            if (start := text.find(words)) >= 0 and rule in rules:
                yield Like(start, start + len(words), rule)

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        return self.knows if any(words in text for words in self.believes) else frozenset()


def test_what_reads_like_a_violation_is_found_where_no_rule_has_words_for_it() -> None:
    reviewer = Reviewer({WORDS: "cn.medical-claim"})
    assert blocking(check(TOLD, "health", likeness=False)) == []
    (found,) = check(TOLD, "health", reader=reviewer)
    assert (TOLD[found.start : found.end], found.rule, found.severity) == (
        WORDS,
        "cn.medical-claim",
        "block",
    )
    assert found.reason.startswith("读来像：") and " / reads like: " in found.reason
    assert found.citation == book().by_id["cn.medical-claim"].citation
    assert reviewer.asked[0] == (TOLD, "health", "CN", 0.0)


def test_a_rewrite_is_read_too_and_more_strictly() -> None:
    text = f"新款保温杯，全网最低价，{WORDS}"
    reviewer = Reviewer({WORDS: "cn.medical-claim"})
    found = blocking(check(text, "ecommerce", reader=reviewer))
    assert {one.rule for one in found} >= {"cn.medical-claim"}
    assert all(one.rewrite is None or "扶墙" not in one.rewrite for one in found)
    assert any(margin > 0 for _, _, _, margin in reviewer.asked[1:])


def test_what_rules_find_in_a_text_that_reads_as_lawful_is_a_warning() -> None:
    text = "全网最佳的手机"
    assert blocking(check(text, "ecommerce"))
    found = check(text, "ecommerce", reader=Reviewer(believes=("手机",)))
    assert found and blocking(found) == []
    for one in found:
        assert one.severity == "warn" and one.rewrite is None
        assert one.reason.startswith("字面上：") and one.reason.endswith("reads as lawful")
    assert blocking(check(text, "ecommerce", reader=Reviewer()))


def test_a_rule_that_the_reader_has_not_learned_is_not_lifted() -> None:
    text = "全网最佳的手机"
    stranger = Reviewer(believes=("手机",), knows=frozenset({"cn.minors"}))
    assert check(text, "ecommerce", reader=stranger) == check(text, "ecommerce", reader=Reviewer())


def test_who_believes_a_text_that_breaks_no_rule_says_nothing() -> None:
    assert check(CLEAN, "social", reader=Reviewer(believes=("看展",))) == []


@dataclass
class Believer(Reviewer):
    """Lifts what stands before a place."""

    until: int = 0

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        return self.knows if place < self.until else frozenset()


def test_each_finding_is_lifted_or_stands_by_itself() -> None:
    text = "全网最佳的手机。国家级品质。"
    found = check(text, "ecommerce", reader=Believer(until=text.index("国")))
    assert {one.severity for one in found if one.start < text.index("国")} == {"warn"}
    assert {one.severity for one in found if one.start >= text.index("国")} == {"block"}


def test_nobody_is_asked_for_a_rewrite_that_is_not_wanted() -> None:
    reviewer, text = Reviewer(), "新款保温杯，全网最低价"
    (found,) = blocking(check(text, "ecommerce", reader=reviewer, mend=False))
    assert found.rewrite is None and len(reviewer.asked) == 1
    (mended,) = blocking(check(text, "ecommerce", reader=reviewer))
    assert mended.rewrite and mended.start == found.start
    assert len(reviewer.asked) > 2, "the draft was read"


def test_a_place_is_named_once() -> None:
    text = "国家级品质"
    (one,) = blocking(check(text, "ecommerce", likeness=False))
    assert [one.rule for one in blocking(check(text, "ecommerce", reader=Reviewer({"国家级": "cn.morals"})))] == [
        one.rule
    ]


@given(st.text(max_size=60), st.sampled_from(["CN", "EU", "US"]))
def test_a_reader_that_says_nothing_leaves_the_rules_alone(text: str, jurisdiction: str) -> None:
    assert check(text, None, jurisdiction, reader=Reviewer()) == check(text, None, jurisdiction, likeness=False)


@pytest.mark.parametrize(
    ("text", "jurisdiction", "language"),
    [
        ("看展", "CN", "zh"),
        ("看展", "EU", None),
        ("a show", "CN", None),
        ("a show", "EU", "en"),
        ("a show", "US", "en"),
        ("a show 看展", "US", None),
    ],
)
def test_who_reads_a_text_knows_its_language_and_the_place_s_law(text: str, jurisdiction: str, language: str) -> None:
    assert reads(text, jurisdiction) == language


def test_where_nobody_reads_a_text_its_n_grams_are_looked_at() -> None:
    def load(language: str) -> None:
        raise AssertionError("it was loaded")

    readers = Readers(load)  # type: ignore[arg-type]
    mixed = "Grandma threw away her cane after three weeks on our drops! Come and see us in the old yard! 茶"
    assert check(mixed, "health", "US") and not check(mixed, "health", "US", likeness=False)
    for text, jurisdiction in ((mixed, "US"), ("our tea cures cancer", "CN")):
        assert check(text, "health", jurisdiction, reader=readers) == check(text, "health", jurisdiction)
        assert not readers.lifts(text, 0, "health", jurisdiction)


def test_a_line_is_read_after_its_place_and_what_the_ad_is_about() -> None:
    assert (header("health", "US"), header(None, "CN")) == ("US health", "CN any")


def test_the_evaluation_judges_with_the_reader() -> None:
    case = Case(TOLD, "CN", "health", violation=True)
    assert judge(case, Reviewer({WORDS: "cn.medical-claim"}))
