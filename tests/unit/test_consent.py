"""Statements on consent: which of them holds, what is kept as the proof, and what a refusal takes away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, permutations
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from functions.profile import handler
from shared.domain import Consent
from shared.errors import Conflict, Forbidden, Unprocessable
from shared.feedback import Feedback, FeedbackItem
from shared.policy.consent import Standing, after, in_force, purposes, refused, together
from shared.profiling import NamedId, Profiling
from shared.settings import Settings
from shared.stores import Stores
from shared.stores.people import person_key
from shared.stores.table import Table
from shared.wiring import System
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_consent_tcf import vector
from tests.unit.test_recommending import ad, catalogue

pytestmark = pytest.mark.slow

NOW = 1_790_000_000.0
Said = tuple[Consent, bool | None]


def consent(personalisation: bool = True, sensitive: bool = False, at: float = NOW, **fields: Any) -> Consent:
    return Consent(personalisation, sensitive, **{"source": "banner"} | fields, at=at)


def standing(statements: Sequence[Said]) -> Standing:
    found = Standing()
    for said, minor in statements:
        found = after(found, said, minor)
    return found


STATEMENTS = st.tuples(
    st.builds(
        consent,
        st.booleans(),
        st.booleans(),
        st.sampled_from([NOW - 2, NOW - 1, NOW]),
        source=st.sampled_from(["banner", "app"]),
        version=st.sampled_from([None, "1", "2"]),
    ),
    st.sampled_from([None, True, False]),
)


@given(statements=st.lists(STATEMENTS, min_size=1, max_size=5), data=st.data())
def test_the_order_in_which_statements_arrive_changes_nothing(statements: list[Said], data: st.DataObject) -> None:
    said = standing(statements)
    assert standing(data.draw(st.permutations(statements))) == said
    assert standing([*statements, *statements]) == said
    assert said.consent is not None
    latest = max(one.at for one, _ in statements)
    assert said.consent.at == latest
    assert said.consent.personalisation is all(one.personalisation for one, _ in statements if one.at == latest)
    ages = [(one.at, minor) for one, minor in statements if minor is not None]
    assert (said.minor_at, said.consent.minor) == (max(ages) if ages else (None, False))


def test_who_is_under_age_or_said_no_is_refused_and_nobody_else() -> None:
    assert refused(consent(False)) and refused(consent(minor=True)) and not refused(consent())
    assert in_force(consent(sensitive=True, minor=True), "asserted").sensitive is False
    assert in_force(consent(minor=True), "asserted").personalisation is False
    assert purposes(consent(sensitive=True)) == ("personalisation", "sensitive")
    assert purposes(consent()) == ("personalisation",) and purposes(consent(False, True)) == ()


def test_of_several_ids_any_refusal_and_any_word_on_age_wins() -> None:
    assert together([None, None]) is None
    yes, no, child = consent(at=NOW), consent(False, at=NOW - 9), consent(minor=True, source="school")
    said = together([yes, no])
    assert said is not None and (said.personalisation, said.at) == (False, NOW - 9)
    said = together([yes, None, child])
    assert said is not None and said.minor and in_force(said, "asserted").personalisation is False
    assert together([consent(sensitive=True), yes]) == yes


# As it is stored -----------------------------------------------------------------------------------------------------

SAID: list[Said] = [
    (consent(True, True, at=NOW - 30, version="notice 7"), None),
    (consent(False, at=NOW - 20), True),
    (consent(True, at=NOW - 10, source="app"), None),
    (consent(False, at=NOW - 10, source="phone"), None),
]


def kept(stores: Stores, user: str, statements: Sequence[Said]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    uid = stores.people.uids(TENANT, [user])[user]
    for said, minor in statements:
        stores.people.set_consent(TENANT, uid, said, minor=minor, now=NOW)
    meta = stores.table.get(person_key(TENANT, uid), "meta") or {}
    return {name: meta[name] for name in ("consent", "minor_at")}, stores.people.statements(TENANT, uid)


def test_every_order_of_statements_ends_in_the_same_rows(stores: Stores) -> None:
    found = [kept(stores, f"user {n}", order) for n, order in enumerate(islice(permutations(SAID), 0, None, 3))]
    assert all(one == found[0] for one in found)
    held, history = found[0]
    assert held == {
        "consent": {
            "personalisation": False,
            "sensitive": False,
            "source": "phone",
            "at": NOW - 10,
            "basis": "given",
            "minor": True,
        },
        "minor_at": NOW - 20,
    }
    assert [one["at"] for one in history] == [NOW - 30, NOW - 20, NOW - 10, NOW - 10]
    assert history[0] == {
        "personalisation": True,
        "sensitive": True,
        "purposes": ["personalisation", "sensitive"],
        "source": "banner",
        "version": "notice 7",
        "at": NOW - 30,
        "recorded_at": NOW,
    }
    assert history[1]["minor"] is True


def test_a_statement_that_comes_again_is_one_row_and_changes_nothing(stores: Stores) -> None:
    uid = stores.people.uids(TENANT, ["ann"])["ann"]
    first = stores.people.set_consent(TENANT, uid, consent(), now=NOW)
    before = list(stores.table.query(person_key(TENANT, uid)))
    again = stores.people.set_consent(TENANT, uid, consent(), now=NOW + 60)
    assert (first, first.superseded, list(stores.table.query(person_key(TENANT, uid)))) == (again, False, before)


def test_the_latest_statements_are_kept(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stores.statements.KEPT", most := 5)
    uid = stores.people.uids(TENANT, ["ann"])["ann"]
    for n in range(most + 3):
        stores.people.set_consent(TENANT, uid, consent(n % 2 == 0, at=NOW + n), now=NOW)
    late = stores.people.set_consent(TENANT, uid, consent(at=NOW - 5), now=NOW)
    assert late.superseded and late.at == NOW + most + 2
    assert [one["at"] for one in stores.people.statements(TENANT, uid)] == [NOW + n for n in range(3, most + 3)]


def test_of_two_that_race_both_count(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = stores.people.uids(TENANT, ["ann"])["ann"]
    read = Table.get_many
    others = [consent(False, at=NOW + 1), consent(True, at=NOW - 1)]

    def race(table: Table, keys: Any, **options: Any) -> Any:
        rows = read(table, keys, **options)
        if others:
            said = others.pop()
            stores.people.set_consent(TENANT, uid, said, now=NOW)
        return rows

    monkeypatch.setattr(Table, "get_many", race)
    said = stores.people.set_consent(TENANT, uid, consent(), now=NOW)
    assert not others
    assert said.superseded and (said.personalisation, said.at) == (False, NOW + 1)
    assert len(stores.people.statements(TENANT, uid)) == 3


def test_nothing_is_kept_of_somebody_who_is_erased_meanwhile(stores: Stores) -> None:
    with pytest.raises(Conflict):
        stores.people.set_consent(TENANT, "0" * 24, consent(), now=NOW)
    assert not list(stores.table.query(person_key(TENANT, "0" * 24)))


# As it acts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


class Withdrawals(list[tuple[str, str]]):
    def __call__(self, tenant: str, uid: str) -> None:
        self.append((tenant, uid))


def profiling(system: FakeSystem, withdrawals: Withdrawals, vendor: int = 0) -> Profiling:
    return Profiling(
        system.stores,
        lambda: system.encoder,  # type: ignore[arg-type, return-value]
        system.profiles,
        consent_basis=lambda tenant: system.consent_basis,
        clock=system.clock,
        tcf_vendor_id=vendor,
        on_withdrawal=withdrawals,
    )


def bought(system: FakeSystem, use: Profiling, user: str, text: str = "watch of steel") -> int:
    row = {"user_id": user, "event": "purchase", "timestamp": system.clock.now - 60, "text": text}
    return use.post_events(TENANT, [row]).accepted


@pytest.mark.parametrize("said", [{"yes": False}, {"yes": True, "minor": True}])
def test_a_withdrawal_takes_away_what_was_inferred_and_what_is_kept(stores: Stores, said: dict[str, bool]) -> None:
    system, withdrawals = FakeSystem(stores, consent_basis="required"), Withdrawals()
    use = profiling(system, withdrawals)
    assert bought(system, use, "ann") == 0  # not asked yet
    assert use.set_consent(TENANT, "ann", consent()).personalisation
    assert use.set_consent(TENANT, "bob", consent()).personalisation
    assert bought(system, use, "ann") == 1
    use.identities(TENANT, "ann", link=[NamedId("bob")])
    assert use.profile(TENANT, "bob")[0].interests and not withdrawals
    answer = use.set_consent(TENANT, "ann", consent(said["yes"], at=NOW + 1), minor=said.get("minor"))
    assert not answer.personalisation
    uids = stores.people.uids(TENANT, ["ann", "bob"])
    assert sorted(withdrawals) == sorted((TENANT, uid) for uid in uids.values())
    for user in ("ann", "bob"):
        assert use.profile(TENANT, user)[0].interests == ()
        assert bought(system, use, user) == 0
    with pytest.raises(Forbidden):
        use.edit_interests(TENANT, "ann", disable=["adproduct:1"], enable=[])


def test_an_asserted_basis_leaves_the_events_until_the_refusal_is_taken_back(system: FakeSystem) -> None:
    withdrawals = Withdrawals()
    use = profiling(system, withdrawals)
    assert bought(system, use, "ann") == 1
    assert not use.set_consent(TENANT, "ann", consent(False)).personalisation
    assert use.profile(TENANT, "ann")[0].interests == () and not withdrawals
    use.edit_interests(TENANT, "ann", disable=["adproduct:1"], enable=[])  # what they would rather not see may stay
    assert use.set_consent(TENANT, "ann", consent(at=NOW + 1)).personalisation
    assert use.profile(TENANT, "ann")[0].events == 1


def test_what_is_said_of_age_holds_until_something_else_is_said(system: FakeSystem) -> None:
    use = profiling(system, Withdrawals())
    child = use.set_consent(TENANT, "ann", consent(sensitive=True), minor=True)
    assert (child.personalisation, child.sensitive, child.minor) == (False, False, True)
    still = use.set_consent(TENANT, "ann", consent(at=NOW + 1))
    assert (still.personalisation, still.minor) == (False, True)
    row = {"user_id": "ann", "event": "view", "timestamp": NOW, "text": "phone"}
    (rejected,) = use.post_events(TENANT, [row]).rejected
    assert rejected.reason == "nothing may be kept about this person"  # and not why
    grown = use.set_consent(TENANT, "ann", consent(at=NOW + 2), minor=False)
    assert (grown.personalisation, grown.minor) == (True, False)


def test_an_older_statement_is_kept_and_does_not_hold(system: FakeSystem) -> None:
    use = profiling(system, Withdrawals())
    assert use.set_consent(TENANT, "ann", consent(False, at=NOW)).superseded is False
    older = use.set_consent(TENANT, "ann", consent(True, at=NOW - 1))
    assert (older.personalisation, older.superseded, older.at) == (False, True, NOW)
    with pytest.raises(Unprocessable) as refusal:
        use.set_consent(TENANT, "ann", consent(at=NOW + 301))
    assert refusal.value.field == "at"
    uid = system.stores.people.uid(TENANT, "ann")
    assert uid is not None and len(system.stores.people.statements(TENANT, uid)) == 2


def test_who_withdraws_while_their_events_are_written_keeps_none(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, withdrawals = FakeSystem(stores, consent_basis="required"), Withdrawals()
    use = profiling(system, withdrawals)
    use.set_consent(TENANT, "ann", consent())
    append = type(stores.people).append_events

    def withdrawn(*arguments: Any, **named: Any) -> Any:
        use.set_consent(TENANT, "ann", consent(False, at=NOW + 1))
        withdrawals.clear()  # that one came too early
        return append(*arguments, **named)

    monkeypatch.setattr(type(stores.people), "append_events", withdrawn)
    bought(system, use, "ann")
    assert withdrawals == [(TENANT, stores.people.uid(TENANT, "ann"))]


def test_links_under_a_basis_that_needs_consent(stores: Stores) -> None:
    system, withdrawals = FakeSystem(stores, consent_basis="required"), Withdrawals()
    use = profiling(system, withdrawals)
    for user, yes in (("ann", True), ("no", False), ("never", False)):
        use.set_consent(TENANT, user, consent(yes))
    assert bought(system, use, "ann") == 1
    withdrawals.clear()
    with pytest.raises(Forbidden) as refusal:
        use.identities(TENANT, "no", link=[NamedId("never")])
    assert refusal.value.field == "link"
    use.identities(TENANT, "ann", link=[NamedId("no")])  # so that the refusal holds for ann too
    assert use.profile(TENANT, "ann")[1].personalisation is False
    uids = stores.people.uids(TENANT, ["ann", "no"])
    assert set(withdrawals) == {(TENANT, uid) for uid in uids.values()}


def test_feedback_of_those_who_have_not_consented_counts_for_nobody(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"))
    assert bought(system, system.profiling, "ann") == 1
    decision = system.recommending.recommend(TENANT, "ann")
    uid = decision.uid
    assert uid is not None
    feedback = Feedback(system.stores, clock=system.clock, consent_basis=lambda tenant: "required")
    (answer,) = feedback.take(TENANT, [FeedbackItem(decision.decision_id, "w1", "click", system.clock.now)])
    assert answer["result"] == "counted"
    assert not system.stores.delivery.impressions(TENANT, uid)
    assert len(list(system.stores.people.events(TENANT, uid, ""))) == 1


# With a TC string ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vendor", "said", "allowed"),
    [
        ("everything, 2.3", 0, True, True),
        ("everything, 2.3", 7, True, True),
        ("everything, 2.3", 7, False, False),
        ("no purpose 4", 0, True, False),
        ("a high vendor, a range of one", 7, True, False),
        ("restriction: purpose 3 not allowed to 7", 7, True, False),
        ("restriction: purpose 3 not allowed to 7", 10, True, True),
    ],
)
def test_string_and_statement_both_have_to_allow(
    system: FakeSystem, name: str, vendor: int, said: bool, allowed: bool
) -> None:
    use = profiling(system, Withdrawals(), vendor)
    answer = use.set_consent(TENANT, "ann", consent(said, tcf=vector(name)))
    assert (answer.personalisation, answer.sensitive, answer.tcf) == (allowed, False, vector(name))
    assert answer.version in ("tcf-policy-5/vendor-list-142", "tcf-policy-4/vendor-list-142")
    own = use.set_consent(TENANT, "ann", consent(said, True, at=NOW + 1, tcf=vector(name), version="9"))
    assert (own.version, own.personalisation, own.sensitive) == ("9", allowed, allowed)
    assert purposes(own) == (("personalisation", "sensitive") if allowed else ())
    uid = system.stores.people.uid(TENANT, "ann")
    assert uid is not None and system.stores.people.statements(TENANT, uid)[0]["tcf"] == vector(name)


def test_the_vendor_id_is_one_of_the_list() -> None:
    assert Settings.from_env({"TCF_VENDOR_ID": "755"}).tcf_vendor_id == 755
    for wrong in ("-1", "65536", "us"):
        with pytest.raises(ValueError, match="TCF_VENDOR_ID"):
            Settings.from_env({"TCF_VENDOR_ID": wrong})


def test_the_api_says_what_is_in_force_and_why(built: System) -> None:
    built.settings = replace(built.settings, tcf_vendor_id=755)
    body = {"personalisation": True, "source": "cmp", "at": "2026-11-20T10:00:00Z"}
    with TestClient(handler.app) as client:

        def put(**fields: Any) -> Any:
            return client.put("/v1/users/ann/consent", json=body | fields)

        assert put(tcf=vector("disclosed to some, 2.3")).json() == {
            "user_id": "ann",
            "personalisation": False,
            "sensitive": False,
            "purposes": [],
            "minor": False,
            "source": "cmp",
            "version": "tcf-policy-5/vendor-list-142",
            "basis": "given",
            "at": "2026-11-20T10:00:00.000Z",
            "tcf": {
                "policy_version": 5,
                "vendor_list_version": 142,
                "purposes": list(range(1, 12)),
                "vendor": False,
                "allows": False,
            },
        }
        older = put(at="2026-11-19T10:00:00Z", version="3").json()
        assert (older["superseded"], older["personalisation"], older["at"]) == (True, False, "2026-11-20T10:00:00.000Z")
        newer = put(at="2026-11-21T10:00:00Z", version="4", sensitive=True, minor=False).json()
        assert "superseded" not in newer and "tcf" not in newer
        assert (newer["purposes"], newer["version"]) == (["personalisation", "sensitive"], "4")
        assert client.get("/v1/users/ann/profile").json()["consent"]["purposes"] == ["personalisation", "sensitive"]
        for wrong in (
            {"tcf": ""},
            {"tcf": "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA"},
            {"tcf": vector("everything, 2.2")[:30]},
            {"tcf": "x" * 4001},
            {"at": "2046-11-21T10:00:00Z"},
            {"minor": "no"},
            {"version": ""},
            {"version": "x" * 101},
        ):
            answer = put(**wrong)
            assert (answer.status_code, answer.json()["field"]) == (422, *wrong)


def test_answers_about_a_person_are_not_kept_for_a_second_copy(built: System) -> None:
    body = {"personalisation": True, "source": "cmp", "at": "2026-11-20T10:00:00Z"}
    key = {"Idempotency-Key": "one"}
    with TestClient(handler.app) as client:
        first = client.put("/v1/users/ann/consent", json=body, headers=key)
        second = client.put("/v1/users/ann/consent", json=body, headers=key)
        assert first.json() == second.json() and "idempotency-replayed" not in second.headers
        refusal = client.put("/v1/users/ann/consent", json=body | {"personalisation": False}, headers=key)
        assert refusal.json()["personalisation"] is False
        assert client.post("/v1/events", json={"events": []}, headers=key).status_code == 200
        assert "idempotency-replayed" in client.post("/v1/events", json={"events": []}, headers=key).headers
    table = built.stores.table
    rows = table.client.scan(TableName=table.name)["Items"]
    assert len([row for row in rows if row["pk"]["S"].startswith("idem/")]) == 1
