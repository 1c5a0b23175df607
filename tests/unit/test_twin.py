"""The twin: what ``personalised: false`` would have been, drawn by the same numbers, with the difference explained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.recommend import handler
from shared import recommending
from shared.comparing import Compared, Side, difference
from shared.domain import Consent, Decision
from shared.eligibility import Context
from shared.recommending import Exploring
from shared.stores import Stores
from shared.stores.decisions import bucket_of
from shared.wiring import System
from tests.conftest import TENANT
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import act, ad, catalogue, feedback, ids

pytestmark = pytest.mark.slow

TOPIC_ADS = [ad(f"{topic}-{n}", topic) for topic in ("phone", "watch", "shoe") for n in range(4)]


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return FakeSystem(stores, exploring=Exploring(0.3, 0.3))


def slots(ads: Any) -> list[Any]:
    return [(one.ad_id, one.copy, one.score, one.reasons, one.propensity, one.variant) for one in ads]


def at_the_same_draw(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Decisions get this number's id, by which they are drawn, and are not stored over each other."""
    monkeypatch.setattr(recommending, "new_decision_id", lambda now: f"{bucket_of(now)}0{number:018x}")


def test_the_twin_is_the_answer_without_personalisation_and_leaves_nothing(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps = {"frequency_cap": {"count": 1, "hours": 1}, "daily_budget": 0.02}
    catalogue(system, *TOPIC_ADS, *(ad(f"capped-{n}", "phone", **caps) for n in range(2)))
    act(system, "ann", "purchase", "a phone of steel")
    system.profiling.profile(TENANT, "ann")
    decided = len(decisions(system))
    for number in range(6):
        at_the_same_draw(monkeypatch, number)
        plain = undecided(system, monkeypatch)
        before = system.stores.delivery.spent(TENANT, ["capped-0", "capped-1"], system.clock.now)
        compared = system.recommending.compare(TENANT, "ann", n=4)
        assert slots(compared.twin) == slots(plain.ads)
        own = {one.ad_id for one in compared.decision.ads}
        after = system.stores.delivery.spent(TENANT, ["capped-0", "capped-1"], system.clock.now)
        assert all(after[one] == before[one] for one in before if one not in own)  # the twin reserves nothing
        assert len(decisions(system)) == decided + 2 * (number + 1)  # its row, and its record for the log
        for one in set(compared.difference.only_twin):
            assert feedback(system, compared.decision, one, "impression") == "refused"


def undecided(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> Decision:
    """What would have been answered without personalisation at this very moment."""
    taken: list[Decision] = []

    def keep(_: Any, tenant: str, decision: Decision, *rest: Any) -> None:
        taken.append(decision)

    with monkeypatch.context() as patched:
        patched.setattr(type(system.stores.delivery), "put_decision", keep)
        system.recommending.recommend(TENANT, "ann", n=4, personalised=False)
    return taken[0]


def decisions(system: FakeSystem) -> list[str]:
    """Ids of all that is stored as decided."""
    pages = system.stores.table.client.scan(TableName=system.stores.table.name)["Items"]
    return [row["pk"]["S"] for row in pages if row["pk"]["S"].startswith(f"t/{TENANT}/d/")]


def test_every_difference_is_told_once_and_the_sums_are_right(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(system, *TOPIC_ADS, ad("aimed", "watch", targeting={"interests": [TOPICS["phone"]]}), ad("had", "phone"))
    act(system, "ann", "purchase", "a phone of steel")
    act(system, "ann", "purchase", "phone", item_id="had")
    seen: dict[str, int] = {}
    for number in range(12):
        at_the_same_draw(monkeypatch, number)
        compared = system.recommending.compare(TENANT, "ann", n=6)
        found, own, twin = compared.difference, ids(compared.decision), [one.ad_id for one in compared.twin]
        assert found.same == sum(a == b for a, b in zip(own, twin, strict=True))
        assert set(found.only_personalised) == set(own) - set(twin)
        assert set(found.only_twin) == set(twin) - set(own)
        assert {(one.ad_id, one.before, one.after) for one in found.moved} == {
            (one, twin.index(one) + 1, own.index(one) + 1)
            for one in set(own) & set(twin)
            if own.index(one) != twin.index(one)
        }
        told = [one.ad_id for one in found.explained]
        assert sorted(told) == sorted([*found.only_personalised, *found.only_twin, *(one.ad_id for one in found.moved)])
        assert "aimed" not in twin and "had" not in own
        for one in found.explained:
            seen[one.code] = seen.get(one.code, 0) + 1
            assert one.text["zh"] and one.text["en"] and "{" not in one.text["zh"] + one.text["en"]
        because = [one for one in found.explained if one.code == "because"]
        assert any("phone" in one.ad_id for one in because)
        assert any(f"en {TOPICS['phone']}" in one.text["en"] for one in because)
        assert any(f"zh {TOPICS['phone']}" in one.text["zh"] for one in because)
    assert {"because", "had", "gave_way", "exploring"} <= seen.keys()


def test_chance_alone_makes_no_difference(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a person of whom nothing is known that changes a score, both are the same, explored slots and turns too."""
    catalogue(system, *TOPIC_ADS)
    system.profiling.set_consent(TENANT, "ann", Consent(True, False, "form", system.clock.now))
    tried = 0
    for number in range(12):
        at_the_same_draw(monkeypatch, number)
        compared = system.recommending.compare(TENANT, "ann", n=4)
        assert slots(compared.twin) == slots(compared.decision.ads)
        assert compared.difference.same == 4 and not compared.difference.explained
        best = sorted(compared.decision.ads, key=lambda one: -one.propensity)
        tried += best[-1].propensity < 0.2
    assert tried  # something was there to be tried


def test_who_is_unknown_refused_or_asks_for_nothing_personal_is_their_own_twin(system: FakeSystem) -> None:
    catalogue(system, *TOPIC_ADS)
    act(system, "ann", "purchase", "a phone")
    act(system, "bob", "purchase", "a phone")
    system.profiling.set_consent(TENANT, "bob", Consent(False, False, "banner", system.clock.now))
    for user, personalised, said in (
        ("nobody", True, "Nothing is known"),
        ("bob", True, "Nothing is known"),
        ("ann", False, "No personal information"),
    ):
        compared = system.recommending.compare(TENANT, user, n=4, personalised=personalised)
        assert compared.twin == compared.decision.ads and said in compared.difference.text["en"]
        assert compared.difference.same == 4 and not compared.decision.personalised


def test_no_explanation_tells_of_a_sensitive_interest(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue(
        system,
        *TOPIC_ADS,
        ad("check-up", "pressure", domain="health"),
        ad("meter", "pressure"),
        ad("psalter", "prayer"),
    )
    system.profiling.set_consent(TENANT, "ann", Consent(True, True, "form", system.clock.now))
    act(system, "ann", "consult", "pressure in the morning", domain="health")
    act(system, "ann", "purchase", "prayer", item_id="psalter")
    codes = set()
    for number in range(8):
        at_the_same_draw(monkeypatch, number)
        compared = system.recommending.compare(TENANT, "ann", n=15)
        assert "check-up" in ids(compared.decision)
        assert "psalter" in ids(compared.decision)  # bought, and offered as if it had not been
        by_ad = {one.ad_id: one for one in compared.difference.explained}
        assert by_ad["check-up"].code == "consent"
        codes |= {one.code for one in compared.difference.explained}
        said = str(compared.difference) + str([one.reasons for one in (*compared.decision.ads, *compared.twin)])
        assert not any(TOPICS[topic] in said for topic in ("pressure", "prayer"))
    assert "had" not in codes


def test_the_api_carries_both(built: System) -> None:
    rows = [*TOPIC_ADS, ad("aimed", "phone", targeting={"interests": [TOPICS["phone"]]})]
    tenant = "demo"
    assert built.classifying.put_ads(tenant, rows)
    assert built.classifying.publish(tenant)
    event = {"user_id": "ann", "event": "purchase", "timestamp": built.clock() - 60, "text": "a phone"}
    assert built.profiling.post_events(tenant, [event]).accepted == 1
    with TestClient(handler.app) as api:
        plain = api.post("/v1/recommendations", json={"user_id": "ann"})
        both = api.post("/v1/recommendations", json={"user_id": "ann", "compare": True, "n": 3})
        young = api.post("/v1/recommendations", json={"user_id": "ann", "minor": True, "compare": True})
    assert plain.status_code == both.status_code == young.status_code == 200, (plain.text, both.text)
    assert "twin" not in plain.json()
    answer, twin = both.json(), both.json()["twin"]
    assert answer["personalised"] and len(twin["ads"]) == 3
    assert set(twin["ads"][0]) == {"ad_id", "copy", "served_by", "label", "score", "reasons"}
    assert twin["difference"].keys() == {"same", "only_personalised", "only_twin", "moved", "explained", "text"}
    assert not young.json()["personalised"] and young.json()["twin"]["difference"]["only_twin"] == []


def test_a_move_says_where_from_and_where_to(system: FakeSystem) -> None:
    catalogue(system, *TOPIC_ADS)
    act(system, "ann", "purchase", "a phone")
    compared: Compared = system.recommending.compare(TENANT, "ann", n=3, context=Context(language="en"))
    snapshot = system.recommending._snapshots.latest(TENANT)
    own = Side(compared.decision.ads, frozenset(), [True] * len(snapshot.ads))  # type: ignore[arg-type]
    turned = replace(own, ads=(*own.ads[1:], own.ads[0]))
    found = difference(snapshot, own, turned, [])
    assert [(one.before, one.after) for one in found.moved] == [(3, 1), (1, 2), (2, 3)]
    assert found.same == 0 and {one.code for one in found.explained} <= {"rose", "shifted"}
