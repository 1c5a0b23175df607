"""The next-item model: what is served is what was trained, new items by their text, and refusals."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.training import linear, next_item, next_item_mixture, sequence, transitions
from infra.training.next_item import Fitted, fit
from infra.training.next_item_mixture import content, joined, rare
from infra.training.sequence import Course, Net, Plan
from shared.errors import ArtifactError
from shared.models.next_item import AGE_CLASSES, BOUND, NextItem, Prepared
from tests.unit.test_linear import tastes

pytestmark = pytest.mark.slow

TOPICS, EACH, DIMENSIONS = 5, 12, 24
PLAN = Plan(width=16, content=16, layers=1, epochs=5, batch=32, rate=1e-2, dropout=0.1, id_dropout=0.3)


def world(people: int = 200) -> tuple[list[np.ndarray], np.ndarray]:
    """Histories that stay within a topic, and texts that tell the topic; item i is of topic i // EACH."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(TOPICS, DIMENSIONS))
    vectors = np.repeat(centres, EACH, axis=0) + 0.4 * generator.normal(size=(TOPICS * EACH, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    histories = []
    for _ in range(people):
        topic = int(generator.integers(TOPICS))
        histories.append(topic * EACH + generator.permutation(EACH)[: generator.integers(3, 9)])
    return histories, vectors.astype(np.float32)


IDS = [f"ad {number}" for number in range(TOPICS * EACH)]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """Without the last item of each topic, which is new to the model."""
    histories, vectors = world()
    kept = [number for number in range(len(IDS)) if number % EACH != EACH - 1]
    places = {number: place for place, number in enumerate(kept)}
    known = [np.array([places[item] for item in history if item in places]) for history in histories]
    return fit(known, [IDS[number] for number in kept], vectors[kept], plan=PLAN, members=2)


@pytest.fixture(scope="module")
def served(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> NextItem:
    folder = tmp_path_factory.mktemp("ranker") / "next_item"
    fitted.save(folder)
    return NextItem.load(folder, threads=1)


@pytest.fixture(scope="module")
def catalogue(served: NextItem) -> Prepared:
    return served.prepare(IDS, world()[1])


def asked(model: NextItem, catalogue: Prepared, ids: list[str], vectors: np.ndarray | None = None) -> np.ndarray:
    """Scores after a history, the latest first; vectors of zeros unless given."""
    shown = np.zeros((len(ids), DIMENSIONS), np.float32) if vectors is None else vectors
    return model.scores(catalogue, ids, shown, np.arange(len(ids), dtype=np.float32))


def test_what_is_served_is_what_was_trained(fitted: Fitted, served: NextItem) -> None:
    items = len(fitted.item_ids)
    # The catalogue lists the ads in another order than the training; known items need no vectors.
    order = np.random.default_rng(0).permutation(items)
    prepared = served.prepare([fitted.item_ids[place] for place in order], np.zeros((items, DIMENSIONS), np.float32))
    histories = [np.array([0]), np.array([3, 12, 40]), np.arange(5, 20), np.array([7, 7, 8])]
    trained = next(fitted.scores(histories))
    for history, row in zip(histories, trained, strict=True):
        found = asked(served, prepared, [fitted.item_ids[item] for item in history[::-1]])
        expected = BOUND * np.tanh((row + np.log(items)) / BOUND)
        np.testing.assert_allclose(found, expected[order], atol=2e-3)


@pytest.mark.parametrize("weight", [0.0, 6.0])
def test_the_likeness_of_the_texts_is_served_where_it_counts(fitted: Fitted, tmp_path: Path, weight: float) -> None:
    one = replace(fitted, mixture=replace(fitted.mixture, content=weight, age=0.5))
    one.save(tmp_path)
    served = NextItem.load(tmp_path)
    items = len(one.item_ids)
    prepared = served.prepare(one.item_ids, np.zeros((items, DIMENSIONS), np.float32))
    assert prepared.matrix.shape[1] == PLAN.width * (len(one.nets) + bool(weight))
    history = np.array([3, 12, 40, 12])
    expected = next(one.scores([history]))[0] + np.log(items)
    found = asked(served, prepared, [one.item_ids[item] for item in history[::-1]])
    np.testing.assert_allclose(found, BOUND * np.tanh(expected / BOUND), atol=2e-3)


@pytest.mark.parametrize(("share", "memory"), [(0.0, 1.0), (0.5, 0.7)])
def test_what_people_have_together_is_served_where_it_counts(
    fitted: Fitted, tmp_path: Path, share: float, memory: float
) -> None:
    histories, _ = world()
    items = len(fitted.item_ids)
    table = linear.weights([history[history < items] for history in histories], items, 10.0)
    mixture = replace(fitted.mixture, linear=20.0, memory=memory, share=share)
    one = replace(fitted, mixture=mixture, together=table)
    one.save(tmp_path)
    served = NextItem.load(tmp_path)
    fitted.save(tmp_path / "without")
    assert NextItem.load(tmp_path / "without").version != served.version
    prepared = served.prepare(one.item_ids, np.zeros((items, DIMENSIONS), np.float32))
    history = np.array([3, 12, 40, 12])
    expected = next(one.scores([history]))[0] + np.log(items)
    found = asked(served, prepared, [one.item_ids[item] for item in history[::-1]])
    np.testing.assert_allclose(found, BOUND * np.tanh(expected / BOUND), atol=2e-3)


def test_what_was_had_is_served_by_its_age(fitted: Fitted, tmp_path: Path) -> None:
    repeat = tuple(np.linspace(-2, 3, AGE_CLASSES).tolist())
    one = replace(fitted, mixture=replace(fitted.mixture, repeat=repeat, often=0.7))
    one.save(tmp_path)
    served = NextItem.load(tmp_path)
    items = len(one.item_ids)
    prepared = served.prepare(one.item_ids, np.zeros((items, DIMENSIONS), np.float32))
    history = np.array([3, 12, 40, 12, 7, 3])
    expected = next(one.scores([history]))[0] + np.log(items)
    ids = [one.item_ids[item] for item in history[::-1]]
    np.testing.assert_allclose(asked(served, prepared, ids), BOUND * np.tanh(expected / BOUND), atol=2e-3)
    level = replace(fitted, mixture=replace(fitted.mixture, repeat=(0.0,) * AGE_CLASSES, often=0.0))
    moved = (next(one.scores([history])) - next(level.scores([history])))[0]
    steps = moved[[3, 7, 12, 40]] - moved[0]  # of ages 0 to 3, two of them had twice
    expected = np.array(repeat)[[0, 1, 1, 2]] + 0.7 * np.log([2, 1, 2, 1])
    np.testing.assert_allclose(steps, fitted.mixture.sharpness * expected, atol=1e-3)


def test_what_people_take_again_after_a_while_is_offered_then() -> None:
    generator = np.random.default_rng(5)
    _, vectors = world()
    histories = [
        np.concatenate([own, own, own[:4]])  # everybody goes round among ten things, always in the same order
        for own in (generator.permutation(len(IDS))[:10] for _ in range(150))
    ]
    found = fit(histories, IDS, vectors, plan=PLAN, members=1)
    assert np.argmax(found.mixture.repeat[:4]) == 3  # seven others and more since
    rounds = [history[:-1] for history in histories]
    oldest = [history[-10] for history in rounds]
    level = replace(found, mixture=replace(found.mixture, repeat=(found.mixture.repeat[3],) * AGE_CLASSES))
    first = [np.mean(next(one.scores(rounds)).argmax(axis=1) == oldest) for one in (found, level)]
    assert first[0] > 1.2 * first[1]


def test_where_order_says_nothing_what_people_have_together_decides() -> None:
    vectors = np.random.default_rng(0).normal(size=(len(IDS), DIMENSIONS)).astype(np.float32)  # texts that tell nothing
    found = fit(tastes(300, len(IDS), 20), IDS, vectors, plan=PLAN, members=1)
    assert found.mixture.linear
    assert found.figures["validation"]["worth"] > 1.1 * found.figures["validation"]["transitions"]


def test_content_is_the_cosine_with_the_decayed_mean_of_the_history() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = next(content(vectors, [np.array([1, 0]), np.array([1, 1, 0])], 0.5, length=2))
    query = np.array([1, 0.5]) / np.sqrt(1.25)  # the last two items of either
    np.testing.assert_allclose(found, np.tile(vectors @ query, (2, 1)), rtol=1e-6)


def test_transitions_to_what_many_took_count_less() -> None:
    np.testing.assert_allclose(rare(np.array([0, 1, 16], np.float32), 0.5), [1, 1, 0.25])
    assert (rare(np.array([0, 5], np.float32), 0.0) == 1).all()


def test_the_mean_ad_is_about_as_likely_as_the_scores_say(served: NextItem, catalogue: Prepared) -> None:
    scores = asked(served, catalogue, [IDS[3], IDS[5]])
    unbounded = BOUND * np.arctanh(np.clip(scores / BOUND, -0.999999, 0.999999))
    others = [row for row in range(len(IDS)) if row not in (3, 5)]  # what was had is next to impossible
    assert 0.9 < np.exp(unbounded[others]).sum() / len(IDS) <= 1.0
    assert np.abs(scores).max() < BOUND


def test_a_history_lifts_its_topic(served: NextItem, catalogue: Prepared) -> None:
    for topic in range(TOPICS):
        scores = asked(served, catalogue, [IDS[topic * EACH + 1], IDS[topic * EACH + 2]])
        inside = np.arange(len(IDS)) // EACH == topic
        inside[[topic * EACH + 1, topic * EACH + 2]] = False
        assert scores[inside].mean() > scores[np.arange(len(IDS)) // EACH != topic].max() - 1.0
        assert scores[inside].mean() > 0.5


def test_what_a_person_had_is_not_offered_again_where_nobody_takes_a_thing_twice(
    fitted: Fitted, served: NextItem, catalogue: Prepared
) -> None:
    assert fitted.exclude_seen
    assert asked(served, catalogue, [IDS[3], IDS[5]])[[3, 5]].max() < -2


def test_new_items_are_placed_by_their_text(served: NextItem, catalogue: Prepared) -> None:
    new = np.arange(EACH - 1, len(IDS), EACH)
    for topic in range(TOPICS):
        scores = asked(served, catalogue, [IDS[topic * EACH + 1], IDS[topic * EACH + 4]])
        assert new[scores[new].argmax()] // EACH == topic


def test_a_history_of_new_items_is_read_by_their_texts(served: NextItem, catalogue: Prepared) -> None:
    vectors = world()[1]
    for topic in range(TOPICS):
        last = topic * EACH + EACH - 1
        scores = asked(served, catalogue, ["never seen"], vectors[last : last + 1])
        best = np.argsort(-scores)[:5] // EACH
        assert (best == topic).sum() >= 4


def test_nobody_known_is_moved_nowhere(served: NextItem, catalogue: Prepared) -> None:
    assert not asked(served, catalogue, []).any()
    assert not asked(served, catalogue, ["unknown", "unknown too"]).any()
    assert served.scores(served.prepare([], np.zeros((0, DIMENSIONS))), [IDS[0]], world()[1][:1], np.zeros(1)).size == 0


def test_ages_tell_the_order(served: NextItem, catalogue: Prepared) -> None:
    ids = [IDS[2], IDS[30], IDS[50]]
    vectors = np.zeros((3, DIMENSIONS), np.float32)
    straight = served.scores(catalogue, ids, vectors, np.array([0.1, 2.0, 9.0]))
    turned = served.scores(catalogue, ids[::-1], vectors, np.array([9.0, 2.0, 0.1]))
    np.testing.assert_array_equal(straight, turned)
    assert np.abs(straight - served.scores(catalogue, ids, vectors, np.array([9.0, 2.0, 0.1]))).max() > 0.01


def test_a_history_longer_than_the_training_s_is_cut(served: NextItem, catalogue: Prepared) -> None:
    many = [IDS[number % 50] for number in range(90)]
    short = many[: served.length]
    others = [row for row, ad in enumerate(IDS) if ad not in many]  # what was had long ago is still not offered again
    order = asked(served, catalogue, many)[others].argsort()
    np.testing.assert_array_equal(order, asked(served, catalogue, short)[others].argsort())


def test_the_version_changes_with_the_content(fitted: Fitted, served: NextItem, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    assert NextItem.load(tmp_path).version == served.version
    arrays = dict(np.load(tmp_path / "next_item.npz"))
    assert fitted.table.nnz == len(arrays["columns"])
    histories, vectors = world(100)
    other = fit(histories, IDS, vectors, plan=PLAN, members=1, seed=1)
    other.save(tmp_path)
    assert NextItem.load(tmp_path).version != served.version


@pytest.mark.parametrize("damage", ["settings", "format", "repeats", "graph", "items", "arrays"])
def test_a_damaged_artefact_is_refused(fitted: Fitted, tmp_path: Path, damage: str) -> None:
    fitted.save(tmp_path)
    if damage == "settings":
        (tmp_path / "next_item.json").unlink()
    elif damage == "format":
        settings = json.loads((tmp_path / "next_item.json").read_text())
        (tmp_path / "next_item.json").write_text(json.dumps(settings | {"format": 0}))
    elif damage == "repeats":
        settings = json.loads((tmp_path / "next_item.json").read_text())
        (tmp_path / "next_item.json").write_text(json.dumps(settings | {"repeat": [0.5]}))
    elif damage == "graph":
        (tmp_path / "sequence-1.onnx").write_bytes(b"no graph")
    elif damage == "items":
        (tmp_path / "items.json").write_text(json.dumps(["one"]))
    else:
        (tmp_path / "next_item.npz").write_bytes(b"nothing")
    with pytest.raises(ArtifactError):
        NextItem.load(tmp_path)


def test_too_few_histories_are_refused() -> None:
    histories, vectors = world(20)
    with pytest.raises(ValueError, match="30 are needed"):
        fit(histories, IDS, vectors, plan=PLAN)


def test_figures_can_be_written_into_a_manifest(fitted: Fitted) -> None:
    figures = json.loads(json.dumps(fitted.figures))
    assert figures["validation"]["worth"] > 0.95 * figures["validation"]["transitions"]  # it may be nearly those alone
    assert figures["repeats"] == 0


def test_training_ends_by_its_deadline() -> None:
    histories, vectors = world(400)
    began = time.monotonic()
    plan = Plan(width=32, content=16, epochs=500)
    fit(histories, IDS, vectors, plan=plan, members=1, deadline=began + 4)
    assert time.monotonic() - began < 12


def test_as_many_nets_as_there_is_time_for() -> None:
    assert [next_item._affordable(3, 10, left) for left in (5, 37, 38, 62, 63, 1000)] == [1, 1, 2, 2, 3, 3]
    assert next_item._affordable(1, 1, 1000) == 1


def test_batches_suit_the_histories() -> None:
    few = next_item._plan(Plan(), 50, [np.arange(4)] * 60)
    assert (few.batch, few.length, few.sample, few.epochs) == (8, 4, 50, 24)
    many = next_item._plan(Plan(), 5000, [np.arange(6)] * 30_000)
    assert (many.batch, many.epochs) == (256, Plan().epochs)
    long = next_item._plan(Plan(), 5000, [np.arange(400)] * 3000)
    assert (long.batch, long.length) == (48, 50)


def test_the_mixture_may_be_chosen_on_some_of_the_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_item_mixture, "FEWEST_USERS", 170)
    monkeypatch.setattr(next_item_mixture, "BLEND_CELLS", 1)
    monkeypatch.setattr(next_item_mixture, "BATCH", 150)  # 170 people of 200: the second batch is cut short
    monkeypatch.setattr(transitions, "BATCH", 150)
    histories, vectors = world()
    assert fit(histories, IDS, vectors, plan=PLAN, members=1).figures["validation"]["worth"] > 0.2


@pytest.mark.parametrize(("share", "again"), [(0.6, 0), (0.8, 1)])
def test_a_net_that_has_no_time_to_be_trained_again_stays_as_it_was_judged(
    share: float, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def train(*rest: Any, seconds: float, repeat: Course | None = None, **more: Any) -> tuple[Net, Course]:
        if repeat is not None:
            repeat = replace(repeat, steps=max(1, int(share * repeat.steps)))
        made.append(real(*rest, repeat=repeat, **more))
        return made[-1]

    real = sequence.train
    monkeypatch.setattr(sequence, "train", train)
    histories, vectors = world()
    found = fit(histories, IDS, vectors, plan=PLAN, members=1)
    assert found.nets[0] is made[again][0]
    assert found.figures["trained_again"] == again


def test_a_net_that_had_less_time_and_is_much_worse_than_the_best_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def train(*rest: Any, seed: int, repeat: Course | None = None, **more: Any) -> tuple[Net, Course]:
        net, course = real(*rest, seed=seed, repeat=repeat, **more)
        asked.append(seed)
        return net, replace(course, best=0.3 - 0.1 * (seed in (1, 2)), planned=course.planned - (seed == 1))

    real = sequence.train
    monkeypatch.setattr(sequence, "train", train)
    histories, vectors = world()
    found = fit(histories, IDS, vectors, plan=replace(PLAN, epochs=1), members=3)
    assert sorted(asked) == [0, 0, 1, 2, 2]  # the third is no better, and had its time
    assert len(found.nets) == len(found.figures["steps"]) == 2
    assert found.figures["left_out"] == 1


@pytest.mark.parametrize(("share", "epochs"), [(1.0, [2, 4, 8]), (0.5, [2, 2, 2])])
def test_a_net_that_was_best_at_its_end_lets_the_next_learn_longer(
    share: float, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def train(*rest: Any, repeat: Course | None = None, **more: Any) -> tuple[Net, Course]:
        net, course = real(*rest, repeat=repeat, **more)
        if repeat is None:
            asked.append(rest[2].epochs)
        return net, replace(course, steps=int(share * course.planned), best=0.1 * len(asked))

    real = sequence.train
    monkeypatch.setattr(sequence, "train", train)
    monkeypatch.setattr(next_item, "FEWEST_STEPS", 1)
    histories, vectors = world()
    fit(histories, IDS, vectors, plan=replace(PLAN, epochs=2), members=3)
    assert asked == epochs


def test_repeats_are_offered_where_people_repeat() -> None:
    generator = np.random.default_rng(5)
    _, vectors = world()
    histories = []
    for _ in range(150):  # everybody goes round among three things
        own = generator.choice(len(IDS), 3, replace=False)
        histories.append(np.concatenate([generator.permutation(own) for _ in range(3)]))
    found = fit(histories, IDS, vectors, plan=PLAN, members=1)
    assert not found.exclude_seen
    assert found.mixture.repeat[1] > 0  # of three things the latest comes at once or not
    assert found.figures["repeats"] > 0.9
    scores = next(found.scores([history[:-1] for history in histories]))
    first = scores.argmax(axis=1)
    assert np.mean([place in history for place, history in zip(first, histories, strict=True)]) > 0.9


def test_the_product_weighs_both_distributions() -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]], np.float32)) + 7  # not normalised
    moves = np.array([[0, 2, 2, 0], [0, 0, 0, 0]], np.float32)
    found = joined(logits, moves, 0.25, 0.01)
    expected = 0.75 * np.log([0.1, 0.2, 0.3, 0.4]) + 0.25 * np.log(np.array([0, 0.5, 0.5, 0]) + 0.01)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert found[1].argsort().tolist() == [0, 1, 2, 3]  # nothing follows: the nets alone decide
    np.testing.assert_allclose(joined(logits, moves, 0.0, 0.01)[0], np.log([0.1, 0.2, 0.3, 0.4]), rtol=1e-5)


def test_a_gain_that_may_be_chance_is_none() -> None:
    assert next_item_mixture._surely(np.full(10, 0.1))
    assert not next_item_mixture._surely(np.full(10, -0.1))
    assert not next_item_mixture._surely(np.array([1.0, -0.9, 0.8, -0.8]))
    assert next_item_mixture._surely(np.tile([0.2, 0.0], 500))


def test_a_new_ad_stays_as_likely_as_it_was_beside_the_linear_model(fitted: Fitted, tmp_path: Path) -> None:
    items = len(fitted.item_ids)
    table = linear.weights([history[history < items] for history in world()[0]], items, 10.0)
    found = {}
    for factor in (0.0, 30.0):
        mixture = replace(fitted.mixture, linear=factor, share=0.0, sharpness=1.0, repeat=(0.0,) * AGE_CLASSES)
        replace(fitted, mixture=mixture, together=table).save(tmp_path / str(factor))
        model = NextItem.load(tmp_path / str(factor))
        prepared = model.prepare(IDS, world()[1])
        scores = asked(model, prepared, [IDS[1], IDS[2]])
        found[factor] = BOUND * np.arctanh(scores.astype(float) / BOUND)
    new = prepared.new
    assert new.any() and np.abs(found[0.0] - found[30.0])[~new].max() > 0.5
    np.testing.assert_allclose(found[0.0][new], found[30.0][new], atol=0.02)


def test_penalties_are_tried_while_there_is_time() -> None:
    histories = tastes(200, 40, 10)
    fitting, targets = [history[:-1] for history in histories], np.array([history[-1] for history in histories])
    validation = next_item_mixture.Validation(fitting, targets, True, 40)
    assert next_item._penalised(fitting, validation, 40, time.monotonic() - 1)[0] == linear.PENALTIES[0]
    worths = {
        penalty: validation.of(linear.scores(linear.weights(fitting, 40, penalty), fitting, 1.0), fitting).worth
        for penalty in linear.PENALTIES
    }
    best, table = next_item._penalised(fitting, validation, 40, time.monotonic() + 60)
    assert worths[best] == max(worths.values())
    np.testing.assert_allclose(table.toarray(), linear.weights(fitting, 40, best).toarray(), rtol=1e-5)
