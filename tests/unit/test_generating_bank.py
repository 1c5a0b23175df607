"""The bank answers first, without a model; and what people say of a text counts."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import Copy
from shared.generating import CopyRequest, CopyResult, Review, Styles
from shared.generating.prompts import prompt_version
from shared.generating.reviews import MAX_TEXT
from shared.generating.writing import ENOUGH
from shared.policy.rules import channels
from shared.stores import Stores, copies
from shared.stores.copies import ANYONE, Approved, gate_stamp, text_key
from tests.conftest import TENANT
from tests.fakes.generation import GOOD, PHONE, PHONE_EN, World, make_world, texts
from tests.fakes.models import TOPICS

pytestmark = pytest.mark.slow

WATCH = {
    "ad_id": "w1",
    "title": "A watch for the road",
    "description": "A watch with a 40 mm case, waterproof.",
    "landing_url": "https://example.com/w1",
    "language": "en",
    "domain": "ecommerce",
}


@pytest.fixture
def world(stores: Stores) -> World:
    world = make_world(stores)
    world.system.classifying.put_ads(TENANT, [WATCH])
    return world


def review(world: World, **fields: Any) -> dict[str, Any]:
    (answer,) = world.generating.review(
        TENANT, [Review(**{"ad_id": "p1", "text": GOOD[0], "state": "approved"} | fields)]
    )
    return answer


def unloaded() -> Any:
    raise AssertionError("a model was loaded")


def test_a_full_bank_answers_without_a_model(world: World) -> None:
    written = world.copy(n=3)
    assert written.served_by == "llm"
    world.generating = world.build(generator=world.generator, encoder=unloaded, classifier=unloaded)
    again = world.copy(n=3)
    assert texts(again) == texts(written) and again.served_by == "bank"
    assert len(world.generator.asked) == 1
    assert again.copies[0].provenance["generated_at"] == written.copies[0].provenance["generated_at"]


def test_fresh_asks_the_model_and_so_does_a_bank_with_too_little(world: World) -> None:
    world.copy(n=3)
    assert world.copy(n=3, fresh=True).served_by == "llm"
    world.copy(n=8)
    assert len(world.generator.asked) == 3


def test_a_model_that_writes_too_little_is_not_asked_for_ever(world: World) -> None:
    world.generator.texts = GOOD[:1]
    for _ in range(ENOUGH):
        assert world.copy(n=3).served_by == "template"
    filled = world.copy(n=3)
    assert len(world.generator.asked) == ENOUGH
    assert (texts(filled)[0], filled.copies[0].served_by, len(filled.copies)) == (GOOD[0], "bank", 3)
    assert filled.notice and "fresh" in filled.notice
    world.copy(n=3, channel="google_headline")  # other copy may come more easily
    assert len(world.generator.asked) > ENOUGH
    before = len(world.generator.asked)
    world.copy(n=3, fresh=True)
    assert len(world.generator.asked) == before + 1
    world.system.classifying.put_ads(TENANT, [PHONE | {"description": f"{PHONE['description']} Dual SIM."}])
    world.copy(n=3)  # there is something else to say
    world.system.clock.now += 86400
    world.copy(n=3)
    assert len(world.generator.asked) == before + 3
    world.generator.texts = GOOD
    world.copy(n=3, fresh=True)
    assert world.copy(n=3).served_by == "bank"


def test_an_unavailable_model_is_asked_again(world: World) -> None:
    world.generator.down = True
    for _ in range(ENOUGH + 1):
        world.copy(n=3)
    assert len(world.generator.asked) == ENOUGH + 1


def test_one_persons_copy_is_written_anew(world: World) -> None:
    world.interested("ann", "bob")
    world.copy(n=3)
    assert world.copy(user_id="ann").served_by == "llm"
    assert len(world.generator.asked) == 2
    answer = world.generating.copy(TENANT, CopyRequest(ad_id="p1", user_id="ann"), remaining=2.0)
    assert isinstance(answer, CopyResult) and {copy.served_by for copy in answer.copies} <= {"bank", "segment"}


def test_a_segment_is_answered_from_its_own_copy_only(world: World) -> None:
    world.interested("ann", "bob")
    world.copy(n=3)
    segment = TOPICS["phone"]
    assert world.copy(segment=segment).served_by == "llm"
    assert world.copy(segment=segment).served_by == "segment"
    assert len(world.generator.asked) == 2


def test_banked_copy_is_of_the_tone_and_voice_that_was_asked_for(world: World) -> None:
    world.generating = world.build(adapters=["ours"])
    world.copy(n=2)
    assert world.copy(n=2, tone="warm").served_by == "llm"
    assert world.copy(n=2, adapter="ours").served_by == "llm"
    assert world.generator.requests[-1].adapter == "ours"
    assert "Tone: warm" in world.generator.prompt


def test_an_adapter_is_asked_in_the_prompts_that_it_learned(world: World) -> None:
    world.generating = world.build(adapters=["ours"], styles=Styles("instruct"))
    assert world.copy(fresh=True).versions["prompt"] == prompt_version("instruct")
    assert [message["role"] for message in world.generator.requests[-1].messages] == ["system", "user"]
    answer = world.copy(fresh=True, adapter="ours")
    assert answer.versions["prompt"] == prompt_version("tuned") == world.generating.versions("ours")["prompt"]
    assert answer.copies[0].provenance["prompt_version"] == prompt_version("tuned")
    assert [message["role"] for message in world.generator.requests[-1].messages] == ["user"]
    world.generating = world.build(adapters=["ours"], styles=Styles("tuned", "few-shot"))
    assert world.copy(fresh=True, adapter="ours").versions["prompt"] == prompt_version("few-shot")


def test_the_bank_keeps_short_copy_beside_long_copy(world: World) -> None:
    short = "A phone for $299, mint."
    world.generator.texts = [*GOOD, short]
    world.copy(n=3, channel="feed")
    assert channels()["google_headline"].width < 40
    assert short.rstrip(".") in "".join(texts(world.copy(n=1, channel="google_headline")))
    assert len(world.generator.asked) == 1


def test_changed_rules_make_the_bank_look_again_once(world: World, stores: Stores) -> None:
    world.copy(n=3)
    old = [
        Copy(copy.text, "en", "llm", (), copy.label, copy.provenance | {"gate": {"claims": "older"}})
        for copy in stores.copies.bank_get(TENANT, "p1", ANYONE, "en")
    ]
    false = Copy("A phone with 9000 mAh.", "en", "llm", (), None, {"gate": {"claims": "older"}, "match": 2.0})
    stores.copies.bank_put(TENANT, "p1", ANYONE, "en", [*old, false])
    result = world.copy(n=3)
    assert result.served_by == "bank" and false.text not in texts(result)
    assert [one.text for one in result.rejected] == [false.text]
    assert all(copy.claims for copy in result.copies)
    stored = stores.catalogue.get_ad(TENANT, "p1")
    assert stored
    stamps = [copy.provenance["gate"] for copy in stores.copies.bank_get(TENANT, "p1", ANYONE, "en")]
    assert stamps[:3] == [gate_stamp(stored.ad, "literal")] * 3


def test_a_change_of_the_wording_makes_the_bank_look_again(world: World, stores: Stores) -> None:
    world.copy(n=3)
    held = texts(world.copy(n=3))
    assert len(world.generator.asked) == 1
    result = world.build(wording="quoted", generator=None).copy(TENANT, CopyRequest("p1", n=3))
    assert isinstance(result, CopyResult)
    gone = {one.text for one in result.rejected if "not quoted" in " ".join(one.reasons)}
    assert gone and gone <= set(held) and not gone & set(texts(result))


# Reviews ------------------------------------------------------------------------------------------------------------


def test_an_approved_text_becomes_an_example_for_other_ads_first(world: World) -> None:
    world.copy(n=3)
    assert review(world) == {"index": 0, "ad_id": "p1", "result": "approved", "banked": True}
    assert review(world, ad_id="w1", text="A waterproof watch for the road.")["banked"] is False
    world.generator.requests.clear()
    world.copy(fresh=True)
    shown = [message["content"] for message in world.generator.asked[0] if message["role"] == "assistant"]
    assert shown[-2:] == [GOOD[0], "A waterproof watch for the road."]  # the other ad's stands nearest


def test_a_review_shows_in_the_banked_texts_provenance_and_puts_it_first(world: World) -> None:
    world.copy(n=3)
    assert review(world, text=GOOD[2], reviewer="ed")["banked"]
    first = world.copy(n=3).copies[0]
    assert first.text == GOOD[2]
    assert (first.provenance["human_review"], first.provenance["reviewer"]) == ("approved", "ed")


def test_approval_is_no_licence_to_say_what_the_ad_does_not(world: World, stores: Stores) -> None:
    answer = review(world, text="A phone with 9000 mAh inside.")
    assert answer["result"] == "refused" and "9000" in answer["reasons"][0]
    assert list(stores.copies.approved(TENANT)) == []


def test_a_rejected_text_is_never_shown_again(world: World, stores: Stores) -> None:
    world.copy(n=3)
    assert review(world)["result"] == "approved"
    assert review(world, state="rejected", text=GOOD[0].upper().rstrip(".")) == {
        "index": 0,
        "ad_id": "p1",
        "result": "rejected",
        "banked": True,
    }
    assert list(stores.copies.approved(TENANT)) == []
    for fresh in (False, True):
        result = world.copy(n=3, fresh=fresh)
        assert GOOD[0] not in texts(result)
    assert any("rejected by a reviewer" in one.reasons for one in result.rejected)
    assert GOOD[0] not in [copy.text for copy in stores.copies.bank_get(TENANT, "p1", ANYONE, "en")]
    world.generator.down = True
    for text in texts(world.copy(n=8, fresh=True)):
        review(world, state="rejected", text=text)
        assert text not in texts(world.copy(n=8, fresh=True))


def test_another_word_on_a_text_takes_the_rejection_back(world: World) -> None:
    review(world, state="rejected")
    assert GOOD[0] not in texts(world.copy(n=3))
    review(world)
    assert GOOD[0] in texts(world.copy(n=3, fresh=True))


def test_what_was_approved_for_one_ad_is_not_passed_on_for_another(world: World) -> None:
    text = "A look at the road, one phone at a time."  # the gate lets it pass for both
    world.system.classifying.put_ads(TENANT, [PHONE | {"ad_id": "p2", "landing_url": "https://example.com/p2"}])
    assert review(world, ad_id="p2", text=GOOD[1])["result"] == "approved"
    world.generator.texts = [text, GOOD[1]]
    result = world.copy(n=2)
    assert GOOD[1] not in texts(result)
    assert any("approved for another ad" in reason for one in result.rejected for reason in one.reasons)


def test_reviews_that_cannot_be_taken_say_why(world: World) -> None:
    assert "no ad" in review(world, ad_id="nope")["reasons"][0]
    assert "nothing to read" in review(world, text=" \u200b ")["reasons"][0]
    assert "taxonomy" in review(world, segment="vips")["reasons"][0]
    assert "sensitive" in review(world, segment=TOPICS["pressure"])["reasons"][0]
    assert review(world, text="x" * MAX_TEXT)["result"] == "refused"


def approved(place: int) -> Approved:
    return Approved("a", "en", f"text {place}", "", {"title": "t"}, float(place))


def test_the_store_of_approved_copy_is_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MAX_APPROVED", 20)
    stores.copies.approve(TENANT, [approved(place) for place in range(23)])
    kept = list(stores.copies.approved(TENANT, "en"))
    assert len(kept) == 20 and min(one.at for one in kept) == 3.0


def test_recommendations_show_only_copy_that_was_checked_against_the_ad_as_it_is(world: World, stores: Stores) -> None:
    from shared.eligibility import Context

    world.copy(n=3)
    world.system.classifying.publish(TENANT)

    def shown() -> tuple[str, str]:
        decision = world.system.recommending.recommend(TENANT, "ann", n=2, context=Context(language="en"))
        return next((ad.copy, ad.copy_served_by) for ad in decision.ads if ad.ad_id == "p1")

    assert shown()[1] == "bank" and shown()[0] in GOOD
    review(world, state="rejected", text=shown()[0])
    assert shown()[1] == "bank"
    world.system.classifying.put_ads(TENANT, [PHONE | {"attributes": {"price": 399, "currency": "USD"}}])
    world.system.classifying.publish(TENANT)
    world.system.clock.now += 60
    assert shown()[1] == "advertiser"


def test_a_recommendation_tells_where_its_copy_comes_from(world: World) -> None:
    from functions.recommend.handler import decision_body
    from shared.eligibility import Context

    world.copy(n=3)
    review(world, reviewer="ed")
    world.system.classifying.publish(TENANT)
    decision = world.system.recommending.recommend(TENANT, "ann", n=2, context=Context(language="en"))
    ads = {ad["ad_id"]: ad for ad in decision_body(decision)["ads"]}
    assert ads["p1"]["label"] == {"zh": "内容由AI生成", "en": "AI-generated"}
    told = ads["p1"]["provenance"]
    assert (told["generator"], told["model"], told["human_review"]) == ("llm", "scripted", "approved")
    assert told["prompt_version"].startswith("few-shot-") and told["aigc"]["Label"] == "1"
    assert "ed" not in told.values() and "gate" not in told
    assert (ads["w1"]["label"], ads["w1"]["provenance"]) == (None, {"generator": "advertiser"})
    kept = world.stores.delivery.get_decision(TENANT, decision.decision_id)
    assert kept == decision


def test_keys_of_texts_ignore_width_case_and_spaces() -> None:
    assert text_key("Ａ phone!") == text_key("a PHONE") != text_key("a phones")
    assert text_key("！！") != text_key("🔥")
    assert PHONE_EN is not None
