"""What the rank task is made of: transitions, baselines, the order of histories, new items, and an untouched test."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from infra.evaluate import cold_items, rank
from infra.evaluate.histories import Histories, read_histories
from infra.training.next_item_mixture import content
from infra.training.sequence import Plan
from infra.training.transitions import Setting, Transitions, search, smoothed, text_neighbours, transitions
from tests.data import shared_data

pytestmark = pytest.mark.slow

PLAN = Plan(width=16, content=16, layers=1, epochs=4, batch=64, rate=1e-2, dropout=0.1, id_dropout=0.3)


def write(folder: Path, histories: list[list[int]], titles: list[str]) -> tuple[Path, Path]:
    items, events = folder / "items.jsonl", folder / "events.jsonl"
    rows = [{"item_id": str(number), "title": title, "categories": None} for number, title in enumerate(titles)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        {"user_id": user, "item_id": str(item), "event": "purchase", "position": place}
        for user, history in enumerate(histories)
        for place, item in enumerate(history)
    ]
    np.random.default_rng(0).shuffle(lines)
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return items, events


def by_topic(texts: list[str]) -> np.ndarray:
    """A vector for each title "topic number": its topic and a little of its own."""
    centres = np.random.default_rng(2).normal(size=(8, 24))
    own = np.random.default_rng(3).normal(size=(len(texts), 24))
    vectors = np.stack([centres[int(text.split()[0])] for text in texts]) + 0.4 * own
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def topical(folder: Path, people: int = 200) -> tuple[Path, Path]:
    generator = np.random.default_rng(1)
    histories = []
    for _ in range(people):
        topic = int(generator.integers(5))
        histories.append([topic * 12 + int(place) for place in generator.permutation(12)[: generator.integers(4, 9)]])
    return write(folder, histories, [f"{number // 12} {number}" for number in range(60)])


def test_transitions_weigh_distance_and_direction() -> None:
    matrix = transitions([np.array([0, 1, 2]), np.array([0, 1])], 4, power=1.0, backward=0.25).toarray()
    assert matrix[0, 1] == pytest.approx(2.0)  # twice, side by side
    assert matrix[0, 2] == pytest.approx(0.5)  # two steps away
    assert matrix[1, 0] == pytest.approx(0.5)  # twice, the other way round
    assert not matrix[3].any() and not matrix[:, 3].any()
    assert not transitions([np.array([0, 0])], 1, 1.0, 0.25).nnz  # an item does not follow itself
    assert transitions([np.array([0])], 2, 1.0, 0.25).shape == (2, 2)


def test_scores_of_transitions_weigh_age_and_count() -> None:
    model = Transitions([np.array([0, 2]), np.array([1, 3]), np.array([1])], 4)
    setting = Setting(power=1.0, backward=0.0, decay=0.5, damping=1.0)
    (scores,) = model.scores([np.array([0, 1])], setting)
    assert scores[0].tolist() == pytest.approx([0, 0, 0.5, 0.5])  # item 0: older; item 1: latest, but twice as common


def test_smoothing_lends_to_text_neighbours() -> None:
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], np.float32)
    near = text_neighbours(vectors, 1)
    assert near.toarray().argmax(axis=1).tolist() == [1, 0, 3, 2]
    np.testing.assert_allclose(near.sum(axis=1), 1, rtol=1e-5)
    matrix = smoothed(transitions([np.array([0, 2])], 4, 1.0, 0.0), near, 0.3).toarray()
    expected = {(0, 2): 0.49, (0, 3): 0.21, (1, 2): 0.21, (1, 3): 0.09}
    for place, value in expected.items():
        assert matrix[place] == pytest.approx(value, rel=1e-4)


def test_the_search_ends_in_time_with_the_best_it_has_seen() -> None:
    found, value = search(Setting(), {"decay": (0.5, 0.85)}, lambda one: one.decay, time.monotonic() + 9)
    assert (found.decay, value) == (0.85, 0.85)
    found, value = search(Setting(), {"decay": (0.5, 0.85)}, lambda one: one.decay, time.monotonic() - 1)
    assert (found, value) == (Setting(), 0.7)


def test_baselines_by_hand() -> None:
    histories = [np.array([0, 1]), np.array([0, 1, 2]), np.array([2, 3])]
    (scores,) = rank.popularity(histories, 4, histories[:1])
    assert scores.tolist() == [[2, 2, 2, 1]]
    (scores,) = rank.co_occurrence(histories, 4, [np.array([3, 1])])
    assert scores.tolist() == [[2, 2, 1, 0]]  # of the last item alone, 1: two people, one of whom has 2
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    (scores,) = content(vectors, [np.array([0, 1])], 0.5)
    query = np.array([0.5, 1]) / np.hypot(0.5, 1)
    np.testing.assert_allclose(scores[0], vectors @ query, rtol=1e-5)


def test_histories_are_in_order_of_time_and_ties_in_that_of_the_file(tmp_path: Path) -> None:
    items, events = tmp_path / "items.jsonl", tmp_path / "events.jsonl"
    items.write_text("".join(json.dumps({"item_id": name, "title": name}) + "\n" for name in "abcde"))
    rows = [("u", "e", 5), ("u", "b", 1), ("u", "a", 1), ("v", "a", 1), ("v", "b", 1), ("u", "unknown", 2)]
    events.write_text(
        "".join(json.dumps(dict(zip(("user_id", "item_id", "timestamp"), row, strict=True))) + "\n" for row in rows)
    )
    histories, texts = read_histories(items, events)
    assert [[histories.item_ids[item] for item in user] for user in histories.users] == [["b", "a", "e"]]
    assert texts == list("abcde")


def test_histories_are_shuffled_each_by_itself() -> None:
    histories = Histories([np.arange(9), np.arange(9, 30)], [str(number) for number in range(30)])
    found = histories.shuffled(np.random.default_rng(0))
    assert [sorted(user.tolist()) for user in found.users] == [user.tolist() for user in histories.users]
    assert all(a.tolist() != b.tolist() for a, b in zip(found.users, histories.users, strict=True))
    assert found.item_ids == histories.item_ids


@pytest.mark.slow
def test_the_test_item_changes_nothing_that_is_chosen(tmp_path: Path) -> None:
    items, events = topical(tmp_path, 120)
    first = rank.run(items, events, by_topic, k=5, plan=PLAN, budget_seconds=30_000)
    rows = [json.loads(line) for line in events.read_text().splitlines()]
    last = {row["user_id"]: max(one["position"] for one in rows if one["user_id"] == row["user_id"]) for row in rows}
    for row in rows:
        if row["position"] == last[row["user_id"]]:
            row["item_id"] = "0"
    events.write_text("".join(json.dumps(row) + "\n" for row in rows))
    second = rank.run(items, events, by_topic, k=5, plan=PLAN, budget_seconds=30_000)
    assert first["settings"] == second["settings"]
    assert first["recall"] != second["recall"]
    assert first["recall"] > first["baselines"]["popularity"]["recall"]


@pytest.mark.slow
def test_new_items_are_found_by_their_text(tmp_path: Path) -> None:
    items, events = topical(tmp_path, 300)
    found = cold_items.run(items, events, by_topic, share=0.2, k=3, plan=PLAN, budget_seconds=300)
    assert found["new_items"] > 3 and found["users"] > 10
    assert found["among_new"]["ours"] > 1.5 * found["among_new"]["chance"]
    assert found["among_all"]["ours"] > found["among_all"]["chance"]


@pytest.mark.slow
def test_beauty_is_ranked_better_than_by_transitions(tmp_path: Path) -> None:
    from infra.evaluate.__main__ import ENCODER
    from shared.models.encoder import Encoder
    from tests.data import artifact

    artifact("encoder")
    encoder = Encoder.load(ENCODER)
    source = shared_data("behaviour/beauty")
    found = rank.run(
        next(source.glob("items*")),
        next(source.glob("events*")),
        lambda texts: encoder.encode(texts, "passage"),
        budget_seconds=240,
    )
    assert found["recall"] > found["baselines"]["transitions"]["recall"]
    assert found["ndcg"] > found["baselines"]["transitions"]["ndcg"]
