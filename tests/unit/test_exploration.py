"""The slate's policy: exact chances, rules that no draw breaks, and a log from which true means come back."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.exploration import Ration, Slate, Traits, slate

pytestmark = pytest.mark.slow

CAMPAIGNS = st.sampled_from([None, "a", "b", "c"])
LABELS = st.frozensets(st.sampled_from(["car", "phone"]), max_size=2)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 30))
    scores = np.sort(np.array(draw(st.lists(st.floats(1e-6, 0.99), min_size=count, max_size=count))))[::-1]
    most, per_category = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    traits = []
    for _ in range(count):
        campaign, category = draw(CAMPAIGNS), draw(st.sampled_from(["x", "y", "z", "w"]))
        counted = {f"t:{category}": Ration(per_category, strict=True)}
        if campaign:
            counted[f"c:{campaign}"] = Ration(most)
        traits.append(Traits(counted, draw(LABELS), campaign))
    return {
        "scores": scores,
        "traits": traits,
        "slots": draw(st.integers(1, 8)),
        "epsilon": draw(st.floats(0, 0.5)),
        "rotation": draw(st.floats(0, 0.5)),
    }


def made(case: dict[str, Any]) -> Slate:
    return slate(case["scores"], case["traits"], case["slots"], epsilon=case["epsilon"], rotation=case["rotation"])


@settings(deadline=None)
@given(cases())
def test_the_chances_of_every_slot_sum_to_one(case: dict[str, Any]) -> None:
    plan = made(case)
    assert all(sum(chances.values()) == pytest.approx(1) for chances in plan.chances)
    places = [place for place, _ in plan.places()]
    assert len(places) == len(set(places))
    for slot in range(plan.slots):
        assert sum(plan.propensity(place, slot) for place in places) == pytest.approx(1)
    for place, own in plan.places():  # wherever it may be shown, together as often as its own chance says
        assert sum(plan.propensity(place, slot) for slot in range(plan.slots)) == pytest.approx(
            plan.chances[own][place]
        )


@settings(deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_no_draw_shows_an_ad_twice_or_breaks_a_rule(case: dict[str, Any], seed: int) -> None:
    plan = made(case)
    shown = [case["traits"][place] for place in plan.draw(np.random.default_rng(seed))]
    drawn = plan.draw(np.random.default_rng(seed))
    assert len(set(drawn)) == len(drawn) == plan.slots
    assert all(plan.propensity(place, slot) > 0 for slot, place in enumerate(drawn))
    for group, count in Counter(group for one in shown for group in one.counted).items():
        ration = next(one.counted[group] for one in shown if group in one.counted)
        assert not ration.strict or count <= ration.most
    for place, one in enumerate(shown):
        for other in shown[:place]:
            assert not one.labels & other.labels or (one.campaign == other.campaign and one.campaign is not None)


@settings(deadline=None)
@given(cases())
def test_a_loose_ration_never_makes_the_answer_shorter(case: dict[str, Any]) -> None:
    loose = [Traits({name: Ration(one.most) for name, one in own.counted.items()}) for own in case["traits"]]
    assert made(case | {"traits": loose}).slots == min(case["slots"], len(loose))


def test_a_catalogue_of_one_brand_explores_too() -> None:
    traits = [Traits({"b:only": Ration(3)})] * 40
    plan = slate(np.linspace(0.5, 0.1, 40), traits, 5, epsilon=0.5, rotation=0)
    assert plan.slots == 5 and all(len(pool) == 4 for pool in plan.pools)


def test_without_exploration_the_best_are_shown_for_certain() -> None:
    plan = slate(np.array([0.5, 0.4, 0.3]), [Traits({})] * 3, 2, epsilon=0, rotation=0)
    assert plan.base == (0, 1) and plan.pools == ((), ())
    assert {plan.draw(np.random.default_rng(seed)) for seed in range(50)} == {(0, 1)}
    assert plan.propensity(0, 0) == 1 and plan.propensity(2, 0) == 0


def test_diversity_puts_an_unlike_ad_before_a_slightly_better_like_one() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    scores = np.array([0.5, 0.45, 0.4])
    bases = [
        slate(scores, [Traits({})] * 3, 2, epsilon=0, rotation=0, vectors=vectors, diversity=value).base
        for value in (0.0, 1.0)
    ]
    assert bases == [(0, 1), (0, 2)]


def _within(chance: float, draws: int) -> float:
    """How far a share of so many draws may lie from its chance: Bernstein's inequality, broken in one of 134,000 cases
    at most. Five standard errors alone are too few where a draw in a hundred thousand is expected and one comes."""
    return 5 * sqrt(chance * (1 - chance) / draws) + 25 / (3 * draws)


@settings(max_examples=5, deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_ads_come_as_often_as_their_propensity_says(case: dict[str, Any], seed: int) -> None:
    plan, rng, draws = made(case), np.random.default_rng(seed), 4000
    seen = Counter((place, slot) for _ in range(draws) for slot, place in enumerate(plan.draw(rng)))
    for place, _ in plan.places():
        for slot in range(plan.slots):
            chance = plan.propensity(place, slot)
            assert abs(seen[place, slot] / draws - chance) <= _within(chance, draws)


def test_of_20000_decisions_the_log_gives_back_the_true_means() -> None:
    """Clicks depend on the ad and its slot; the mean of a policy that was never in force lies in its interval too."""
    rng = np.random.default_rng(7)
    decisions, slots, ads = 20_000, 4, 24
    worth = rng.uniform(0.02, 0.3, size=ads)
    pairing = np.clip(worth[:, None] * rng.uniform(0.3, 1.0, size=(ads, slots)), 0, 1)
    scores = np.sort(rng.uniform(0.05, 0.4, size=ads))[::-1]
    plan = slate(scores, [Traits({f"c:{n % 9}": Ration(2)}) for n in range(ads)], slots, epsilon=0.3, rotation=0.3)
    # The other policy shows the best ad of its pool in each slot, or the slot's own where it has none.
    other = [pool[0] if pool else base for base, pool in zip(plan.base, plan.pools, strict=True)]
    truth = {"own": 0.0, "other": float(sum(pairing[place, slot] for slot, place in enumerate(other)))}
    for place, _ in plan.places():
        truth["own"] += sum(plan.propensity(place, slot) * pairing[place, slot] for slot in range(slots))
    values: dict[str, list[float]] = {"own": [], "other": []}
    for _ in range(decisions):
        drawn = plan.draw(rng)
        clicks = rng.random(slots) < pairing[list(drawn), range(slots)]
        values["own"].append(float(clicks.sum()))
        values["other"].append(
            sum(
                click / plan.propensity(place, slot)
                for slot, (place, click) in enumerate(zip(drawn, clicks, strict=True))
                if place == other[slot]
            )
        )
    for name, found in values.items():
        half = 1.96 * np.std(found) / np.sqrt(decisions)
        assert abs(np.mean(found) - truth[name]) <= half, (name, np.mean(found), truth[name], half)
