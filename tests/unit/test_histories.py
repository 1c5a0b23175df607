"""A person's last items as the models see them: how many, which are read, and what an interest switched off takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from shared.decision_log import line_of
from shared.domain import Interest, Profile, RecentItem
from shared.histories import Histories
from shared.models.features import FEATURES, HISTORY_ITEMS, LONGEST_HISTORY, History
from shared.stores import Stores
from shared.stores.people import pack_vector
from tests.conftest import TENANT
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import act, ad, catalogue

NOW = 1e9


@dataclass
class Resolved:
    vector: bytes


@dataclass
class Items:
    """A catalogue's items that are no ads, each of the topic that its id begins with; and which were asked for."""

    asked: list[str] = field(default_factory=list)
    known: bool = True

    def resolve(self, tenant: str, item_ids: Iterable[str]) -> dict[str, Resolved]:
        self.asked += item_ids
        return {item: Resolved(pack_vector(topic(item.split("-")[0]))) for item in item_ids if self.known}


def topic(name: str) -> np.ndarray:
    vector = np.zeros(384, np.float32)
    vector[list(TOPICS).index(name)] = 1
    return vector


class Known:
    """A snapshot of these ads, whose labels say nothing."""

    def __init__(self, *ads: str) -> None:
        self.places = {name: row for row, name in enumerate(ads)}
        self.vectors = np.stack([topic(name.split("-")[0]) for name in ads])
        self.categories = ["none"]
        self.category = np.zeros(len(ads), int)
        self.ads = [type("Ad", (), {"domain": "ecommerce", "ad_id": name, "labels": ()})() for name in ads]


def recent(*names: str) -> tuple[RecentItem, ...]:
    return tuple(RecentItem(name, NOW - 3600 * place) for place, name in enumerate(names))


def history(items: Items, snapshot: Any, names: list[str], *, off: str | None = None) -> Any:
    interest = Interest("x", {"en": "X"}, 0.5, "long", (), enabled=False, vector=pack_vector(topic(off or "phone")))
    interests = () if off is None else (interest,)
    profile = Profile("ann", interests, (), NOW, recent=recent(*names))
    return Histories(items, project=lambda vectors: vectors).of(TENANT, snapshot, profile, NOW)  # type: ignore[arg-type]


def test_long_histories_are_told_of_and_the_last_items_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.histories.tells", lambda ad, category: False)
    names = [f"shoe-{place}" if place % 10 else f"watch-{place}" for place in range(LONGEST_HISTORY + 10)]
    items, snapshot = Items(), Known("watch-0", "watch-30")
    found = history(items, snapshot, names)
    assert found.ids == tuple(names[:LONGEST_HISTORY])
    assert items.asked == names[1:HISTORY_ITEMS]
    assert np.flatnonzero(found.vectors.any(axis=1)).tolist() == list(range(HISTORY_ITEMS))
    np.testing.assert_allclose(found.ages, np.arange(LONGEST_HISTORY) / 24, rtol=1e-5)


def test_what_a_person_came_back_to_stands_there_again_and_counts_once_among_the_different_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.histories.tells", lambda ad, category: False)
    turns = [name for place in range(25) for name in (f"shoe-{place}", "watch-0")]
    items = Items()
    found = history(items, Known("phone-ad"), turns)
    assert found.ids == tuple(turns[:LONGEST_HISTORY])
    assert items.asked == ["shoe-0", "watch-0", *(f"shoe-{place}" for place in range(1, HISTORY_ITEMS - 1))]
    told = found.vectors.any(axis=1)
    assert told.tolist() == [name == "watch-0" or int(name.split("-")[1]) < HISTORY_ITEMS - 1 for name in turns]
    once = found.distinct()
    assert once.ids == tuple(items.asked) and once.vectors.any(axis=1).all()
    np.testing.assert_allclose(
        once.ages, [0, 1 / 24, *(place / 12 for place in range(1, HISTORY_ITEMS - 1))], rtol=1e-5
    )
    assert History().distinct().ids == ()


@pytest.mark.slow
def test_a_profile_tells_each_time_that_one_came_back_to_an_item(stores: Stores) -> None:
    system = FakeSystem(stores)
    catalogue(system, *(ad(name, "watch") for name in ("a", "b", "c")))
    for place, (event, item) in enumerate(
        [("view", "a"), ("view", "b"), ("cart", "b"), ("purchase", "b"), ("view", "c"), ("view", "a"), ("view", "b")]
    ):
        act(system, "ann", event, "", item_id=item, event_id=f"e{place}", domain="ecommerce")
        system.clock.now += 5
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert [one.item_id for one in profile.recent] == ["b", "a", "c", "b", "a"]
    assert [one.at for one in profile.recent] == sorted((one.at for one in profile.recent), reverse=True)


@pytest.mark.slow
def test_of_many_items_the_last_turns_are_told(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """As all turns in order say, wherever the cut lies and in however many domains an item stands."""
    monkeypatch.setattr("shared.interests.MAX_RECENT", 6)
    system, generator = FakeSystem(stores), np.random.default_rng(5)
    names = [f"w{place}" for place in range(9)]
    catalogue(system, *(ad(name, "watch") for name in names))
    for user in ("ann", "bob", "cat"):
        seen: list[str] = []
        for place in range(15):
            item = names[int(generator.integers(2 if user == "bob" else 9))]
            for domain in ("ecommerce", "social"):
                act(system, user, "view", "", item_id=item, event_id=f"{user}{place}{domain}", domain=domain)
                system.clock.now += 5
            seen += [item] if seen[-1:] != [item] else []
        profile, _ = system.profiling.profile(TENANT, user)
        assert [one.item_id for one in profile.recent] == seen[::-1][:6]


def test_of_what_nobody_read_none_stands_beside_an_interest_that_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.histories.tells", lambda ad, category: False)
    names = ["phone-ad", "watch-ad", *(f"{'phone' if place % 2 else 'shoe'}-{place}" for place in range(40)), "last-ad"]
    found = history(Items(), Known("watch-ad", "phone-ad"), names, off="phone")
    assert found.ids == ("watch-ad", *(f"shoe-{place}" for place in range(0, HISTORY_ITEMS - 2, 2)))


def test_what_is_left_out_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two equal turns there would have been something."""
    monkeypatch.setattr("shared.histories.tells", lambda ad, category: ad.ad_id == "watch-tells")
    names = ["shoe-1", "phone-1", "shoe-1", "watch-tells", "shoe-1", "watch-1", "shoe-1"]
    found = history(Items(), Known("watch-tells"), names, off="phone")
    assert found.ids == ("shoe-1", "watch-1", "shoe-1")
    np.testing.assert_allclose(found.ages, [0, 5 / 24, 6 / 24], rtol=1e-5)
    assert history(Items(), Known("watch-tells"), ["phone-1", "phone-2"], off="phone").vectors.shape == (0, 384)


@pytest.mark.slow
def test_a_profile_without_an_interest_does_not_tell_where_it_was(stores: Stores) -> None:
    system = FakeSystem(stores)
    catalogue(system, *(ad(name, topic) for name, topic in (("a", "watch"), ("b", "phone"), ("c", "watch"))))
    for place, item in enumerate(["a", "b", "a", "c"]):
        act(system, "ann", "view", "", item_id=item, event_id=f"e{place}", domain="ecommerce")
        system.clock.now += 5
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert [one.item_id for one in profile.recent] == ["c", "a", "b", "a"]
    (phones,) = {one.interest_id for one in profile.recent if one.item_id == "b"}
    system.profiling.edit_interests(TENANT, "ann", disable=[phones], enable=[])
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert [one.item_id for one in profile.recent] == ["c", "a"]
    act(system, "ann", "view", "", item_id="b", event_id="e4", domain="ecommerce")  # so that it is folded anew
    act(system, "ann", "view", "", item_id="c", event_id="e5", domain="ecommerce")
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert [one.item_id for one in profile.recent] == ["c", "a"]


def test_an_item_that_nobody_knows_is_no_ones_taste_while_an_interest_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.histories.tells", lambda ad, category: False)
    items = Items(known=False)
    assert history(items, Known("watch-ad"), ["shoe-1", "watch-ad"]).ids == ("shoe-1", "watch-ad")
    assert history(items, Known("watch-ad"), ["shoe-1", "watch-ad"], off="phone").ids == ("watch-ad",)


@pytest.mark.slow
def test_columns_are_of_as_many_items_as_the_click_model_reads(stores: Stores) -> None:
    system = FakeSystem(stores)
    names = [f"w{place}" for place in range(HISTORY_ITEMS + 5)]
    catalogue(system, *(ad(name, "watch") for name in names))
    for place, name in enumerate(names):
        act(system, "ann", "view", "", item_id=name, event_id=f"e{place}", domain="ecommerce")
        system.clock.now += 5
    answer = system.recommending.recommend(TENANT, "ann", n=2)
    stored = system.stores.delivery.get_decision(TENANT, answer.decision_id)
    assert stored is not None
    line = line_of(stored.log, {})
    assert line is not None
    assert line["history"] == names[::-1]
    activity = {row["features"][FEATURES.index("activity")] for row in line["candidates"]}
    assert list(activity) == pytest.approx([np.log1p(HISTORY_ITEMS)], rel=1e-3)
