"""People linked across platforms: one person while they are linked, exactly who they were once they are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.profile import handler as profile
from shared.domain import Ad, Consent, Profile
from shared.errors import NotFound, Unprocessable
from shared.feedback import FeedbackItem
from shared.generating.briefs import Briefs
from shared.generating.requests import CopyRequest
from shared.profiling import Links, NamedId
from shared.stores import Stores, linking
from shared.stores.delivery import RESERVATION_SECONDS
from shared.stores.people import People, group_key
from shared.stores.person import Person
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem
from tests.unit.test_api import event, post
from tests.unit.test_recommending import act, ad, catalogue, feedback, ids

pytestmark = pytest.mark.slow

WATCH, PHONE = TOPICS["watch"], TOPICS["phone"]


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


def change(system: FakeSystem, user: str, *, link: str = "", unlink: str = "") -> Links:
    """Links and unlinks ids that are named apart by spaces."""
    given, taken = ([NamedId(one) for one in some.split()] for some in (link, unlink))
    return system.profiling.identities(TENANT, user, link=given, unlink=taken)


def results(links: Links) -> dict[str, str]:
    return {one.id: result for one, result in links.changes}


def shown(system: FakeSystem, user: str) -> Profile:
    return system.profiling.profile(TENANT, user)[0]


def long(profile: Profile) -> set[str]:
    return {interest.id for interest in profile.interests if interest.term == "long"}


def say(system: FakeSystem, user: str, personalisation: bool, sensitive: bool = False) -> Consent:
    system.clock.now += 1  # of two statements of one moment the refusal would hold
    said = Consent(personalisation, sensitive, f"{user}'s banner", system.clock.now)
    return system.profiling.set_consent(TENANT, user, said)


def uid_of(system: FakeSystem, user: str) -> str:
    uid = system.stores.people.uid(TENANT, user)
    assert uid is not None
    return uid


# One person ---------------------------------------------------------------------------------------------------------


def test_linked_ids_are_one_person_and_unlinked_ones_who_they_were(system: FakeSystem) -> None:
    act(system, "ann", "purchase", "watch of steel", event_id="same")
    act(system, "o123", "purchase", "phone of glass", event_id="same")
    before = shown(system, "ann"), shown(system, "o123")
    links = change(system, "ann", link="o123")
    assert results(links) == {"o123": "linked"}
    assert [links.named[one.ref] for one in links.linked] == ["o123"]
    both = shown(system, "ann")
    assert (long(both), both.events) == ({WATCH, PHONE}, 2)
    assert both.interests[0].evidence == ("same",)  # an event's own id, whosever it is
    assert shown(system, "o123").interests == both.interests
    act(system, "o123", "purchase", "shoe of leather")
    assert shown(system, "ann").events == 3
    assert results(change(system, "ann", unlink="o123")) == {"o123": "unlinked"}
    assert shown(system, "ann").interests == before[0].interests
    assert long(shown(system, "o123")) == {PHONE, TOPICS["shoe"]}
    assert change(system, "ann").linked == ()


def test_a_chain_of_links_is_one_person_and_holds_an_interest_once(system: FakeSystem) -> None:
    for user in "abcd":
        act(system, user, "purchase", "watch of steel")
        shown(system, user)
    people = system.stores.people
    assert people.interest_holders(TENANT, WATCH) == 4
    change(system, "a", link="b")
    assert people.interest_holders(TENANT, WATCH) == 3
    change(system, "c", link="d")
    assert people.interest_holders(TENANT, WATCH) == 2
    assert len(change(system, "d", link="a").linked) == 3
    assert people.interest_holders(TENANT, WATCH) == 1
    assert [shown(system, user).events for user in "abcd"] == [4] * 4
    change(system, "b", unlink="c")
    assert people.interest_holders(TENANT, WATCH) == 2
    assert [shown(system, user).events for user in "abcd"] == [3, 3, 1, 3]
    change(system, "a", unlink="a")
    assert people.interest_holders(TENANT, WATCH) == 3
    change(system, "b", unlink="d")
    assert people.interest_holders(TENANT, WATCH) == 4
    assert [shown(system, user).events for user in "abcd"] == [1] * 4


def test_what_changes_nothing_says_so(system: FakeSystem) -> None:
    act(system, "ann", "view", "watch")
    assert results(change(system, "ann", link="ann")) == {"ann": "same"}
    assert results(change(system, "ann", unlink="bob ann")) == {"bob": "not_linked", "ann": "not_linked"}
    assert system.stores.people.uid(TENANT, "bob") is None  # nobody is made by being unlinked
    change(system, "ann", link="bob")
    act(system, "eve", "view", "watch")
    group = system.stores.people.load(TENANT, uid_of(system, "ann"), "").group
    assert results(change(system, "bob", link="ann bob", unlink="eve")) == {
        "ann": "already_linked",
        "bob": "same",
        "eve": "not_linked",
    }
    assert system.stores.people.load(TENANT, uid_of(system, "ann"), "").group == group
    with pytest.raises(NotFound):
        change(system, "nobody", unlink="ann")
    with pytest.raises(Unprocessable, match="different ids"):
        change(system, "ann", link="x", unlink="x")


def test_what_comes_along_with_a_link_can_be_unlinked_with_it(system: FakeSystem) -> None:
    change(system, "b", link="c")
    assert results(change(system, "a", link="b", unlink="c")) == {"b": "linked", "c": "unlinked"}
    assert len(change(system, "a").linked) == 1
    # Who unlinks themselves leaves their links, and takes the new one.
    assert results(change(system, "a", link="d", unlink="a")) == {"d": "linked", "a": "unlinked"}
    assert (len(change(system, "a").linked), change(system, "b").linked) == (1, ())


def test_a_person_has_so_many_ids_at_most(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    assert linking.MOST_LINKED == 20
    monkeypatch.setattr(linking, "MOST_LINKED", 5)
    change(system, "a", link="a0 a1")
    change(system, "b", link="b0")
    with pytest.raises(Unprocessable, match=r"6 ids .*limit is 5") as refused:
        change(system, "a", link="c b")
    assert refused.value.field == "link"
    assert len(change(system, "a").linked) == 2  # nothing of it was done
    assert len(change(system, "a1", link="b0").linked) == 4
    assert results(change(system, "b", link="a0")) == {"a0": "already_linked"}
    assert len(change(system, "b0", link="new", unlink="a1").linked) == 4


def test_too_many_is_said_before_anything_is_unlinked(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "MOST_LINKED", 4)
    change(system, "a", link="a0 a1 a2")
    change(system, "b", link="b0 b1")
    for link, unlink, number in (
        ("b", "a0 a1", 5),
        ("new new2", "a0", 5),
        ("a0 b b0", "a1 a", 6),
        ("a0 b b0", "a a1", 7),  # a1 stays with those whom a has left
        ("b", "a0 b1 a1", 5),
    ):
        with pytest.raises(Unprocessable, match=rf"{number} ids .*limit is 4"):
            change(system, "a", link=link, unlink=unlink)
        assert (len(change(system, "a").linked), len(change(system, "b").linked)) == (3, 2)
    assert len(change(system, "a", link="b", unlink="a0 a1 a2").linked) == 3
    # Who leaves takes nobody along.
    assert len(change(system, "b1", link="a0 a1", unlink="b1").linked) == 2


def test_a_repeat_counts_those_whom_a_crash_left_uncounted(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("ann", "bob", "eve"):
        act(system, user, "purchase", "watch of steel")
    change(system, "ann", link="bob eve")

    def crash(*rest: Any) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(system.profiles), "read", crash)
        with pytest.raises(OSError, match="gone"):
            change(system, "ann", unlink="bob")
    assert system.stores.people.interest_holders(TENANT, WATCH) == 0
    assert results(change(system, "ann", unlink="bob")) == {"bob": "not_linked"}
    assert system.stores.people.interest_holders(TENANT, WATCH) == 2


# Consent and edits --------------------------------------------------------------------------------------------------


def test_a_refusal_through_any_id_wins_for_the_person(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"), ad("p1", "phone"))
    act(system, "ann", "purchase", "watch of steel")
    change(system, "ann", link="o123")
    assert system.recommending.recommend(TENANT, "o123").personalised
    decision = system.recommending.recommend(TENANT, "ann")
    assert not say(system, "o123", False).personalisation
    consent = system.profiling.profile(TENANT, "ann")[1]
    assert (consent.personalisation, consent.source) == (False, "o123's banner")
    assert shown(system, "ann").interests == ()
    assert system.stores.people.interest_holders(TENANT, WATCH) == 0
    answer = system.recommending.recommend(TENANT, "ann")
    assert (answer.personalised, answer.uid) == (False, None)
    assert feedback(system, decision, "w1", "click") == "counted"
    assert not system.stores.delivery.impressions(TENANT, uid_of(system, "ann"))
    row = {"user_id": "ann", "event": "view", "timestamp": system.clock.now, "text": "phone"}
    assert system.profiling.post_events(TENANT, [row]).rejected[0].reason == "the person refused personalisation"
    # A consent through another id does not undo it; one through the same does.
    assert not say(system, "ann", True).personalisation
    change(system, "ann", unlink="o123")
    assert (long(shown(system, "ann")), shown(system, "ann").events) == ({WATCH}, 1)
    assert not shown(system, "o123").interests
    change(system, "ann", link="o123")
    assert shown(system, "ann").interests == ()
    assert say(system, "o123", True).personalisation
    assert long(shown(system, "ann")) == {WATCH}


def test_sensitive_interests_need_every_word_that_was_said(system: FakeSystem) -> None:
    say(system, "ann", True, sensitive=True)
    act(system, "ann", "consult", "pressure is high in the morning", domain="health")
    change(system, "ann", link="o123")
    assert shown(system, "o123").interests[0].sensitive  # o123 has said nothing
    assert not say(system, "o123", True).sensitive
    assert shown(system, "ann").interests == ()
    assert say(system, "o123", True, sensitive=True).sensitive
    assert shown(system, "ann").interests


def sent(system: FakeSystem, user: str, **fields: Any) -> None:
    row = {"user_id": user, "event": "purchase", "timestamp": system.clock.now - 60, **fields}
    assert system.profiling.post_events(TENANT, [row]).accepted == 1


def sensitive(system: FakeSystem, user: str) -> list[set[str]]:
    """Event ids of each sensitive long-term interest."""
    found = [one for one in shown(system, user).interests if one.term == "long" and one.sensitive]
    assert not system.stores.people.interest_holders(TENANT, TOPICS["pressure"])
    return [set(one.evidence) for one in found]


@pytest.mark.parametrize(
    ("topic", "named", "known_before"),
    [("shoe", {}, True), ("shoe", {}, False), ("pressure", {}, True), ("pressure", {"domain": "health"}, False)],
)
def test_health_items_are_health_whether_or_not_an_event_says_so(
    system: FakeSystem, topic: str, named: dict[str, str], known_before: bool
) -> None:
    """Also one that is about shoes: what counts is the domain, not the category alone."""
    ads = ad("h1", topic, domain="health"), ad("w1", "watch"), ad("s1", "shoe")
    for user in ("ann", "bob"):  # as many as make a segment
        if not known_before:
            sent(system, user, item_id="h1", event_id="one", **named)
    catalogue(system, *ads)
    for user in ("ann", "bob"):
        if known_before:
            sent(system, user, item_id="h1", event_id="one", **named)
        seen = shown(system, user)
        assert (seen.interests, seen.segments, seen.acquired, seen.events) == ((), (), (), 1)
    assert not system.stores.people.interest_holders(TENANT, TOPICS[topic])
    answer = system.recommending.recommend(TENANT, "ann", n=3)
    assert {reason.code for one in answer.ads for reason in one.reasons} == {"general"}
    say(system, "ann", True, sensitive=True)
    assert sensitive(system, "ann") == [{"one"}]
    assert not system.stores.people.interest_holders(TENANT, TOPICS[topic])
    say(system, "ann", True)
    assert shown(system, "ann").interests == ()


def test_an_item_that_is_no_ad_has_the_domain_that_it_came_with(system: FakeSystem) -> None:
    sent(system, "eve", item_id="page", text="shoe for sore feet", domain="health")
    sent(system, "ann", item_id="page")
    assert shown(system, "ann").interests == ()
    say(system, "ann", True, sensitive=True)
    assert len(sensitive(system, "ann")) == 1


def test_what_is_kept_of_a_silent_id_makes_no_sensitive_interest(system: FakeSystem) -> None:
    catalogue(system, ad("h1", "pressure", domain="health"))
    say(system, "ann", True, sensitive=True)
    for user in ("ann", "bob"):
        sent(system, user, text="pressure is high", domain="health", event_id=f"{user}-text")
        sent(system, user, item_id="h1", event_id=f"{user}-ad")
        sent(system, user, item_id="h1", domain="health", event_id=f"{user}-named")
    own = {f"ann-{one}" for one in ("text", "ad", "named")}
    assert (sensitive(system, "ann"), shown(system, "bob").interests) == ([own], ())
    change(system, "ann", link="bob")
    assert sensitive(system, "ann") == sensitive(system, "bob") == [own]
    assert system.profiling.profile(TENANT, "bob")[1].sensitive and shown(system, "bob").events == 6
    sent(system, "bob", item_id="h1", event_id="later")
    assert sensitive(system, "ann") == [own]
    say(system, "bob", True, sensitive=True)
    theirs = {"later", *(one.replace("ann", "bob") for one in own)}
    assert sensitive(system, "ann") == [own | theirs]
    say(system, "bob", True)
    assert sensitive(system, "ann") == []
    change(system, "ann", unlink="bob")
    assert (sensitive(system, "ann"), shown(system, "bob").interests) == ([own], ())


def test_where_consent_is_required_only_ids_with_their_own_count(stores: Stores) -> None:
    asserted, required = FakeSystem(stores), FakeSystem(stores, consent_basis="required")
    for user in ("ann", "bob"):
        act(asserted, user, "purchase", f"{'watch' if user == 'ann' else 'phone'} of steel")
    change(asserted, "ann", link="bob")
    assert shown(asserted, "ann").events == 2
    with pytest.raises(Unprocessable, match="must be asked first") as refused:
        change(required, "ann", link="new")
    assert refused.value.field == "user_id"
    say(required, "ann", True)
    assert (shown(required, "bob").events, long(shown(required, "bob"))) == (1, {WATCH})
    with pytest.raises(Unprocessable, match="'new' must be asked first") as refused:
        change(required, "ann", link="new")
    assert refused.value.field == "link"
    assert stores.people.uid(TENANT, "new") is None  # not even a pseudonym
    row = {"user_id": "bob", "event": "view", "timestamp": required.clock.now, "text": "phone"}
    assert "not consented" in required.profiling.post_events(TENANT, [row]).rejected[0].reason
    say(required, "bob", True)
    assert shown(required, "ann").events == 2
    assert required.profiling.post_events(TENANT, [row]).accepted == 1
    assert (shown(required, "ann").events, shown(asserted, "ann").events) == (3, 3)


def test_edits_hold_for_all_ids_at_once_and_stay_with_the_id_they_came_through(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"), ad("w1", "watch"), ad("s1", "shoe"))
    for user in ("ann", "o123"):
        act(system, user, "purchase", "watch of steel")
    system.profiling.edit_interests(TENANT, "o123", disable=[WATCH], enable=[])
    change(system, "ann", link="o123")
    assert not any(interest.enabled for interest in shown(system, "ann").interests)
    assert not system.recommending.recommend(TENANT, "ann").personalised
    system.profiling.edit_interests(TENANT, "ann", disable=[PHONE], enable=[WATCH])
    assert system.recommending.recommend(TENANT, "o123").personalised
    system.profiling.edit_interests(TENANT, "ann", disable=[WATCH], enable=[])
    assert not system.recommending.recommend(TENANT, "o123").personalised
    change(system, "ann", unlink="o123")
    assert not system.recommending.recommend(TENANT, "ann").personalised
    assert system.recommending.recommend(TENANT, "o123").personalised
    load = system.stores.people.load
    assert load(TENANT, uid_of(system, "ann"), "").disabled == {PHONE, WATCH}
    assert load(TENANT, uid_of(system, "o123"), "").disabled == frozenset()


def test_an_edit_through_any_id_is_in_the_next_copy(system: FakeSystem) -> None:
    briefs = Briefs(system.stores, system.profiles, k_floor=1)
    wanted = CopyRequest(ad=Ad("x", "a watch", "https://example.com/", "en", "ecommerce"), user_id="ann")
    act(system, "o123", "purchase", "watch of steel")
    act(system, "ann", "view", "nothing of note")
    change(system, "ann", link="o123")
    assert briefs.of(TENANT, wanted).audience == (f"en {WATCH}",)
    system.profiling.edit_interests(TENANT, "o123", disable=[WATCH], enable=[])
    assert briefs.of(TENANT, wanted).audience == ()
    system.profiling.edit_interests(TENANT, "ann", disable=[], enable=[WATCH])
    assert briefs.of(TENANT, wanted).audience == (f"en {WATCH}",)


# Delivery -----------------------------------------------------------------------------------------------------------


def test_caps_acquired_items_and_feedback_hold_across_ids(system: FakeSystem) -> None:
    catalogue(
        system,
        ad("c", "phone", frequency_cap={"count": 2, "hours": 1}),
        ad("d", "watch"),
        ad("bought", "phone"),
    )
    act(system, "ann", "view", "phone")
    act(system, "o123", "view", "phone")
    assert system.profiling.post_events(
        TENANT, [{"user_id": "o123", "event": "purchase", "timestamp": system.clock.now - 9, "item_id": "bought"}]
    ).accepted
    for user in ("ann", "o123"):
        answer = system.recommending.recommend(TENANT, user, n=3)
        assert feedback(system, answer, "c", "impression") == "counted"
    assert {"c", "bought"} <= set(ids(system.recommending.recommend(TENANT, "ann", n=3)))
    change(system, "ann", link="o123")
    for user in ("ann", "o123"):
        assert ids(system.recommending.recommend(TENANT, user, n=3)) == ["d"]
    answer = system.recommending.recommend(TENANT, "ann", n=1)
    item = FeedbackItem(answer.decision_id, "d", "click", system.clock.now)
    assert system.recommending.feedback(TENANT, [item])[0]["result"] == "counted"
    assert WATCH in {interest.id for interest in shown(system, "o123").interests}
    change(system, "ann", unlink="o123")
    system.clock.now += RESERVATION_SECONDS + 1  # what was shown above, and never seen, counts no more
    assert {"c", "bought"} <= set(ids(system.recommending.recommend(TENANT, "ann", n=3)))
    assert "bought" not in ids(system.recommending.recommend(TENANT, "o123", n=3))
    assert WATCH not in {interest.id for interest in shown(system, "o123").interests}


def test_segments_count_a_linked_person_once(system: FakeSystem) -> None:
    for user in ("ann", "o123"):
        act(system, user, "purchase", "watch of steel")
        shown(system, user)
    assert shown(system, "ann").segments == (WATCH,)
    change(system, "ann", link="o123")
    assert shown(system, "ann").segments == ()
    act(system, "bob", "purchase", "watch of gold")
    shown(system, "bob")
    assert shown(system, "o123").segments == (WATCH,)


# Rows ---------------------------------------------------------------------------------------------------------------


def wire_rows(aws: Aws) -> list[dict[str, Any]]:
    pages = aws.dynamodb.get_paginator("scan").paginate(TableName=aws.table)
    return [item for page in pages for item in page["Items"]]


def test_no_external_id_is_kept_and_groups_leave_nothing_behind(system: FakeSystem, aws: Aws) -> None:
    for user in ("ann-outside", "o123-outside", "bob-outside"):
        act(system, user, "purchase", "watch of steel")
        shown(system, user)
    change(system, "ann-outside", link="o123-outside bob-outside")
    rows = wire_rows(aws)
    assert "-outside" not in repr(rows)
    groups = [row for row in rows if row["pk"]["S"].startswith(group_key(TENANT, ""))]
    assert sorted(row["sk"]["S"] for row in groups) == ["meta", "profile", "state"]
    for user in ("o123-outside", "bob-outside"):
        change(system, "ann-outside", unlink=user)
    assert not [row for row in wire_rows(aws) if row["pk"]["S"].startswith(group_key(TENANT, ""))]


@contextmanager
def batches(stores: Stores) -> Iterator[list[int]]:
    """Numbers of the keys of each batch that is read."""
    read: list[int] = []
    client = stores.table.client
    real = client.batch_get_item

    def counted(**arguments: Any) -> Any:
        read.append(sum(len(one["Keys"]) for one in arguments["RequestItems"].values()))
        return real(**arguments)

    client.batch_get_item = counted
    try:
        yield read
    finally:
        client.batch_get_item = real


def test_who_is_linked_takes_one_read_more(system: FakeSystem) -> None:
    act(system, "ann", "view", "watch")
    people, uid = system.stores.people, uid_of(system, "ann")
    with batches(system.stores) as read:
        people.load(TENANT, uid, "ann")
        people.consents(TENANT, [uid])
    assert read == [2, 1]
    change(system, "ann", link="b c")
    with batches(system.stores) as read:
        people.load(TENANT, uid, "ann")
        people.consents(TENANT, [uid])
    assert read == [2, 4, 1, 2]


def test_a_rebuild_makes_linked_ids_anew_once(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("ann", "bob", "eve"):
        act(system, user, "purchase", "watch of steel")
    change(system, "ann", link="bob")
    before = shown(system, "ann")
    saved: list[str] = []
    save = People.save_profile

    def noted(people: People, tenant: str, person: Person, *rest: Any) -> bool:
        saved.append(person.group)
        return save(people, tenant, person, *rest)

    monkeypatch.setattr(People, "save_profile", noted)
    for user in ("ann", "bob", "eve"):
        system.profiles.rebuild(TENANT, uid_of(system, user))
    assert len(saved) == 2 and Counter(map(bool, saved)) == {True: 1, False: 1}
    after = shown(system, "bob")
    assert (after.interests, after.events) == (before.interests, 2)


def test_who_folds_while_links_change_saves_nothing(system: FakeSystem) -> None:
    for user in ("ann", "bob"):
        act(system, user, "purchase", "watch of steel")
    people = system.stores.people
    profile = shown(system, "bob")
    alone = [people.load(TENANT, uid_of(system, user), user) for user in ("ann", "bob")]
    assert [one.profile is None for one in alone] == [True, False]
    change(system, "ann", link="bob")
    together = people.load(TENANT, uid_of(system, "ann"), "ann")
    for one in alone:
        assert not people.save_profile(TENANT, one, profile, b"", 1)
    change(system, "ann", unlink="bob")
    assert not people.save_profile(TENANT, together, profile, b"", {})
    again = people.load(TENANT, uid_of(system, "ann"), "ann")
    change(system, "ann", link="bob")
    change(system, "ann", unlink="bob")
    assert not people.save_profile(TENANT, again, profile, b"", 1)
    assert people.interest_holders(TENANT, WATCH) == 2


# The route ----------------------------------------------------------------------------------------------------------


def put(path: str, body: Any) -> Any:
    return post(profile.app, path, body, method="PUT")


def test_the_route_names_what_the_request_named_and_all_by_reference(built: System) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    path = "/v1/users/ann/identities"
    linked = put(path, {"link": [{"platform": "wechat", "id": " o123 "}, {"id": "b"}], "unlink": [{"id": "x"}]})
    assert linked.status_code == 200, linked.text
    body = linked.json()
    assert (body["user_id"], body["count"], len(body["ref"])) == ("ann", 3, 12)
    assert {(one["platform"], one["id"]) for one in body["linked"]} == {("wechat", "o123"), (None, "b")}
    assert body["changes"] == [
        {"platform": "wechat", "id": "o123", "result": "linked"},
        {"platform": None, "id": "b", "result": "linked"},
        {"platform": None, "id": "x", "result": "not_linked"},
    ]
    assert body["versions"]
    refs = {one["ref"] for one in body["linked"]}
    later = put("/v1/users/b/identities", {"link": [{"platform": "shop", "id": "ann"}]}).json()
    assert later["ref"] in refs
    assert {one.get("id"): one["platform"] for one in later["linked"]} == {"ann": "shop", None: "wechat"}
    profiles = [post(profile.app, f"/v1/users/{user}/profile", b"", method="GET").json() for user in ("ann", "o123")]
    assert [one["user_id"] for one in profiles] == ["ann", "o123"]
    assert profiles[0]["interests"] == profiles[1]["interests"] and profiles[0]["interests"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"link": [{"platform": "web"}]}, "link.0.id"),
        ({"link": [{"id": ""}]}, "link.0.id"),
        ({"link": [{"id": "a\u200bb"}]}, "link.0.id"),
        ({"link": [{"id": "a", "platform": "\x00"}]}, "link.0.platform"),
        ({"unlink": [{"id": f"a{n}"} for n in range(21)]}, "unlink"),
        ({"link": [{"id": "a"}], "unlink": [{"id": "a"}]}, "unlink"),
        ({"link": "a"}, "link"),
    ],
)
def test_what_cannot_be_linked_is_a_problem_that_names_the_field(built: System, body: Any, field: str) -> None:
    answer = put("/v1/users/ann/identities", json.dumps(body))
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_nobody_known_is_a_404(built: System) -> None:
    assert put("/v1/users/ann/identities", {}).status_code == 404
