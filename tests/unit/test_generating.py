"""Writing copy: the gate, the ladder, the bank, and what may be said about a reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Ad, Consent, Language
from shared.errors import NotFound, Unprocessable
from shared.generating import CopyRequest, CopyResult
from shared.generating.form import form_problems, tidy
from shared.generating.gate import Gate
from shared.generating.repeats import COPIED, copied_share
from shared.generating.templates import fill_templates
from shared.generating.width import display_width
from shared.policy.claims import trace_claims, unsupported
from shared.policy.rules import blocking, channels, check
from shared.stores import Stores
from shared.stores.copies import ANYONE
from tests.conftest import TENANT
from tests.fakes.generation import BAD, GOOD, PHONE, PHONE_EN, PHONE_ZH, World, make_world, texts
from tests.fakes.models import TOPICS, TopicClassifier


@pytest.fixture
def world(stores: Stores) -> World:
    return make_world(stores)


def test_what_is_true_and_fits_is_shown_and_the_rest_is_refused_with_reasons(world: World) -> None:
    world.generator.texts = [*GOOD[:2], *BAD]
    result = world.copy(n=2)
    assert set(texts(result)) == set(GOOD[:2])
    assert {copy.served_by for copy in result.copies} == {"llm"}
    reasons = {one.text.rstrip("."): " ".join(one.reasons) for one in result.rejected}
    for text, reason in BAD.items():
        assert reason in reasons[text.rstrip(".")], text


def test_what_is_true_and_about_something_else_is_refused(world: World) -> None:
    world.generator.texts = ["It has a 5000 mAh battery."]  # the fake encoder knows a phone by its name
    assert [one.reasons for one in world.copy(n=1).rejected] == [("is not about the ad",)]


def test_every_shown_claim_names_its_field_and_every_text_its_label(world: World) -> None:
    body = world.copy().body()
    assert body["ranked_by"] == "match" and body["served_by"] == "llm"
    for copy in body["copies"]:
        assert copy["label"] == {"zh": "内容由AI生成", "en": "AI-generated"}
        assert copy["provenance"]["model"] == "scripted" and copy["provenance"]["human_review"] == "none"
        for claim in copy["claims"]:
            assert claim["support"]
            assert copy["text"][slice(*claim["span"])] == claim["text"]
    assert {"prompt", "policy", "claims", "generator"} <= set(body["versions"])


def test_what_the_prompt_gave_as_an_example_is_not_passed_on(world: World) -> None:
    world.generator.texts = ["A Larkspur phone with a practice book included."]
    (refused,) = world.copy().rejected
    assert "repeats an example of the prompt" in refused.reasons


def test_a_model_is_asked_again_while_nothing_of_its_own_may_be_shown(world: World) -> None:
    bad = list(BAD)
    world.generator.first = [bad[:3], [str(PHONE["description"]).split(". ")[0]]]
    result = world.copy(n=1)
    assert len(world.generator.asked) == 3
    assert texts(result)[0] in GOOD and result.copies[0].served_by == "llm"
    assert {one.text for one in result.rejected} >= set(bad[:3])
    assert result.cost.candidates == 24 and result.cost.seconds == 1.5


def test_a_model_that_only_repeats_itself_is_not_asked_for_ever(world: World) -> None:
    world.generator.texts = list(BAD)[:2]
    assert world.copy(n=1).served_by == "template"
    assert len(world.generator.asked) == 2


def test_what_a_model_adds_to_the_ads_words_is_refused_unless_the_ledger_alone_judges(world: World) -> None:
    lively = "A Larkspur phone that charges at 67 W while the kettle sings."
    world.generator.texts = [lively]
    (refused,) = world.copy(n=1).rejected
    assert any(reason.startswith("unsupported wording") for reason in refused.reasons)
    free = world.build(wording="free").copy(TENANT, CopyRequest(ad_id="p1", n=1))
    assert isinstance(free, CopyResult)
    assert texts(free) == [lively]


def test_near_repeats_count_once(world: World) -> None:
    world.generator.texts = [GOOD[0], GOOD[0] + "!", GOOD[0].replace("A phone", "The phone")]
    assert sum(copy.served_by == "llm" for copy in world.copy(n=3).copies) == 1


def test_a_dead_model_is_no_error(world: World) -> None:
    world.generator.down = True
    result = world.copy(n=3)
    assert len(result.copies) == 3
    assert {copy.served_by for copy in result.copies} == {"template"}
    assert result.body()["served_by"] == "template" and "down" in result.body()["notice"]
    assert all(copy.label is None for copy in result.copies)  # no model wrote them


def test_the_bank_answers_before_the_template(world: World) -> None:
    written = texts(world.copy(n=2))
    world.generator.down = True
    result = world.copy(n=3)
    assert texts(result)[:2] == written
    assert [copy.served_by for copy in result.copies] == ["bank", "bank", "bank"]


def test_banked_copy_that_no_longer_holds_is_not_shown(world: World) -> None:
    world.copy()
    changed = PHONE | {
        "description": "A phone with a 6.6 inch screen.",
        "attributes": {"price": 399, "currency": "USD"},
    }
    world.system.classifying.put_ads(TENANT, [changed])
    world.generator.down = True
    result = world.copy()
    assert not [text for text in texts(result) if "5000" in text or "$299" in text]
    assert [one for one in result.rejected if "$299" in one.text]


def test_an_ad_that_cannot_be_filled_shows_the_advertisers_own_words(world: World) -> None:
    world.generator.down = True
    title = "12 monkeys best phone"  # a template would say nothing else, and the title is no lawful copy
    result = world.copy(
        ad_id=None, ad=replace(PHONE_ZH, title=title, language="zh", description="一部手机，屏幕很亮。")
    )
    assert [(copy.text, copy.served_by) for copy in result.copies] == [("12 monkeys best phone", "advertiser")]


def test_an_unlawful_title_is_never_shown(world: World) -> None:
    world.generator.down = True
    result = world.copy(ad_id=None, ad=replace(PHONE_ZH, title="全国第一的手机，国家级品质", description=""))
    assert result.copies == () and any("cn.absolute" in reason for one in result.rejected for reason in one.reasons)


def own_words(world: World, **ad: Any) -> CopyResult:
    """What is shown where no template may be: all that is filled says what the title's reader may not."""
    return world.copy(ad_id=None, ad=replace(PHONE_ZH, **{"brand": None, "attributes": {}} | ad), language="en")


def test_where_the_title_may_not_be_shown_a_sentence_of_the_description_is(world: World) -> None:
    world.generator.down = True
    result = own_words(world, title="全国第一的手机", description="一部手机，屏幕很亮。国家级品质。电池耐用。")
    assert [(copy.text, copy.served_by) for copy in result.copies] == [("一部手机，屏幕很亮", "advertiser")]
    assert any("cn.absolute" in reason for one in result.rejected for reason in one.reasons)
    assert result.notice and "its own words (zh)" in result.notice


def test_the_brand_stands_alone_only_where_nothing_of_the_ad_is_forbidden(world: World) -> None:
    world.generator.down = True
    forbidden = own_words(world, title="全国第一的手机", description="国家级品质。", brand="澜星")
    assert forbidden.copies == () and forbidden.notice and "nothing of the ad may be shown" in forbidden.notice
    assert forbidden.body()["served_by"] == "none"


def test_nothing_is_shown_of_a_long_title_that_limits_itself(world: World) -> None:
    world.generator.down = True
    limited = f"Free for {'three or four ' * 9}days, then $19.99 a month"
    shown = own_words(world, title=limited, description="", language="en")
    assert not [copy for copy in shown.copies if "19.99" not in copy.text], shown.copies
    long = own_words(world, title=f"A bright phone {'with a good screen ' * 9}", description="", language="en")
    assert long.copies and all(copy.text for copy in long.copies)


def test_when_nothing_that_the_model_wrote_passes_the_answer_says_so(world: World) -> None:
    world.generator.texts = list(BAD)
    result = world.copy()
    assert result.copies and all(copy.served_by == "template" for copy in result.copies)
    assert result.notice and "nothing that the language model wrote may be shown" in result.notice
    world.generator.texts = list(GOOD)
    assert world.copy(fresh=True).notice is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("A bright phone with 5000 mAh: buy it at cheap-phones.com today.", "cheap-phones.com"),
        ("A bright phone, see WWW.PHONES.EVIL and pay.", "WWW.PHONES"),
        ("A bright phone: see example.com/p1 for more.", None),
        ("A bright phone for Node.js and 9.30 o'clock.", None),
        ("一部手机，来phones.cn看看。", "phones.cn"),
    ],
)
def test_an_address_that_is_not_the_ads_is_refused(world: World, text: str, address: str | None) -> None:
    world.generator.texts = [text]
    refused = " ".join(reason for one in world.copy(n=1).rejected for reason in one.reasons)
    assert ("web address" in refused) == (address is not None)
    assert address is None or f"not the ad's: {address}" in refused


def test_in_health_nothing_is_generated(world: World) -> None:
    ad = replace(
        PHONE_ZH,
        title="定期体检，预防高血压",
        description="基础套餐含 12 项。",
        domain="health",
        attributes={},
        brand=None,
    )
    result = world.copy(ad_id=None, ad=ad)
    assert world.generator.asked == []
    assert result.copies and {copy.served_by for copy in result.copies} == {"template"}
    assert "定期体检，预防高血压" in result.copies[0].text


def test_copy_for_a_segment_is_banked_for_it_and_only_above_the_floor(world: World) -> None:
    world.interested("ann", "bob")
    segment = TOPICS["phone"]
    world.copy(segment=segment)
    assert world.stores.copies.bank_get(TENANT, "p1", segment, "en")
    world.interested("cid", topic="watch")
    world.copy(segment=TOPICS["watch"])
    assert not world.stores.copies.bank_get(TENANT, "p1", TOPICS["watch"], "en")
    world.generator.down = True
    assert {copy.served_by for copy in world.copy(segment=segment).copies} == {"segment"}


def test_copy_for_one_person_is_never_banked(world: World) -> None:
    world.interested("ann", "bob")
    world.copy(user_id="ann")
    for segment in (ANYONE, *TOPICS.values()):
        assert not world.stores.copies.bank_get(TENANT, "p1", segment, "en")


def test_only_interests_that_enough_people_hold_enter_the_prompt(world: World) -> None:
    world.interested("ann", "bob")
    world.interested("ann", topic="watch")
    world.copy(user_id="ann")
    assert f"en {TOPICS['phone']}" in world.generator.prompt
    assert f"en {TOPICS['watch']}" not in world.generator.prompt  # ann alone


def test_a_sensitive_interest_and_an_external_id_never_leave(world: World) -> None:
    for user in ("ann-external-id", "bob"):
        uid = world.stores.people.uid(TENANT, user, create=True)
        assert uid
        world.stores.people.set_consent(TENANT, uid, Consent(True, True, "test", world.system.clock.now))
        row = {"user_id": user, "event": "consult", "timestamp": world.system.clock.now - 60, "text": "blood pressure"}
        world.system.profiling.post_events(TENANT, [row | {"domain": "health"}])
    assert any(i.sensitive for i in world.system.profiling.profile(TENANT, "ann-external-id")[0].interests)
    world.copy(user_id="ann-external-id")
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", user_id="ann-external-id", queued=True))
    assert isinstance(job_id, str)
    job = world.stores.jobs.get(TENANT, job_id)
    assert job is not None
    for said in (world.generator.prompt, json.dumps(job.request)):
        assert TOPICS["pressure"] not in said and "ann-external-id" not in said


def test_the_advertisers_own_words_are_no_new_copy(world: World) -> None:
    title, description = PHONE["title"], "A phone with a 6.6 inch screen, 5000 mAh battery."
    world.generator.texts = [f"{title}!", f"New: {title}", description, *GOOD]
    result = world.copy(n=8)
    refused = {one.text: one.reasons for one in result.rejected}
    assert "only repeats the title" in refused[f"New: {title}"] + refused.get(f"{title}!", refused[f"New: {title}"])
    assert f"{title}!" not in texts(result)
    written = [copy.text for copy in result.copies if copy.served_by == "llm"]
    assert written[-1] == description and set(written[:-1]) == set(GOOD)


@pytest.mark.parametrize(
    ("text", "source", "copied"),
    [
        ("最新款智能手机", "最新款智能手机，限时优惠！", True),
        ("新款智能手机，限时优惠", "最新款智能手机，限时优惠！", True),
        ("Trail shoe, light", "A TRAIL SHOE, light and grey", True),
        ("单手握得住的手机", "最新款智能手机，限时优惠！", False),
        ("A light shoe for the trail", "Trail shoe, light", False),
        ("！！", "最新款", True),
        ("A shoe", "", False),
    ],
)
def test_a_copy_is_told_by_its_runs(text: str, source: str, copied: bool) -> None:
    assert (copied_share(text, [source]) >= COPIED) is copied


class WordEncoder:
    """A text's vector leans to each topic that it names, most of all to phones."""

    def encode(self, texts: Sequence[str], kind: str = "query") -> np.ndarray:
        rows = [
            [(1.0, 0.4, 0.4)[place] * (topic in text) for place, topic in enumerate(("phone", "road", "desk"))]
            for text in texts
        ]
        vectors = np.array(rows, np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_what_speaks_to_the_reader_comes_first() -> None:
    gate = Gate(WordEncoder, TopicClassifier, check, wording="literal")
    written = ["A bright phone for the road.", "A bright phone for the desk."]
    assert isinstance(PHONE_EN, Ad)
    for audience, first in (("road", written[0]), ("desk", written[1])):
        passed, rejected = gate.sieve(written, PHONE_EN, "en", channel="feed", audience=[audience])
        assert passed[0].text == first, rejected


def test_without_consent_copy_is_written_for_anyone(world: World) -> None:
    world.interested("ann", "bob")
    uid = world.stores.people.uid(TENANT, "ann")
    assert uid
    world.stores.people.set_consent(TENANT, uid, Consent(False, False, "test", world.system.clock.now))
    world.copy(user_id="ann")
    assert "Readers like" not in world.generator.prompt


def test_wrong_requests_say_what_is_wrong(world: World) -> None:
    with pytest.raises(NotFound, match="nope"):
        world.copy(ad_id="nope")
    with pytest.raises(Unprocessable, match="channel"):
        world.copy(channel="telegram")


def test_copy_keeps_to_the_platforms_editorial_rules(world: World) -> None:
    loud = ["A bright phone that charges at 67 W!", "Larkspur: the mint phone for $299."]
    world.generator.texts = loud
    result = world.copy(channel="google_description", n=2, fresh=True)
    assert set(loud) <= set(texts(result))
    result = world.copy(channel="google_headline", n=2)
    assert all("!" not in text for text in texts(result))
    world.generator.down = True
    ad = replace(PHONE_ZH, title="Bright phone!!! 📱", language="en", description="")
    (own,) = world.copy(ad_id=None, ad=ad, channel="google_headline", n=1).copies
    assert own.text.startswith("Bright phone") and not set("!📱") & set(own.text)


@pytest.mark.parametrize("ad", [{"ad_id": "p1"}, {"ad_id": None, "ad": PHONE_ZH}], ids=["en", "zh"])
def test_copy_fits_its_channel(world: World, ad: dict[str, Any]) -> None:
    world.generator.texts = [*GOOD, *(text * 3 for text in GOOD)]
    for name, channel in channels().items():
        result = world.copy(channel=name, **ad)
        assert result.copies, name
        assert all(display_width(text) <= channel.width for text in texts(result)), name


@pytest.mark.parametrize("ad", [PHONE_ZH, PHONE_EN], ids=["zh", "en"])
def test_templates_are_varied_supported_and_lawful(ad: Ad) -> None:
    written = fill_templates(ad, ad.language, 6)
    assert len(set(written)) == 6
    for text in written:
        assert not unsupported(trace_claims(text, ad)), text
        assert not blocking(check(text, ad.domain)), text
        assert not form_problems(text, ad.language), text
    assert sum("5000" in text for text in written) >= 1


def _cut_off(description: str, **facts: Any) -> Ad:
    assert isinstance(PHONE_EN, Ad)
    title = description[:60].rsplit(" ", 1)[0]
    return replace(PHONE_EN, title=title, description=description, brand=None, **{"attributes": {}, **facts})


PIANO = "We offer piano lessons to help you play the pieces that you love, at home and in our rooms near the station."
GARDEN = (
    "We build gardens and terraces of stone and wood in Leeds and around the town. Our gardeners plan beds with you."
)


def test_templates_ask_after_what_a_cut_title_is_about() -> None:
    written = fill_templates(_cut_off(PIANO), "en", 6)
    assert set(written[:2]) & {f"{lead} piano lessons? {call}" for lead, call in (
        ("Looking for", "Take a look."), ("Looking for", "Have a look."), ("Interested in", "See the details.")
    )}  # fmt: skip
    assert not [text for text in written if text.startswith(("Meet", "Take a look at"))]


def test_templates_quote_whole_sentences_where_a_title_is_cut_off() -> None:
    written = fill_templates(_cut_off(GARDEN), "en", 6)
    assert all(one in " ".join(written[:2]) for one in GARDEN.rstrip(".").split(". ")), written
    priced = fill_templates(_cut_off(GARDEN, attributes={"material": "oak"}), "en", 3)
    assert any("material: oak" in text.lower() for text in priced)
    for text in (*written, *priced):
        assert not form_problems(text, "en"), text


def test_a_cut_title_ends_where_something_may_end() -> None:
    ad = _cut_off(
        "Plumbing for homes of all kinds and sizes which we know in the whole of Kent, cheaply and for everyone."
    )
    assert ad.title.endswith("know in")
    assert not [text for text in fill_templates(ad, "en", 5) if "know in" in text and "of Kent" not in text]


@pytest.mark.parametrize(
    ("title", "language", "mark"), [("Ready to learn to swim?", "en", "? "), ("想学游泳吗？", "zh", "？")]
)
def test_a_title_that_asks_is_followed_by_a_call(title: str, language: Language, mark: str) -> None:
    phone = PHONE_ZH if language == "zh" else PHONE_EN
    assert isinstance(phone, Ad)
    ad = replace(phone, title=title, brand=None, attributes={})
    written = fill_templates(ad, language, 3)
    assert all(text.startswith(title) and "?." not in text and "？。" not in text for text in written), written
    assert all(mark in text for text in written[:2])


def test_a_template_says_nothing_in_the_wrong_language() -> None:
    foreign = replace(PHONE_ZH, attributes={"colour": "mint", "material": "glass", "weight_g": 189})
    for text in fill_templates(foreign, "zh", 5):
        assert "mint" not in text and "glass" not in text


@pytest.mark.parametrize(
    "text", ["Music for the ear: music for the ear.", "Light shoes — light shoes", "轻便好穿：轻便好穿"]
)
def test_going_round_in_circles_is_seen(text: str) -> None:
    assert "repetitive" in form_problems(text, "zh" if "轻" in text else "en")


@given(st.text(max_size=120), st.sampled_from(["zh", "en"]))
def test_any_text_can_be_tidied_and_judged(text: str, language: Any) -> None:
    tidied = tidy(text, PHONE_ZH, language)
    assert "\n" not in tidied
    form_problems(tidied, language)


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        ("5.4 英寸小屏手机，单手握得住", "5.4 英寸小屏手机，单手握得住"),
        ("1. 单手握得住的手机", "单手握得住的手机"),
        ("2、单手握得住的手机", "单手握得住的手机"),
    ],
)
def test_a_list_mark_goes_and_a_decimal_stays(written: str, tidied: str) -> None:
    assert tidy(written, PHONE_ZH, "zh") == tidied
