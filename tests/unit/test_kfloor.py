"""No report, and no two reports, tell of fewer than k people: neither their figures nor any sum or difference of them.

Logs are random; what is attacked is a pair of reports: of the log and the log with one person less, of two weeks and of
both, of a segment and the one above it, at two floors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.disclosure import MONDAY, WEEK, KeyedRounding, rounded, settled, week_of
from infra.exposure import report
from infra.ope.decisions import WINDOW, Candidate, Decided, Shown

pytestmark = pytest.mark.slow

K = 5
FIRST = 2960  # a week
NOW = MONDAY + (FIRST + 4) * WEEK
NO_COLUMNS = np.zeros((0, 0), dtype=np.float32)
AGAINST = 64  # roundings that a change is looked at under: of a hundred or more, one in K may change a figure


def decision(number: int, person: int | None, week: int, ads: tuple[int, ...], clicks: int, child: bool) -> Decided:
    """One of a person (None: nobody), of segment ``parent``, and of ``child`` too."""
    return Decided(
        decision_id=f"d{number}",
        at=MONDAY + (FIRST + week) * WEEK + 3600.0 + number,
        person=None if person is None else f"p{person}",
        ranker="",
        epsilon=0.0,
        rotation=0.0,
        candidates=tuple(Candidate(f"ad{ad}", f"c{ad % 3}", frozenset(), 0, 1.0) for ad in ads),
        columns=NO_COLUMNS,
        shown=tuple(Shown(slot, f"ad{ad}", slot < clicks, True) for slot, ad in enumerate(ads)),
        segments=("parent", "child") if child else ("parent",),
        history=(),
        ages=(),
        as_of=NOW,
    )


@st.composite
def logs(draw: st.DrawFn) -> list[Decided]:
    """People about the floor's number, some of them alone with something, in up to three weeks."""
    people = draw(st.integers(1, 6 * K))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    alone = draw(st.integers(0, 2))
    found: list[Decided] = []
    for person in range(people):
        for _ in range(1 + int(rng.integers(3)) + 30 * (person < alone)):  # some see much more than anybody else
            ads = tuple(rng.choice(6, size=int(rng.integers(1, 4)), replace=False).tolist())
            who = None if rng.random() < 0.1 else person
            week = int(rng.integers(3)) if person >= alone else 0
            clicks = int(rng.integers(0, len(ads) + 1))
            found.append(decision(len(found), who, week, ads, clicks, child=person % 3 > 0))
    return found


class FixedRounding:
    """Rounds up from the same share of a step on, whatever the figure."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, count: int, step: int, *mark: str) -> int:
        return rounded(count, step, self.share)


def made(decided: list[Decided], rounding: Any = None, k: int = K, **more: Any) -> dict[str, Any]:
    return report(decided, k, rounding or KeyedRounding(b"a key of the test"), now=NOW, **more)


def figures(found: dict[str, Any]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Each published count by what it is of, with the step that k people's parts make."""
    rows: list[tuple[tuple[str, ...], dict[str, Any], str]] = [(("all",), found, "many")] if found["people"] else []
    rows += [(("slot", name), row, "many") for name, row in found["slots"].items()]
    rows += [(("campaign", name), row, "one_campaign") for name, row in found["campaigns"].items()]
    for name, row in found["segments"].items():
        rows.append((("segment", name), row, "many"))
        rows += [(("within", name, campaign), one, "one_campaign") for campaign, one in row["campaigns"].items()]
    return {
        (*row, name): (counts[name], found["steps"][kind][name])
        for row, counts, kind in rows
        for name in ("people", "impressions", "clicks")
    }


def exact_people(decided: list[Decided], row: tuple[str, ...], week: int) -> int:
    people: set[Any] = set()
    for one in decided:
        if week_of(one.at) != week or one.person is None:
            continue
        for shown in one.shown:
            campaign = f"c{int(shown.ad_id[2:]) % 3}"
            named = {("all",), ("campaign", campaign), ("slot", str(shown.slot + 1))}
            named |= {("segment", segment) for segment in one.segments}
            named |= {("within", segment, campaign) for segment in one.segments}
            if row in named:
                people.add(one.person)
    return len(people)


def weeks_of(decided: list[Decided]) -> Iterator[tuple[int, list[Decided]]]:
    for week in sorted({week_of(one.at) for one in decided}):
        yield week, [one for one in decided if week_of(one.at) == week]


@given(logs(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_no_figure_and_no_sum_or_difference_is_of_fewer_than_k(decided: list[Decided], seed: int) -> None:
    """Every figure is a multiple of what k people make of it, so whatever is added and subtracted is one too: of all
    pairs within a report, and across the reports of parts of the log."""
    rounding = KeyedRounding(str(seed).encode())
    parts = [decided, decided[::2], *(part for _, part in weeks_of(decided))]
    told: dict[str, list[tuple[int, int]]] = {"people": [], "impressions": [], "clicks": []}
    for part in parts:
        for name, (value, step) in figures(made(part, rounding)).items():
            assert step >= K and value % step == 0
            told[name[-1]].append((value, step))
    for kind in told.values():
        for (one, step), (other, least) in combinations(set(kind), 2):
            difference = abs(one - other)
            assert difference == 0 or difference >= min(step, least)
    for week, part in weeks_of(decided):
        for name in figures(made(part, rounding)):
            assert exact_people(decided, name[:-1], week) > K


@given(logs(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_person_more_or_less_hardly_ever_changes_a_figure_and_then_by_a_step(
    decided: list[Decided], data: st.DataObject
) -> None:
    """Yesterday's report and today's, of which one person has gone: whatever the key, at most one in k of the roundings
    tells them apart in any one figure."""
    known = sorted({one.person for one in decided if one.person is not None})
    if not known:
        return
    gone = data.draw(st.sampled_from(known))
    week = week_of(decided[0].at)
    before = [one for one in decided if week_of(one.at) == week]
    after = [one for one in before if one.person != gone]
    changed: dict[tuple[str, ...], int] = {}
    for place in range(AGAINST):
        rounding = FixedRounding((place + 0.5) / AGAINST)
        one, other = figures(made(before, rounding)), figures(made(after, rounding))
        for name in one.keys() | other.keys():
            (value, step), (rest, _) = one.get(name, (0, 1)), other.get(name, (0, 1))
            changed[name] = changed.get(name, 0) + (value != rest)
            if name in one and name in other:
                assert value - rest in (0, step)
    # A row that is told of no more takes its three figures with it, by the rounding of its people.
    for name, times in changed.items():
        assert times <= (1 if name[-1] == "people" else 2) * (AGAINST // K + 1), name


@given(logs())
@settings(max_examples=30, deadline=None)
def test_longer_reports_are_sums_of_weeks_that_are_told_anyway(decided: list[Decided]) -> None:
    """So the difference of two windows is a report, and not of a few people between them."""
    sums: dict[tuple[str, ...], int] = {}
    for _, part in weeks_of(decided):
        for name, (value, _) in figures(made(part)).items():
            sums[name] = sums.get(name, 0) + value
    assert {name: value for name, (value, _) in figures(made(decided)).items()} == sums


@given(logs(), st.integers(K, 4 * K))
@settings(max_examples=30, deadline=None)
def test_a_higher_floor_tells_less_in_the_same_figures(decided: list[Decided], floor: int) -> None:
    """Or many floors together would say how many people there are."""
    for _, part in weeks_of(decided):
        all_rows, fewer = figures(made(part)), figures(made(part, floor=floor))
        assert all(fewer[name] == all_rows[name] for name in fewer)
        for name in all_rows.keys() - fewer.keys():
            assert all_rows[(*name[:-1], "people")][0] < K + floor


def test_rounding_is_right_on_average_and_the_same_each_time() -> None:
    one, other = KeyedRounding(b"one"), KeyedRounding(b"other")
    names = [str(number) for number in range(400)]
    assert [one(7, K, name) for name in names] == [one(7, K, name) for name in names]
    assert [one(7, K, name) for name in names] != [other(7, K, name) for name in names]
    for count in (0, 1, 5, 7, 14):
        assert abs(np.mean([one(count, K, name) for name in names]) - count) < 0.5
        assert {one(count, K, name) for name in names} <= {count // K * K, -(-count // K) * K}


def test_a_week_is_settled_when_its_last_click_has_been_written() -> None:
    end = MONDAY + (FIRST + 1) * WEEK
    assert week_of(end - 1) == FIRST and week_of(end) == FIRST + 1
    assert not settled(FIRST, end + WINDOW, WINDOW) and settled(FIRST, end + WINDOW + 7200, WINDOW)
    young = [replace(decision(0, 1, 0, (1,), 0, child=False), at=NOW - 3600.0)]
    assert made(young * 100)["weeks"] == []
