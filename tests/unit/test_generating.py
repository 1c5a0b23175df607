"""Writing copy: the gate, the ladder, the bank, what may be said about a reader, and jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.generate import handler
from shared.domain import Ad, Consent
from shared.errors import NotFound, Unavailable, Unprocessable
from shared.generating import CopyRequest, CopyResult, Generating
from shared.generating.gate import form_problems, tidy
from shared.generating.prompts import build_prompt
from shared.generating.service import STALE_SECONDS
from shared.generating.templates import fill_templates
from shared.generating.width import display_width
from shared.models.sagemaker import SageMakerAsync
from shared.policy.claims import trace_claims, unsupported
from shared.policy.rules import blocking, channels, check
from shared.preprocess import parse_ad
from shared.stores import Stores
from shared.stores.copies import ANYONE
from tests.conftest import TENANT, Aws
from tests.fakes.generation import FakeSageMakerRuntime, ScriptedGenerator
from tests.fakes.models import TOPICS, TopicClassifier
from tests.fakes.system import FakeSystem

PHONE = {
    "ad_id": "p1",
    "title": "Larkspur phone with a bright screen",
    "description": "A phone with a 6.6 inch screen, 5000 mAh battery and 67 W fast charging. Weighs 189 g.",
    "landing_url": "https://example.com/p1",
    "language": "en",
    "domain": "ecommerce",
    "brand": "Larkspur",
    "attributes": {"price": 299, "currency": "USD", "screen_inch": 6.6, "battery_mAh": 5000, "colour": "mint"},
}
PHONE_EN = parse_ad(PHONE, index=0)
assert isinstance(PHONE_EN, Ad)
PHONE_ZH = Ad(
    ad_id="zh",
    title="最新款智能手机，限时优惠！",
    description="6.6 英寸直屏，5000 mAh 电池，67 W 有线快充。",
    landing_url="https://example.com/",
    language="zh",
    domain="ecommerce",
    brand="澜星",
    attributes={"price": 1999, "currency": "CNY", "screen_inch": 6.6, "battery_mAh": 5000, "colour": "曜石黑"},
)
GOOD = [
    "A phone that charges fast at 67 W and lasts on 5000 mAh.",
    "See more on the 6.6 inch screen of the Larkspur phone.",
    "Larkspur: the bright phone for $299.",
]
BAD = {
    "A phone with 9000 mAh inside.": "unsupported measure",
    "The best phone that money can buy.": "policy cn.absolute",
    "This phone comes with free shipping.": "unsupported offer",
    "这是一部手机，屏幕很亮。": "not in English",
    "A lovely course in calligraphy for you.": "is not about the ad",
    "phone phone phone phone phone phone": "repetitive",
}


@dataclass
class World:
    """Generation on fake models and an in-process AWS."""

    system: FakeSystem
    stores: Stores
    generator: ScriptedGenerator
    generating: Generating
    build: Callable[..., Generating]

    def copy(self, **request: Any) -> CopyResult:
        answer = self.generating.copy(TENANT, CopyRequest(**{"ad_id": "p1"} | request))
        assert isinstance(answer, CopyResult)
        return answer

    def interested(self, *users: str, topic: str = "phone") -> None:
        for user in users:
            row = {"user_id": user, "event": "purchase", "timestamp": self.system.clock.now - 60, "text": f"a {topic}"}
            assert self.system.profiling.post_events(TENANT, [row]).accepted == 1
            self.system.profiling.profile(TENANT, user)


@pytest.fixture
def world(stores: Stores) -> World:
    system = FakeSystem(stores)
    generator = ScriptedGenerator([*GOOD, *BAD])

    def build(**changes: Any) -> Generating:
        parts: dict[str, Any] = {"generator": generator, "k_floor": system.k_floor, "clock": system.clock}
        return Generating(
            stores,
            lambda: system.encoder,
            TopicClassifier,
            system.profiles,
            check,
            **parts | changes,
        )

    kept = system.classifying.put_ads(TENANT, [PHONE])
    assert getattr(kept[0], "active", False), kept
    return World(system, stores, generator, build(), build)


def texts(result: CopyResult) -> list[str]:
    return [copy.text for copy in result.copies]


def test_what_is_true_and_fits_is_shown_and_the_rest_is_refused_with_reasons(world: World) -> None:
    world.generator.texts = [*GOOD[:2], *BAD]
    result = world.copy(n=2)
    assert set(texts(result)) == set(GOOD[:2])
    assert {copy.served_by for copy in result.copies} == {"llm"}
    reasons = {one.text.rstrip("."): " ".join(one.reasons) for one in result.rejected}
    for text, reason in BAD.items():
        assert reason in reasons[text.rstrip(".")], text


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
    assert refused.reasons == ("repeats an example of the prompt",)


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
    job = world.stores.copies.job_get(TENANT, job_id)
    assert job is not None
    for said in (world.generator.prompt, json.dumps(job.request)):
        assert TOPICS["pressure"] not in said and "ann-external-id" not in said


def test_without_consent_copy_is_written_for_anyone(world: World) -> None:
    world.interested("ann", "bob")
    uid = world.stores.people.uid(TENANT, "ann")
    assert uid
    world.stores.people.set_consent(TENANT, uid, Consent(False, False, "test", world.system.clock.now))
    world.copy(user_id="ann")
    assert "Readers like" not in world.generator.prompt


def queued(world: World, aws: Aws) -> list[dict[str, Any]]:
    answer = aws.sqs.receive_message(QueueUrl=aws.copy_queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", ())]


def test_much_copy_goes_through_the_queue_and_a_repeat_changes_nothing(world: World, aws: Aws) -> None:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", n=12))
    assert isinstance(job_id, str)
    assert world.generating.job(TENANT, job_id).state == "queued"
    (message,) = queued(world, aws)
    assert message == {"tenant": TENANT, "job_id": job_id}
    world.generating.handle_job(**message)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.progress == 1.0 and view.result
    assert world.generator.wanted == [24]
    assert 8 < len(view.result["copies"]) <= 12
    world.generator.texts = []
    world.generating.handle_job(**message)
    assert world.generating.job(TENANT, job_id) == view
    assert len(world.generator.wanted) == 1


def test_a_job_without_a_model_is_done_by_the_ladder(world: World, aws: Aws) -> None:
    world.generator.down = True
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    assert isinstance(job_id, str)
    world.generating.handle_job(TENANT, job_id)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.result and view.result["served_by"] == "template"


def test_a_job_that_cannot_be_queued_fails(world: World, aws: Aws) -> None:
    aws.sqs.delete_queue(QueueUrl=aws.copy_queue_url)
    with pytest.raises(Unavailable):
        world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))


def test_an_unknown_job_is_not_found_and_its_message_is_dropped(world: World) -> None:
    with pytest.raises(NotFound):
        world.generating.job(TENANT, "0" * 32)
    world.generating.handle_job(TENANT, "0" * 32)


def test_a_job_without_a_sign_of_life_counts_as_failed(world: World) -> None:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    assert isinstance(job_id, str)
    job = world.stores.copies.job_get(TENANT, job_id)
    assert job
    world.system.clock.now = job.updated_at + STALE_SECONDS + 1
    assert world.generating.job(TENANT, job_id).state == "failed"
    world.generating.handle_job(TENANT, job_id)  # too late: what was reported stands
    assert world.generating.job(TENANT, job_id).state == "failed"


@pytest.fixture
def runtime(world: World) -> FakeSageMakerRuntime:
    """An asynchronous endpoint is all there is."""
    runtime = FakeSageMakerRuntime({})

    def put(key: str, data: bytes) -> str:
        runtime.objects[f"s3://in/{key}"] = data
        return f"s3://in/{key}"

    endpoint = SageMakerAsync("copywriter", runtime, put=put, read=runtime.objects.get)
    world.generating = world.build(generator=None, asynchronous=endpoint)
    return runtime


def start(world: World) -> str:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1"))
    assert isinstance(job_id, str)
    world.generating.handle_job(TENANT, job_id)
    assert world.generating.job(TENANT, job_id).state == "running"
    return job_id


def test_the_asynchronous_endpoint_writes_and_its_notification_finishes_the_job(
    world: World, runtime: FakeSageMakerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = start(world)
    assert runtime.calls[0]["InferenceId"] == job_id
    runtime.answer([*GOOD, *BAD])

    class System:
        generating = world.generating

    monkeypatch.setattr(handler, "system", System)
    notice = {
        "invocationStatus": "Completed",
        "requestParameters": {"inputLocation": runtime.calls[0]["InputLocation"]},
        "inferenceId": job_id,
    }
    event = {
        "Records": [
            {"eventSource": "aws:sqs", "messageId": "good", "body": json.dumps({"Message": json.dumps(notice)})},
            {"eventSource": "aws:sqs", "messageId": "broken", "body": "{"},
        ]
    }
    assert handler.lambda_handler(event, None) == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.result
    assert set(GOOD) == {copy["text"] for copy in view.result["copies"]}
    assert isinstance(world.generating.copy(TENANT, CopyRequest(ad_id="p1")), CopyResult)  # from the bank now


def test_a_lost_notification_is_made_good_by_looking_again(
    world: World, runtime: FakeSageMakerRuntime, aws: Aws
) -> None:
    job_id = start(world)
    world.generating.handle_job(TENANT, job_id)  # the delayed message: nothing there yet
    runtime.answer(GOOD)
    assert world.generating.job(TENANT, job_id).state == "done"


def test_an_asynchronous_failure_and_a_silent_endpoint_end_in_the_ladder(
    world: World, runtime: FakeSageMakerRuntime
) -> None:
    failed, silent = start(world), start(world)
    runtime.objects[f"s3://out/{failed}-error.out"] = b"out of memory"
    world.system.clock.now += 1000
    for job_id in (failed, silent):
        view = world.generating.job(TENANT, job_id)
        assert view.state == "done" and view.result and view.result["served_by"] == "template"


def test_wrong_requests_say_what_is_wrong(world: World) -> None:
    with pytest.raises(NotFound, match="nope"):
        world.copy(ad_id="nope")
    with pytest.raises(Unprocessable, match="channel"):
        world.copy(channel="telegram")


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
        assert not form_problems(text, ad.language, 140), text
    assert sum("5000" in text for text in written) >= 1


def test_a_template_says_nothing_in_the_wrong_language() -> None:
    foreign = replace(PHONE_ZH, attributes={"colour": "mint", "material": "glass", "weight_g": 189})
    for text in fill_templates(foreign, "zh", 5):
        assert "mint" not in text and "glass" not in text


@given(st.text(max_size=120), st.sampled_from(["zh", "en"]))
def test_any_text_can_be_tidied_and_judged(text: str, language: Any) -> None:
    tidied = tidy(text, PHONE_ZH, language)
    assert "\n" not in tidied
    form_problems(tidied, language, 140)


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


def test_the_prompt_is_short_and_holds_the_facts() -> None:
    prompt = build_prompt(PHONE_ZH, "zh", interests=["手机"])
    assert prompt.messages[-1]["role"] == "user" and prompt.stop == ("\n",)
    asked = prompt.messages[-1]["content"]
    assert "5000 mAh" in asked and "手机" in asked
    assert sum(len(message["content"]) for message in prompt.messages) < 500
    assert "读者" not in build_prompt(PHONE_ZH, "zh").messages[-1]["content"]
