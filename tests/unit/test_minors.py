"""Minors: contextual ads alone, none that they must not be shown, and nothing kept about them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import Consent
from shared.eligibility import Context
from shared.stores import Stores
from tests.conftest import TENANT
from tests.fakes import models
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import act, ad, catalogue, ids

PAGE = Context(domain="ecommerce")


@pytest.fixture
def system(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    # Real ids of what minors are kept from, in the places of topics that nothing here is about.
    monkeypatch.setattr(models, "TOPICS", TOPICS | {"course": "adproduct:1007", "shoe": "adproduct:1365"})
    built = FakeSystem(stores)
    catalogue(
        built,
        *(ad(f"{topic}-{n}", topic) for topic in ("phone", "watch") for n in range(3)),
        ad("wine", "course"),
        ad("lottery", "shoe"),
        ad("doctor", "pressure", domain="health"),
        ad("anything", "something that nobody can place"),
    )
    return built


FIT = {f"{topic}-{n}" for topic in ("phone", "watch") for n in range(3)}


def test_a_request_that_says_minor_is_served_by_the_page_alone(system: FakeSystem) -> None:
    act(system, "ann", "purchase", "a phone")
    grown = system.recommending.recommend(TENANT, "ann", n=10, context=PAGE)
    assert grown.personalised and {"wine", "lottery", "anything"} <= set(ids(grown))
    answer = system.recommending.recommend(TENANT, "ann", n=10, context=PAGE, minor=True)
    assert set(ids(answer)) == FIT and not answer.personalised and answer.uid is None
    stranger = system.recommending.recommend(TENANT, "nobody", n=10, context=PAGE, minor=True)
    assert [(one.ad_id, one.score, one.reasons) for one in answer.ads] == [
        (one.ad_id, one.score, one.reasons) for one in stranger.ads
    ]
    assert {one.reasons[0].code for one in answer.ads} <= {"general", "context", "popular"}
    health = system.recommending.recommend(TENANT, "ann", n=10, context=Context(domain="health"), minor=True)
    assert set(ids(health)) == FIT


def test_whom_the_store_knows_as_a_minor_is_served_so_without_the_request_saying_it(system: FakeSystem) -> None:
    act(system, "ann", "purchase", "a phone")
    assert system.profiling.profile(TENANT, "ann")[0].interests
    system.profiling.set_consent(TENANT, "ann", Consent(True, True, "form", system.clock.now, minor=True))
    answer = system.recommending.recommend(TENANT, "ann", n=10, context=PAGE)
    assert set(ids(answer)) == FIT and not answer.personalised and answer.uid is None
    assert system.profiling.profile(TENANT, "ann")[0].interests == ()
    compared = system.recommending.compare(TENANT, "ann", n=10, context=PAGE)
    assert "Minors" in compared.difference.text["en"] and compared.twin == compared.decision.ads


def test_nothing_is_looked_up_or_kept_of_a_minor(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    act(system, "ann", "view", "a phone")  # not folded yet: a read of the profile would write it
    uid = system.stores.people.uid(TENANT, "ann")
    before = list(system.stores.table.query(f"t/{TENANT}/p/{uid}"))

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a minor was looked up")

    monkeypatch.setattr(type(system.stores.people), "look_up", never)
    monkeypatch.setattr(type(system.profiles), "read", never)
    decision = system.recommending.recommend(TENANT, "ann", n=3, minor=True)
    compared = system.recommending.compare(TENANT, "ann", n=3, minor=True)
    assert decision.uid is None and compared.decision.uid is None
    monkeypatch.undo()
    assert list(system.stores.table.query(f"t/{TENANT}/p/{uid}")) == before
