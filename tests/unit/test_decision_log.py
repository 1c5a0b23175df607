"""The decision log: whole lines, written once and again, that say what could have been."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from shared import decision_log
from shared.decision_log import DUE, export, key_of
from shared.domain import Consent
from shared.eligibility import Context
from shared.feedback import FeedbackItem
from shared.models.features import FEATURES
from shared.recommending import Exploring
from shared.stores import Stores
from shared.stores.delivery import BUCKET_SECONDS
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import act, ad, catalogue, ids

pytestmark = pytest.mark.slow

TOPICS = ("phone", "watch", "shoe", "course")


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    built = FakeSystem(stores, exploring=Exploring(0.2, 0.2))
    catalogue(
        built,
        *(
            ad(f"a{n}", TOPICS[n % 4], campaign_id=f"c{n % 5}", exclusion_labels=[TOPICS[n % 4]][: n % 2])
            for n in range(16)
        ),
    )
    return built


def lines(system: FakeSystem) -> list[dict[str, Any]]:
    key = key_of(TENANT, int(system.clock.now // BUCKET_SECONDS))
    return [orjson.loads(line) for line in gzip.decompress(system.stores.objects.get(key)).splitlines()]


def written(system: FakeSystem) -> list[dict[str, Any]]:
    assert export(
        system.stores,
        consent_basis=system.profiles.consent_basis,
        now=system.clock.now,
        seconds=60,
        tenants=[TENANT],
        latest=True,
    )
    return lines(system)


def test_a_line_says_what_was_shown_what_could_have_been_and_what_came_of_it(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="seen")
    context = Context(domain="ecommerce", language="en", platform="web", placement="top")
    answer = system.recommending.recommend(TENANT, "ann", n=3, context=context)
    for kind in ("impression", "click"):
        item = FeedbackItem(answer.decision_id, answer.ads[1].ad_id, kind, system.clock.now + 1)
        system.recommending.feedback(TENANT, [item])
    [line] = written(system)
    assert line["decision_id"] == answer.decision_id and line["person"] == answer.uid
    assert (line["placement"], line["domain"], line["n"], line["epsilon"]) == ("top", "ecommerce", 3, 0.2)
    assert line["history"] == ["seen"] and line["history_ages"] == [pytest.approx(60 / 86400, abs=1e-3)]
    assert [slot["ad_id"] for slot in line["slots"]] == ids(answer)
    assert [slot["propensity"] for slot in line["slots"]] == [shown.propensity for shown in answer.ads]
    assert line["slots"][1]["click_at"] == line["slots"][1]["impression_at"] == system.clock.now + 1
    assert line["slots"][0]["impression_at"] is None and line["slots"][0]["variant"]
    chances: dict[int, float] = {}
    for one in line["candidates"]:
        chances[one["slot"]] = chances.get(one["slot"], 0.0) + one["propensity"]
        assert len(one["features"]) == len(FEATURES) and 0 < one["score"] < 1
        number = int(one["ad_id"][1:])
        assert (one["campaign_id"], one["labels"]) == (f"c{number % 5}", [TOPICS[number % 4]][: number % 2])
    assert chances == {slot: pytest.approx(1) for slot in (1, 2, 3)}
    assert set(ids(answer)) <= {one["ad_id"] for one in line["candidates"]}
    own = {one["ad_id"]: one for one in line["candidates"]}
    for slot in line["slots"]:
        one = own[slot["ad_id"]]
        turned = line["rotation"] / 3
        stays = (1 - line["rotation"]) * (one["slot"] == slot["slot"])
        assert slot["propensity"] == pytest.approx(one["propensity"] * (stays + turned))


def test_every_line_has_the_same_fields(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="seen")
    system.recommending.recommend(TENANT, "ann", n=2)
    system.recommending.recommend(TENANT, "nobody", n=2)
    first, second = written(system)
    assert first.keys() == second.keys()
    assert first["slots"][0].keys() == second["slots"][0].keys()
    assert first["candidates"][0].keys() == second["candidates"][0].keys()


def test_who_refused_leaves_no_trace_of_theirs(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="seen")
    system.profiling.set_consent(TENANT, "ann", Consent(False, False, "banner", system.clock.now))
    system.recommending.recommend(TENANT, "ann", n=2)
    [line] = written(system)
    assert (line["person"], line["history"], line["history_ages"], line["personalised"]) == (None, [], [], False)


def test_who_refuses_afterwards_is_nobody_in_what_is_written_then(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="seen")
    system.recommending.recommend(TENANT, "ann", n=2)
    assert written(system)[0]["person"] is not None
    system.profiling.set_consent(TENANT, "ann", Consent(False, False, "banner", system.clock.now))
    [line] = written(system)
    assert (line["person"], line["history"], line["segments"]) == (None, [], []) and line["candidates"]
    assert line["counts_as"] is None


def test_what_a_sensitive_interest_had_a_part_in_is_nobodys(system: FakeSystem) -> None:
    catalogue(system, ad("h", "pressure", domain="health"))
    system.profiling.set_consent(TENANT, "ann", Consent(True, True, "form", system.clock.now))
    act(system, "ann", "consult", "pressure is high", item_id="visit", domain="health")
    act(system, "ann", "view", "a phone", item_id="seen")
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert any(one.sensitive for one in profile.interests) and "visit" not in [one.item_id for one in profile.recent]
    system.recommending.recommend(TENANT, "ann", n=3, context=Context(domain="health"))
    [line] = written(system)
    assert (line["person"], line["history"]) == (None, [])


def test_what_is_switched_off_is_not_in_the_history(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="phone-item")
    act(system, "ann", "view", "a watch", item_id="watch-item")
    profile, _ = system.profiling.profile(TENANT, "ann")
    phone = next(one.interest_id for one in profile.recent if one.item_id == "phone-item")
    system.profiling.edit_interests(TENANT, "ann", disable=[phone], enable=[])
    system.recommending.recommend(TENANT, "ann", n=2)
    [line] = written(system)
    assert line["history"] == ["watch-item"]
    for number in range(6):  # until the other one is too small a share to be listed
        for n in range(5):
            act(system, "ann", "purchase", f"a watch {number}", item_id=f"w{number}{n}")
    system.recommending.recommend(TENANT, "ann", n=2)
    assert all("phone-item" not in line["history"] for line in written(system))


def test_files_are_written_again_as_feedback_comes_in_and_after_an_outage(system: FakeSystem) -> None:
    answer = system.recommending.recommend(TENANT, "ann", n=1)
    bucket, began = int(system.clock.now // BUCKET_SECONDS), system.clock.now
    key = key_of(TENANT, bucket)

    def clicks() -> int:
        body = gzip.decompress(system.stores.objects.get(key))
        return sum(slot["click_at"] is not None for line in body.splitlines() for slot in orjson.loads(line)["slots"])

    def run() -> int:
        return export(
            system.stores,
            consent_basis=system.profiles.consent_basis,
            now=system.clock.now,
            seconds=60,
            tenants=[TENANT],
        )

    assert run() == 0 and not system.stores.objects.exists(key)  # the bucket is not over
    system.clock.now = began + (DUE[0] + 1) * BUCKET_SECONDS
    assert run() == 1 and clicks() == 0
    item = FeedbackItem(answer.decision_id, answer.ads[0].ad_id, "click", system.clock.now)
    system.recommending.feedback(TENANT, [item])
    assert run() == 0 and clicks() == 0
    system.clock.now = began + (DUE[1] + 20) * BUCKET_SECONDS  # nothing ran for hours
    assert run() == 1 and clicks() == 1
    assert run() == 0


def test_without_time_left_the_rest_is_written_by_the_next_call(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.recommending.recommend(TENANT, "ann", n=1)
    system.clock.now += 3 * BUCKET_SECONDS
    assert (
        export(
            system.stores,
            consent_basis=system.profiles.consent_basis,
            now=system.clock.now,
            seconds=-1,
            tenants=[TENANT],
        )
        == 0
    )
    assert system.stores.log_progress.written(TENANT) == {}
    assert (
        export(
            system.stores,
            consent_basis=system.profiles.consent_basis,
            now=system.clock.now,
            seconds=60,
            tenants=[TENANT],
        )
        == 1
    )


def test_a_tenant_that_has_published_is_found(system: FakeSystem) -> None:
    assert system.stores.log_progress.tenants() == [TENANT]
    system.recommending.recommend(TENANT, "ann", n=1)
    system.clock.now += 3 * BUCKET_SECONDS
    assert export(system.stores, consent_basis=system.profiles.consent_basis, now=system.clock.now, seconds=60) == 1


def test_missed_runs_are_made_good_to_the_last(system: FakeSystem) -> None:
    began = system.clock.now
    for step in range(3):
        system.clock.now = began + step * BUCKET_SECONDS
        system.recommending.recommend(TENANT, "ann", n=1)
    for due in (DUE[-1] - 1, DUE[-1] + 2):  # two runs between them were missed
        system.clock.now = began + (due + 0.5) * BUCKET_SECONDS
        lines_ = export(
            system.stores,
            consent_basis=system.profiles.consent_basis,
            now=system.clock.now,
            seconds=600,
            tenants=[TENANT],
        )
    assert lines_ == 3


def test_click_rates_reach_the_catalogue_though_no_ad_is_written(system: FakeSystem) -> None:
    before = system.recommending._snapshots.latest(TENANT)
    for number in range(20):
        decision = system.recommending.recommend(TENANT, f"u{number}", n=1)
        [shown] = ids(decision)
        acts = [FeedbackItem(decision.decision_id, shown, kind, system.clock.now) for kind in ("impression", "click")]
        system.recommending.feedback(TENANT, acts)
    system.clock.now += 13 * BUCKET_SECONDS
    export(
        system.stores, consent_basis=system.profiles.consent_basis, now=system.clock.now, seconds=600, tenants=[TENANT]
    )
    assert system.classifying.publish(TENANT) != before.version
    system.clock.now += 60
    after = system.recommending._snapshots.latest(TENANT)
    assert after.prior.max() > 2 * before.prior.max() and after.campaign_prior.max() > before.campaign_prior.max()
    assert not decision_log.renew_click_rates(system.stores, TENANT)


def test_every_tenant_has_its_turn(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(7)]
    seen: list[str] = []

    def slow(tenant: str) -> dict[int, int]:
        seen.append(tenant)
        raise KeyboardInterrupt  # the time is over

    monkeypatch.setattr(system.stores.log_progress, "written", slow)
    for run in range(7):
        with pytest.raises(KeyboardInterrupt):
            export(
                system.stores,
                consent_basis=system.profiles.consent_basis,
                now=run * BUCKET_SECONDS,
                seconds=60,
                tenants=names,
            )
    assert sorted(seen) == names


def test_a_record_is_small(system: FakeSystem) -> None:
    act(system, "ann", "view", "a phone", item_id="seen")
    answer = system.recommending.recommend(TENANT, "ann", n=5)
    assert len(answer.log) < 3000 and decision_log.line_of(b"", {}) is None
