"""The gate with a reader beside its rules: which texts it is asked about, how strictly, and what it may decide."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import pytest

from shared.domain import Ad, Claim
from shared.errors import ArtifactError
from shared.generating import Review
from shared.generating.gate import Author, Gate
from shared.generating.templates import fill_templates
from shared.policy.likeness import Like
from shared.policy.packs import book
from shared.policy.reading import READING, STATEMENT
from shared.policy.rules import check
from shared.stores import Stores
from tests.conftest import TENANT
from tests.fakes.generation import GOOD, PHONE_EN, PHONE_ZH, make_world, texts
from tests.fakes.models import TopicClassifier, TopicEncoder
from tests.fakes.readers import RulesAlone

assert isinstance(PHONE_EN, Ad)
PHONE = PHONE_EN
LIVELY = "A Larkspur phone that charges at 67 W while the kettle sings."
INVENTED = "The phone has a 9000 mAh battery."


@dataclass
class Judge(RulesAlone):
    """Doubts the texts that hold one of its words, and believes all others as far as it may."""

    doubts: Sequence[str] = ()
    asked: list[tuple[str, bool]] = field(default_factory=list)
    warmed: Event = field(default_factory=Event)
    audiences: list[tuple[str, ...]] = field(default_factory=list)

    def warm(self) -> None:
        self.warmed.set()

    def weigh(
        self, text: str, ad: Ad, claims: Sequence[Claim], *, audience: Sequence[str] = (), strict: bool = False
    ) -> list[Claim]:
        self.asked.append((text, strict))
        self.audiences.append(tuple(audience))
        for words in self.doubts:
            if (start := text.find(words)) >= 0:
                return [*claims, Claim((start, start + len(words)), words, STATEMENT, None)]
        return list(claims) if strict else [replace(one, support=one.support or READING) for one in claims]


def make_gate(judge: Judge | None, **options: Any) -> Gate:
    reader = None if judge is None else lambda: judge
    return Gate(TopicEncoder, TopicClassifier, check, reader=reader, **{"wording": "free"} | options)


def test_a_model_is_read_strictly_and_a_person_is_not() -> None:
    judge = Judge()
    gate = make_gate(judge)
    gate.reasons(GOOD[0], PHONE, "en", author="model")
    gate.reasons(GOOD[0], PHONE, "en", author="person")
    gate.reasons(GOOD[1], PHONE, "en")
    assert judge.asked == [(GOOD[0], True), (GOOD[0], False), (GOOD[1], False)]


def test_what_a_sieve_is_given_was_written_by_a_model() -> None:
    judge = Judge(doubts=["5000 mAh"])
    passed, rejected = make_gate(judge).sieve(GOOD, PHONE, "en", channel="feed")
    assert {one.text for one in passed} == set(GOOD[1:])
    assert {one.text: one.reasons for one in rejected} == {GOOD[0]: ("unsupported statement: 5000 mAh",)}
    assert all(strict for _, strict in judge.asked)


@pytest.mark.parametrize("ad", [PHONE, PHONE_ZH], ids=["en", "zh"])
def test_a_template_needs_no_reader(ad: Ad) -> None:
    judge = Judge(doubts=["5000"])
    for text in fill_templates(ad, ad.language, 6):
        reasons, _ = make_gate(judge).reasons(text, ad, ad.language, channel="feed", author="template")
        assert reasons == []
    assert judge.asked == []


@pytest.mark.parametrize("author", ["person", "model"])
def test_what_changes_nothing_is_not_read_and_for_whom_it_is_is_told(author: Author) -> None:
    judge = Judge()
    make_gate(judge).reasons(INVENTED, PHONE, "en", author=author, audience=["Travel"])
    assert judge.asked == ([(INVENTED, False)] if author == "person" else []), "a model's text is refused already"
    assert judge.audiences == [("Travel",)] * len(judge.asked)


@pytest.mark.parametrize("author", ["person", "model"])
@pytest.mark.parametrize("text", ["", "Phone.", "这是一部手机，屏幕很亮。", "phone phone phone phone phone phone"])
def test_a_broken_text_is_not_read(text: str, author: Author) -> None:
    judge = Judge()
    reasons, _ = make_gate(judge).reasons(text, PHONE, "en", author=author)
    assert reasons and judge.asked == []


@pytest.mark.parametrize("author", ["person", "model"])
def test_what_is_doubted_is_a_reason_and_a_claim_without_support(author: Author) -> None:
    reasons, claims = make_gate(Judge(doubts=["bright"])).reasons(GOOD[2], PHONE, "en", author=author)
    assert reasons == ["unsupported statement: bright"]
    assert [(one.kind, one.text) for one in claims if one.support is None] == [(STATEMENT, "bright")]


def test_a_reader_lets_a_persons_words_through_and_not_a_models() -> None:
    refused = make_gate(None).reasons(INVENTED, PHONE, "en")[0]
    assert refused
    reasons, claims = make_gate(Judge()).reasons(INVENTED, PHONE, "en")
    assert reasons == []
    assert READING in {one.support for one in claims}
    assert make_gate(Judge()).reasons(INVENTED, PHONE, "en", author="model")[0] == refused


def test_a_model_quotes_and_what_it_adds_is_left_out() -> None:
    quoting = make_gate(None, wording="quoted")
    put_together = "The bright phone for $299, with 67 W."
    refused, _ = quoting.reasons(put_together, PHONE, "en", author="model")
    assert any(reason.startswith("not quoted from the ad: ") for reason in refused)
    assert quoting.reasons(put_together, PHONE, "en")[0] == [], "a person may"
    quoted = "Say hello to the Larkspur phone. Take a look today."
    passed, rejected = quoting.sieve([f"{quoted} The battery is for the screen."], PHONE, "en", channel="feed")
    assert [one.text for one in passed] == [quoted] and passed[0].trimmed, rejected


def test_a_reader_has_no_say_in_the_law() -> None:
    reasons, _ = make_gate(Judge()).reasons("The best phone that money can buy.", PHONE, "en")
    assert any(reason.startswith("policy cn.absolute") for reason in reasons)


def test_what_the_reader_believes_of_a_model_is_still_read_literally() -> None:
    judge = Judge(doubts=["5000 mAh"])
    literal = make_gate(judge, wording="literal")
    refused, _ = literal.reasons(LIVELY, PHONE, "en", author="model")
    assert refused and all(reason.startswith("unsupported wording") for reason in refused)
    assert not judge.asked, "it is refused already"
    assert literal.reasons(GOOD[0], PHONE, "en", author="model")[0] == ["unsupported statement: 5000 mAh"]
    assert literal.reasons(GOOD[1], PHONE, "en", author="model")[0] == []
    assert judge.asked == [(GOOD[0], True), (GOOD[1], True)]
    assert make_gate(judge).reasons(LIVELY, PHONE, "en", author="model")[0] == []
    assert make_gate(judge).reasons(LIVELY, PHONE, "en", author="person")[0] == []


def test_without_a_reader_rules_judge_alone() -> None:
    class Silent(Judge):
        def weigh(self, text: str, ad: Ad, claims: Sequence[Claim], **_: Any) -> list[Claim]:
            return list(claims)

    authors: tuple[Author, ...] = ("person", "model", "template")
    for text in (*GOOD, LIVELY, INVENTED, "The best phone that money can buy."):
        for author in authors:
            alone = make_gate(None).reasons(text, PHONE, "en", author=author)
            assert make_gate(Silent()).reasons(text, PHONE, "en", author=author) == alone


def test_a_text_is_read_once_for_all_channels() -> None:
    judge = Judge()
    gate = make_gate(judge)
    for channel in ("feed", "push", None, "feed"):
        gate.reasons(GOOD[0], PHONE, "en", channel=channel)
    assert judge.asked == [(GOOD[0], False)]
    gate.sieve(GOOD, PHONE, "en", channel="feed")
    gate.sieve(GOOD, PHONE, "en", channel="feed")
    assert sorted(judge.asked[1:]) == sorted((text, True) for text in GOOD)
    gate.reasons(GOOD[0], replace(PHONE, description="Another phone."), "en")
    assert len(judge.asked) == len(GOOD) + 2


def test_a_reader_is_not_loaded_before_a_text_needs_it() -> None:
    def load() -> Judge:
        raise AssertionError("it was loaded")

    gate = Gate(TopicEncoder, TopicClassifier, check, reader=load)
    gate.reasons(fill_templates(PHONE, "en", 1)[0], PHONE, "en", author="template")
    gate.reasons("", PHONE, "en", author="model")
    with pytest.raises(AssertionError, match="loaded"):
        gate.reasons(GOOD[0], PHONE, "en")


def test_copy_is_read_on_its_way_to_the_answer_and_the_fallback_is_not(stores: Stores) -> None:
    world = make_world(stores)
    judge = Judge(doubts=["5000 mAh"])
    world.generating = world.build(reader=lambda: judge, wording="free")
    world.generator.texts = GOOD
    result = world.copy(n=3)
    written = [copy.text for copy in result.copies if copy.served_by == "llm"]
    assert set(written) == set(GOOD[1:])
    assert [one.reasons for one in result.rejected if one.text == GOOD[0]] == [("unsupported statement: 5000 mAh",)]
    assert len(texts(result)) == 3 and {text for text, _ in judge.asked} == set(GOOD)
    assert all(strict for _, strict in judge.asked)


@dataclass
class Reviewer(Judge):
    """Stops what holds one word for the law's sake, and takes a text with another one for surely lawful."""

    stops: str = ""
    believes: str = ""
    read: list[str] = field(default_factory=list)

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        self.read.append(text)
        start = text.find(self.stops) if self.stops else -1
        return [Like(start, start + len(self.stops), "en.cure")] if start >= 0 and "en.cure" in rules else []

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        return book().ids(jurisdiction) if self.believes and self.believes in text else frozenset()


@pytest.mark.parametrize("author", ["person", "model"])
def test_what_reads_like_a_violation_is_not_shown(author: Author) -> None:
    gate = make_gate(Reviewer(stops="5000 mah"))
    reasons, _ = gate.reasons(GOOD[0], PHONE, "en", author=author)
    assert len(reasons) == 1 and reasons[0].startswith("policy en.cure: 5000 mAh (")
    assert gate.reasons(GOOD[1], PHONE, "en", author=author)[0] == []


def test_what_rules_find_in_a_text_that_is_surely_lawful_may_be_shown() -> None:
    risky = "The Larkspur phone is never a risk-free investment."
    alone = [one for one in make_gate(Judge()).reasons(risky, PHONE, "en")[0] if one.startswith("policy")]
    assert alone
    lifted = make_gate(Reviewer(believes="never a risk")).reasons(risky, PHONE, "en")[0]
    assert not [one for one in lifted if one.startswith("policy")]


def test_the_law_is_not_read_of_a_template_nor_of_what_is_refused_already() -> None:
    reviewer = Reviewer(stops="phone")
    gate = make_gate(reviewer, wording="literal")
    text = fill_templates(PHONE, "en", 1)[0]
    assert gate.reasons(text, PHONE, "en", author="template")[0] == []
    assert gate.reasons(LIVELY, PHONE, "en", author="model")[0]
    assert reviewer.read == []


def broken() -> Judge:
    raise ArtifactError("artefact reader reader-en: model.onnx.gz is missing")


def test_what_a_model_wrote_and_nobody_can_judge_is_not_shown(stores: Stores) -> None:
    class Broken(Judge):
        def weigh(self, text: str, ad: Ad, claims: Sequence[Claim], **_: Any) -> list[Claim]:
            return list(broken().asked)  # type: ignore[arg-type]

    world = make_world(stores)
    world.generator.texts = GOOD
    world.generating = world.build(reader=Broken)
    for asked in range(1, 6):
        result = world.copy(n=3)
        assert result.copies and {copy.served_by for copy in result.copies} <= {"template", "advertiser"}
        assert result.notice == "what the model wrote cannot be judged"
        assert [(one.text, one.reasons) for one in result.rejected] == [(text, ("cannot be judged",)) for text in GOOD]
        assert len(world.generator.requests) == asked, "once a request, and no attempt in vain of the model's"
    review = world.generating.review(TENANT, [Review("p1", GOOD[0], "approved"), Review("p1", GOOD[1], "rejected")])
    assert [one["result"] for one in review] == ["refused", "rejected"]
    assert review[0]["reasons"] == ["text: cannot be judged now"]


def test_readers_are_loaded_while_a_model_writes(stores: Stores) -> None:
    world = make_world(stores)
    judge = Judge()
    world.generating = world.build(reader=lambda: judge)
    world.copy(n=1)
    assert judge.warmed.wait(10)


def test_where_banked_copy_cannot_be_judged_templates_answer(stores: Stores) -> None:
    """The rules have changed since it was banked, and the reader's file is broken."""
    world = make_world(stores)
    world.generator.texts = GOOD
    world.copy(n=3)

    world.generating = world.build(reader=broken, generator=None, wording="free")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.stores.copies.claims_version", lambda: "another")
        result = world.copy(n=3)
    assert result.copies and {copy.served_by for copy in result.copies} <= {"template", "advertiser"}


def test_what_the_product_itself_shows_may_be_approved_whatever_the_reader_makes_of_it(stores: Stores) -> None:
    world = make_world(stores)
    judge = Judge(doubts=["5000 mAh", "mint"])
    world.generating = world.build(reader=lambda: judge)
    world.generator.down = True
    shown = next(text for text in texts(world.copy(n=3)) if "5000 mAh" in text or "mint" in text)
    answers = world.generating.review(TENANT, [Review("p1", one, "approved") for one in (shown, GOOD[0])])
    assert [one["result"] for one in answers] == ["approved", "refused"], answers
