"""Nothing sensitive gets out, by any way: people with every mixture of events, and all that is answered and written."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest

from functions.profile import handler as profile_handler
from functions.recommend import handler as recommend_handler
from shared.decision_log import export, key_of
from shared.domain import Consent, Decision, Profile
from shared.eligibility import Context
from shared.errors import Unprocessable
from shared.evidence import Evidence
from shared.feedback import FeedbackItem
from shared.generating import CopyRequest, Generating
from shared.generating.briefs import Briefs
from shared.interests import read_off
from shared.policy.rules import check
from shared.profile_answers import profile_body
from shared.stores import Stores
from shared.stores.copies import ANYONE
from shared.stores.delivery import BUCKET_SECONDS
from shared.wiring import System
from tests.conftest import TENANT
from tests.fakes.generation import ScriptedGenerator
from tests.fakes.models import TOPICS, TopicClassifier
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import ad, catalogue

HIDDEN = ("prayer", "pressure")  # topics whose categories are sensitive, whatever the domain
OPEN = ("phone", "watch", "course", "shoe", "hiking")
CONSENTS = (None, (True, False), (True, True))  # said: nothing; (personalisation, sensitive)
DOMAINS = ("ecommerce", "social", "education", "health", None)


@pytest.fixture
def system(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    built = FakeSystem(stores)
    shown = SimpleNamespace(versions={}, profiling=built.profiling, recommending=built.recommending)
    for handler in (profile_handler, recommend_handler):
        monkeypatch.setattr(handler, "system", lambda: shown)
    catalogue(
        built,
        *(ad(f"{topic}-{n}", topic) for topic in (*OPEN, "prayer") for n in range(2)),
        ad("check-up", "pressure", domain="health"),
        ad("aimed", "prayer", targeting={"interests": [TOPICS["prayer"]]}),
        ad("aimed-too", "phone", targeting={"interests": [TOPICS["pressure"], TOPICS["prayer"]]}),
    )
    return built


def events(rng: random.Random, system: FakeSystem, person: str) -> list[dict[str, Any]]:
    """A mixture; what is sensitive of it has `hidden` in the ids of its event and item."""
    rows = []
    for number in range(rng.randint(2, 12)):
        topic = rng.choice((*OPEN, *HIDDEN, *HIDDEN))
        domain = rng.choice(DOMAINS)
        hidden = topic in HIDDEN or domain == "health"
        mark = "hidden" if hidden else "open"
        row: dict[str, Any] = {
            "event_id": f"{person}-{mark}-{number}",
            "event": rng.choice(("view", "click", "cart", "purchase", "like", "enrol", "dismiss")),
            "timestamp": system.clock.now - rng.randint(60, 4000),
            "text": f"{topic} of a kind, {person} {number}",
        }
        if domain is not None:
            row["domain"] = domain
        if rng.random() < 0.4:
            row["item_id"] = f"{mark}-{topic}-{domain}-{rng.randint(0, 2)}"
        elif topic == "prayer" and domain != "health":
            row["item_id"] = f"prayer-{rng.randint(0, 1)}"  # an ad
        rows.append(row)
    return rows


def tell(system: FakeSystem, person: str, rows: list[dict[str, Any]], said: tuple[bool, bool] | None) -> None:
    if said is not None:
        system.profiling.set_consent(TENANT, person, Consent(*said, "form", system.clock.now - 5000))
    if rows:
        report = system.profiling.post_events(TENANT, [row | {"user_id": person} for row in rows])
        assert not report.rejected


def kept(rows: list[dict[str, Any]], said: tuple[bool, bool] | None) -> list[dict[str, Any]]:
    """What may count: nothing sensitive, but for the health domain's with consent to that."""
    healthy = said is not None and said[1]
    return [row for row in rows if "-open-" in row["event_id"] or (healthy and row.get("domain") == "health")]


def seen(profile: Profile, decision: Decision) -> Any:
    """All that depends on the person, without the ids of events, which are each person's own."""
    interests = [
        (one.id, one.term, one.weight, one.strength, one.sensitive, len(one.evidence)) for one in profile.interests
    ]
    slots = [(one.ad_id, one.score, one.reasons, one.copy) for one in decision.ads]
    return interests, profile.segments, [one.interest_id for one in profile.recent], slots


@pytest.mark.slow
def test_what_is_sensitive_makes_no_difference_to_anything(system: FakeSystem) -> None:
    """Beside each person stands one who did the same without what is sensitive: they are served alike."""
    rng = random.Random(7)
    differing = 0
    for number in range(18):
        said = CONSENTS[number % 3]
        rows = events(rng, system, f"p{number}")
        for row in rows:
            row["item_id"] = row.get("item_id", row["event_id"])  # or two events would be of one item for one of them
        whole, part = f"whole-{number}", f"part-{number}"
        tell(system, whole, rows, said)
        tell(system, part, kept(rows, said), said)
        differing += len(kept(rows, said)) < len(rows)
        context = Context(domain=rng.choice((None, "ecommerce", "health")))
        for one in (whole, part):  # both count as holders before either is asked about
            system.recommending.recommend(TENANT, one)
        answers = [
            seen(profile_of(system, one), system.recommending.recommend(TENANT, one, n=6, context=context))
            for one in (whole, part)
        ]
        assert answers[0] == answers[1], rows
    assert differing > 12  # the mixtures are such that there is something to hide


def profile_of(system: FakeSystem, name: str) -> Profile:
    if system.stores.people.uid(TENANT, name) is None:
        return Profile(name, (), (), 0.0)
    return system.profiling.profile(TENANT, name)[0]


@pytest.mark.slow  # the gate of copy loads its rules
def test_nothing_sensitive_gets_out(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    generator = ScriptedGenerator(["A phone for your day, with a bright screen."])
    generating = Generating(
        system.stores,
        lambda: system.encoder,
        TopicClassifier,
        system.profiles,
        check,
        generator=generator,
        k_floor=system.k_floor,
        clock=system.clock,
    )
    rng = random.Random(11)
    told, open_ids, sensitive_profiles = [], 0, 0
    for number in range(12):
        person, said = f"p{number}", CONSENTS[number % 3]
        tell(system, person, events(rng, system, person), said)
        profile, consent = system.profiling.profile(TENANT, person)
        whole = SimpleNamespace(versions={}, profiling=system.profiling)
        body = profile_body(cast("System", whole), profile, consent)
        shown = body["interests"]
        if said is not None and said[1]:  # who consented sees their own, of the health domain
            sensitive_profiles += any(one.sensitive for one in profile.interests)
            shown = [
                public for public, one in zip(body["interests"], profile.interests, strict=True) if not one.sensitive
            ]
        told += [shown, body["segments"]]
        for n, context in ((8, Context(domain="health")), (2, Context(domain="ecommerce", language="en"))):
            compared = system.recommending.compare(TENANT, person, n=n, context=context)
            answer = recommend_handler.decision_body(compared.decision)
            twin = recommend_handler.twin_body(compared)
            told += [one["reasons"] for one in (*answer["ads"], *twin["ads"])]
            told += [one["text"] for one in twin["difference"]["explained"]]
            open_ids += sum("interest_id" in reason for one in answer["ads"] for reason in one["reasons"])
            assert not {"aimed", "aimed-too"} & {one["ad_id"] for one in (*answer["ads"], *twin["ads"])}
            for one in compared.decision.ads[:2]:
                for kind in ("impression", "click"):
                    item = FeedbackItem(compared.decision.decision_id, one.ad_id, kind, system.clock.now)
                    system.recommending.feedback(TENANT, [item])
        if number % 3 == 2:  # who has something to hide most
            generating.copy(TENANT, CopyRequest(ad_id="phone-1", user_id=person))
        told.append([one["content"] for request in generator.requests for one in request.messages])
    with pytest.raises(Unprocessable, match="sensitive"):
        generating.copy(TENANT, CopyRequest(ad_id="phone-1", segment=TOPICS["prayer"]))
    said_so = orjson.dumps(told).decode()
    for secret in (*(TOPICS[topic] for topic in HIDDEN), "hidden", *HIDDEN):
        assert secret not in said_so, secret
    assert open_ids > 10 and len(generator.requests) >= 4 and sensitive_profiles >= 2  # there was something to tell
    holders = {row["sk"] for row in system.stores.table.query(f"t/{TENANT}/holders")}
    assert holders and not holders & {TOPICS[topic] for topic in HIDDEN}
    printed = capsys.readouterr()
    assert "hidden" not in printed.out + printed.err and TOPICS["prayer"] not in printed.out + printed.err
    in_the_log(system)


def in_the_log(system: FakeSystem) -> None:
    """A line that is about something sensitive names nobody; none names what nobody may know."""
    assert export(
        system.stores,
        consent_basis=system.profiles.consent_basis,
        now=system.clock.now,
        seconds=60,
        tenants=[TENANT],
        latest=True,
    )
    key = key_of(TENANT, int(system.clock.now // BUCKET_SECONDS))
    lines = [orjson.loads(line) for line in gzip.decompress(system.stores.objects.get(key)).splitlines()]
    known = [line for line in lines if line["person"] is not None]
    assert known and len(known) < len(lines)
    for line in lines:
        assert not set(line["segments"]) & {TOPICS[topic] for topic in HIDDEN}
        assert not any("hidden" in item for item in line["history"])
    for line in known:
        ads = {slot["ad_id"] for slot in line["slots"]}
        assert line["domain"] != "health" and not any(one.startswith(("prayer", "check-up")) for one in ads)


def test_a_course_about_a_faith_is_not_gone_on_with(system: FakeSystem) -> None:
    def course(topic: str, level: int) -> dict[str, Any]:
        facts = {"series": topic, "level": level}
        return ad(f"{topic}-level-{level}", topic, domain="education", attributes=facts)

    catalogue(system, *(course(topic, level) for topic in ("prayer", "course") for level in (1, 2)))
    for topic, user in (("prayer", "ann"), ("course", "bob")):
        for kind in ("enrol", "complete"):
            row = {"user_id": user, "event": kind, "timestamp": system.clock.now - 50, "item_id": f"{topic}-level-1"}
            assert system.profiling.post_events(TENANT, [row | {"domain": "education"}]).accepted == 1
    codes = {}
    for user in ("ann", "bob"):
        answer = system.recommending.recommend(TENANT, user, n=16)
        codes[user] = {one.ad_id: one.reasons[0].code for one in answer.ads}
    assert codes["bob"]["course-level-2"] == "next_step"
    assert set(codes["ann"].values()) == {"general"}
    stranger = system.recommending.recommend(TENANT, "nobody", n=16)
    answer = system.recommending.recommend(TENANT, "ann", n=16)
    assert [(one.ad_id, one.score) for one in answer.ads] == [(one.ad_id, one.score) for one in stranger.ads]


def test_a_book_about_a_faith_counts_for_no_interest_in_books() -> None:
    """By its company it would: a cluster is named by its middle."""
    phone, prayer = (list(TOPICS).index(topic) for topic in ("phone", "prayer"))
    vectors, state = {}, {}
    for number in range(5):
        vector = np.zeros(384, dtype=np.float32)
        vector[phone], vector[prayer] = (0.65, 0.76) if number == 4 else (1.0, 0.01 * number)
        key = f"i/{number}"
        vectors[key] = vector / np.linalg.norm(vector)
        one = Evidence(key, "ecommerce", 1.0, 1.0, 100.0 + number, ((100.0 + number, f"e{number}"),))
        state[one.place] = one
    classifiers = {"adproduct": TopicClassifier(), "content": TopicClassifier()}
    interests, recent = read_off(state, vectors, classifiers, now=200.0, sensitive_allowed=True)  # type: ignore[arg-type]
    assert {one.id for one in interests} == {TOPICS["phone"]}
    assert {event for one in interests for event in one.evidence} == {"e0", "e1", "e2", "e3"}
    assert {one.item_id for one in recent} == {"0", "1", "2", "3"}


def test_a_profile_from_before_the_list_grew_counts_as_the_list_is_now(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"user_id": "ann", "event": "view", "timestamp": system.clock.now - 60, "text": "a phone"}
    assert system.profiling.post_events(TENANT, [row]).accepted == 1
    profile, consent, person = system.profiles.read(TENANT, "ann", system.stores.people.uid(TENANT, "ann"))
    before = tuple(replace(one, id=TOPICS["prayer"], categories={}) for one in profile.interests)
    monkeypatch.setattr(
        system.profiles,
        "read",
        lambda *_: (replace(profile, interests=before, segments=(TOPICS["prayer"],)), consent, person),
    )
    answer = system.recommending.recommend(TENANT, "ann", n=4)
    assert not answer.personalised and {one.reasons[0].code for one in answer.ads} == {"general"}
    brief = Briefs(system.stores, system.profiles, k_floor=0).of(TENANT, CopyRequest(ad_id="phone-1", user_id="ann"))
    assert brief.audience == () and brief.segments == (ANYONE,)
