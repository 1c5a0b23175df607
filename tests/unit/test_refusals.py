"""Refusals against what happens at the same moment, before them and after an erasure: nothing outlives one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.domain import Consent
from shared.erasing import KEPT, Erasing, receipt
from shared.policy.consent import in_force
from shared.profiles import ProfileReader
from shared.profiling import NamedId
from shared.stores import Stores
from shared.stores.answers import Answers
from shared.stores.erasures import Erasures
from shared.stores.identities import BEFORE_ERASURE, TOMBSTONE_DAYS, Known
from shared.stores.people import People, person_key
from shared.stores.table import Row, Table
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_decision_log import written
from tests.unit.test_recommending import act, ad, catalogue

pytestmark = pytest.mark.slow

BASES = pytest.mark.parametrize("basis", ["asserted", "required"])
KINDS = pytest.mark.parametrize("minor", [False, True], ids=["refused", "minor"])
PHONE = "adproduct:1118"


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return with_erasing(FakeSystem(stores))


def with_erasing(system: FakeSystem) -> FakeSystem:
    system.profiling._on_withdrawal = erasing(system).withdraw
    return system


def erasing(system: FakeSystem) -> Erasing:
    return Erasing(system.stores, clock=system.clock, delay_seconds=0.0)


def erase(system: FakeSystem, user: str = "ann") -> None:
    """From the request to the second scan; then a second goes by."""
    begun = erasing(system).erase(TENANT, user)
    erasing(system).go_on(TENANT, begun.erasure_id)
    assert receipt(erasing(system).get(TENANT, begun.erasure_id))["state"] == "done"
    system.clock.now += 1


def say(
    system: FakeSystem,
    yes: bool,
    *,
    user: str = "ann",
    sensitive: bool = False,
    minor: bool | None = None,
    at: float | None = None,
) -> Consent:
    """A second after whatever was said before."""
    system.clock.now += 1
    said = Consent(yes, sensitive, "banner", system.clock.now if at is None else at)
    return system.profiling.set_consent(TENANT, user, said, minor=minor)


def refuse(system: FakeSystem, minor: bool, user: str = "ann") -> Consent:
    return say(system, minor, user=user, minor=minor or None)


def partition(system: FakeSystem, user: str = "ann") -> dict[str, Row]:
    uid = system.stores.people.uid(TENANT, user)
    return {row["sk"]: row for row in system.stores.table.query(person_key(TENANT, uid))} if uid is not None else {}


def mapping(system: FakeSystem, user: str = "ann") -> Row:
    row = system.stores.table.get(f"t/{TENANT}/id/{system.stores.people.digest(TENANT, user)}", "id")
    assert row is not None
    return row


def once_before(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, act_first: Callable[[], object]) -> None:
    """Has something happen right before the next call of a method."""
    real = getattr(where, name)

    def called(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(where, name, real)
        act_first()
        return real(*arguments, **named)

    monkeypatch.setattr(where, name, called)


# At the same moment --------------------------------------------------------------------------------------------------


@BASES
@KINDS
def test_who_is_folding_what_they_read_before_a_refusal_saves_nothing(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, basis: str, minor: bool
) -> None:
    system.consent_basis = basis
    say(system, True)
    act(system, "ann", "view", "a phone")
    once_before(monkeypatch, People, "save_profile", lambda: refuse(system, minor))
    profile, consent = system.profiling.profile(TENANT, "ann")  # the first: there is no profile yet
    assert (profile.interests, consent.personalisation) == ((), False)
    kept = partition(system)
    assert (kept["profile"]["interests"], kept["state"]["state"]) == (b"[]", b"")
    assert system.stores.people.interest_holders(TENANT, PHONE) == 0


def test_a_refusal_of_somebody_without_a_profile_is_written_down_once(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> bool:
        raise AssertionError("nothing is to be taken away")

    refuse(system, minor=False)
    monkeypatch.setattr(People, "save_profile", never)
    for _ in range(2):
        assert system.profiling.profile(TENANT, "ann")[0].interests == ()
    system.consent_basis = "required"
    silent = system.stores.people.uids(TENANT, ["bob"])["bob"]
    assert system.profiles.read(TENANT, "bob", silent)[0].interests == ()


def test_consent_that_comes_between_a_refusal_and_its_withdrawal_brings_nothing_back(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.consent_basis = "required"
    catalogue(system, ad("p1", "phone"))
    say(system, True)
    act(system, "ann", "view", "", item_id="p1")
    assert system.profiling.profile(TENANT, "ann")[0].interests
    once_before(monkeypatch, system.profiling, "_withdraw", lambda: say(system, True))
    say(system, False)
    assert not [sk for sk in partition(system) if sk.startswith("e/")]
    profile, consent = system.profiling.profile(TENANT, "ann")
    assert consent.personalisation and (profile.events, profile.interests, profile.recent) == (0, (), ())


def test_interests_that_are_switched_off_go_with_a_required_consent(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.consent_basis = "required"
    say(system, True)
    system.profiling.edit_interests(TENANT, "ann", disable=[PHONE], enable=[])
    assert partition(system)["meta"]["disabled"] == [PHONE]
    refuse(system, minor=False)
    assert "disabled" not in partition(system)["meta"]
    say(system, True)
    once_before(monkeypatch, People, "edit_interests", lambda: refuse(system, minor=False))
    system.profiling.edit_interests(TENANT, "ann", disable=[PHONE], enable=[])
    assert "disabled" not in partition(system)["meta"]


# What was there before -----------------------------------------------------------------------------------------------


def stored_sensitive(system: FakeSystem) -> bool:
    return b'"sensitive":true' in partition(system)["profile"]["interests"]


def with_sensitive_interests(system: FakeSystem) -> None:
    say(system, True, sensitive=True)
    act(system, "ann", "consult", "blood pressure is high", domain="health")
    assert any(one.sensitive for one in system.profiling.profile(TENANT, "ann")[0].interests)
    assert stored_sensitive(system)


def test_stored_sensitive_interests_go_when_they_are_no_longer_allowed(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sensitive_interests(system)
    say(system, True)
    assert not stored_sensitive(system)
    with_sensitive_interests(system)

    def cut_off() -> None:
        raise ConnectionError

    once_before(monkeypatch, ProfileReader, "read", cut_off)
    at = system.clock.now + 1
    with pytest.raises(ConnectionError):
        say(system, True, at=at)
    assert stored_sensitive(system)
    say(system, True, at=at)  # the repeat
    assert not stored_sensitive(system)


def test_stored_sensitive_interests_go_when_a_linked_id_does_not_allow_them(system: FakeSystem) -> None:
    with_sensitive_interests(system)
    system.profiling.identities(TENANT, "ann", link=[NamedId("bob")])
    uid = system.stores.people.uid(TENANT, "ann") or ""

    def stored() -> list[bool]:
        profile = system.stores.people.load(TENANT, uid, "").profile
        return [one.sensitive for one in profile.interests] if profile is not None else []

    assert any(stored())
    say(system, True, user="bob")
    assert not any(stored())


@BASES
@KINDS
def test_an_answer_that_was_kept_is_not_told_again(system: FakeSystem, basis: str, minor: bool) -> None:
    system.consent_basis = basis
    answers = Answers(system.stores.table, system.stores.people, consent_basis=lambda tenant: system.consent_basis)
    say(system, True)
    assert answers.keep(TENANT, "ann", "name", b"of ann", now=system.clock.now, seconds=600)
    assert answers.find(TENANT, "ann", "name", now=system.clock.now) == b"of ann"
    system.profiling._on_withdrawal = lambda tenant, uid: None  # it has not got there yet
    refuse(system, minor)
    assert answers.find(TENANT, "ann", "name", now=system.clock.now) is None


def test_where_a_tenant_comes_to_need_consent_the_log_names_nobody_without(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"))
    for user in ("ann", "bob"):
        act(system, user, "view", "a phone", item_id="seen")
    say(system, True, user="bob")
    uids = {system.recommending.recommend(TENANT, user, n=1).uid for user in ("ann", "bob")}
    assert {line["person"] for line in written(system)} == uids and None not in uids
    system.consent_basis = "required"
    lines = {line["person"]: line for line in written(system)}
    assert set(lines) == {None, system.stores.people.uid(TENANT, "bob")}
    assert (lines[None]["history"], lines[None]["segments"]) == ([], [])


def test_who_refuses_personalisation_allows_no_sensitive_interests() -> None:
    for basis in ("asserted", "required"):
        assert in_force(Consent(False, True, "banner", 0.0), basis).sensitive is False
        assert in_force(Consent(True, True, "banner", 0.0), basis).sensitive is True


# After an erasure ----------------------------------------------------------------------------------------------------


@BASES
def test_a_consent_from_before_an_erasure_is_not_taken(system: FakeSystem, basis: str) -> None:
    system.consent_basis = basis
    say(system, True, sensitive=True)
    before = system.clock.now
    erase(system)
    for _ in range(2):  # of nobody, and then of somebody who has said something since
        stated = system.profiling.set_consent(TENANT, "ann", Consent(True, True, "banner", before), minor=False)
        assert (stated.superseded, stated.sensitive) == (True, False)
        assert f"c/{before:016.3f}" not in {sk[:18] for sk in partition(system)}
        assert stated.personalisation is (basis == "asserted" or bool(partition(system)))
        say(system, True)
    refused = system.profiling.set_consent(TENANT, "ann", Consent(False, False, "phone", before))
    assert refused.superseded and refused.personalisation  # it is kept, and what was said since holds


@KINDS
def test_a_refusal_from_before_an_erasure_holds_though_it_comes_later(system: FakeSystem, minor: bool) -> None:
    say(system, True)
    before = system.clock.now + 1
    system.clock.now += 2
    erase(system)
    said = Consent(minor, False, "branch office", before)
    stated = system.profiling.set_consent(TENANT, "ann", said, minor=minor or None)
    assert (stated.personalisation, stated.minor, stated.superseded) == (False, minor, False)


@BASES
@KINDS
def test_who_had_refused_before_an_erasure_still_has(system: FakeSystem, basis: str, minor: bool) -> None:
    system.consent_basis = basis
    catalogue(system, ad("p1", "phone"))
    refuse(system, minor)
    erase(system)
    erased_at = mapping(system)["erased"]
    stone = {"refused": True} if not minor else {"minor": True}
    expires = int(erased_at) + TOMBSTONE_DAYS * 86400
    assert {n: v for n, v in mapping(system).items() if n not in ("pk", "sk", "erasure", "expires_at")} == {
        "erased": erased_at
    } | stone
    assert mapping(system)["expires_at"] == expires
    erase(system)  # once more, of nobody
    assert stone.items() <= mapping(system).items()
    system.profiling.post_events(
        TENANT, [{"user_id": "ann", "event": "view", "timestamp": system.clock.now, "text": "phone"}]
    )
    kept = partition(system)
    assert not [sk for sk in kept if sk.startswith("e/")]
    if basis == "asserted":  # the next of that id
        assert kept["meta"]["consent"]["source"] == BEFORE_ERASURE and not stone.keys() & mapping(system).keys()
        profile, consent = system.profiling.profile(TENANT, "ann")
        assert (profile.interests, consent.personalisation, consent.minor) == ((), False, minor)
        erase(system)
        assert stone.items() <= mapping(system).items()
    else:
        assert not kept
    answer = say(system, True)
    assert answer.personalisation is (not minor)
    if minor:
        answer = say(system, True, minor=False)
    assert answer.personalisation
    act(system, "ann", "view", "a phone", timestamp=system.clock.now)
    assert system.profiling.profile(TENANT, "ann")[0].interests
    erase(system)
    assert not stone.keys() & mapping(system).keys()


def test_a_refusal_through_one_id_stays_with_all_ids_of_the_person(system: FakeSystem) -> None:
    system.profiling.identities(TENANT, "ann", link=[NamedId("bob")])
    refuse(system, minor=False, user="bob")
    act(system, "eve", "view", "a phone")
    erase(system, "ann")
    erase(system, "eve")
    known = system.stores.people.look_up(TENANT, ["ann", "bob", "eve"])
    assert {user: one.refused for user, one in known.items()} == {"ann": True, "bob": True, "eve": False}
    assert known["eve"].said is None and Known(refused=True).said is None
    assert "refused" in KEPT["tombstone"] and "under age" in KEPT["tombstone"]


@KINDS
def test_a_refusal_that_comes_while_an_erasure_begins_is_not_lost(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, minor: bool
) -> None:
    act(system, "ann", "view", "a phone")
    uid = system.stores.people.uid(TENANT, "ann") or ""
    said = Consent(minor, False, "banner", system.clock.now)

    def stated() -> None:  # and nothing has been taken away yet
        system.stores.people.set_consent(TENANT, uid, said, minor=minor or None)

    once_before(monkeypatch, Erasures, "begin", stated)
    erase(system)
    known = system.stores.people.look_up(TENANT, ["ann"])["ann"]
    assert (known.uid, known.refused, known.minor) == (None, not minor, minor)


def test_nobody_of_an_id_that_was_a_minors_is_shown_what_minors_are_not(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"), ad("any", "something that nobody can place"))
    refuse(system, minor=True)
    erase(system)
    shown = system.recommending.recommend(TENANT, "ann", n=5)
    stranger = system.recommending.recommend(TENANT, "stranger", n=5)
    assert [one.ad_id for one in shown.ads] == ["p1"] and len(stranger.ads) == 2
    assert not partition(system)  # nothing is written about them


def test_a_new_person_is_made_in_one_transaction_whatever_they_had_said(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(system, minor=False)
    erase(system)
    asked: list[int] = []
    real = Table.transact

    def counted(self: Table, actions: Sequence[Any]) -> None:
        asked.append(len(actions))
        real(self, actions)

    monkeypatch.setattr(Table, "transact", counted)
    assert system.stores.people.uids(TENANT, ["ann"])["ann"]
    assert asked == [2]
