"""Trained artefacts in service: fetched when new, kept when the new one is bad; and what a trained ranker changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared import trained
from shared.errors import ArtifactError, Unavailable
from shared.models.features import FEATURES, Candidates, History
from shared.models.trained_ranker import Prepared, TrainedRanker
from shared.stores import Stores
from shared.trained import LOOKED_SECONDS, Found, Trained
from tests.conftest import TENANT
from tests.fakes.system import Clock, FakeSystem
from tests.unit.test_recommending import act, ad, catalogue, ids

pytestmark = pytest.mark.slow


def load(folder: Path) -> str:
    text = (folder / "deep" / "model.txt").read_text()
    if text == "broken":
        raise ArtifactError("it is broken")
    return text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(stores: Stores, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained[str]:
    monkeypatch.setattr(trained, "gettempdir", lambda: str(tmp_path))
    return Trained(stores.objects, "kind", load, clock=clock)


def promote(stores: Stores, version: str, content: str) -> None:
    stores.objects.put(f"artifacts/{TENANT}/kind/{version}/deep/model.txt", content.encode())
    stores.objects.put(f"artifacts/{TENANT}/kind/latest", version.encode())


def test_a_new_version_serves_when_it_is_looked_for_again(stores: Stores, kept: Trained[str], clock: Clock) -> None:
    assert kept.latest(TENANT) == Found(None)
    promote(stores, "v1", "one")
    assert kept.latest(TENANT) == Found(None)
    clock.now += LOOKED_SECONDS
    assert kept.latest(TENANT) == Found("one") and kept.latest("other") == Found(None)
    promote(stores, "v2", "two")
    clock.now += LOOKED_SECONDS
    assert kept.latest(TENANT) == Found("two")


@pytest.mark.parametrize("content", ["broken", None], ids=["broken", "absent"])
def test_a_bad_version_is_refused_and_the_one_before_goes_on(
    stores: Stores, kept: Trained[str], clock: Clock, content: str | None
) -> None:
    promote(stores, "v1", "one")
    assert kept.latest(TENANT) == Found("one")
    if content:
        promote(stores, "v2", content)
    else:
        stores.objects.put(f"artifacts/{TENANT}/kind/latest", b"v2")
    clock.now += LOOKED_SECONDS
    assert kept.latest(TENANT) == Found("one", refused="v2")
    promote(stores, "v2", "mended")
    clock.now += LOOKED_SECONDS
    assert kept.latest(TENANT) == Found("mended")


def test_a_store_out_of_reach_changes_nothing(
    stores: Stores, kept: Trained[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(stores, "v1", "one")
    assert kept.latest(TENANT) == Found("one")

    def gone(key: str) -> bytes:
        raise Unavailable("the object store does not answer")

    monkeypatch.setattr(stores.objects, "get", gone)
    clock.now += LOOKED_SECONDS
    found = kept.latest(TENANT)
    assert found.artefact == "one" and found.refused is not None


def test_an_artefact_that_is_not_whole_is_refused(
    stores: Stores, kept: Trained[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(stores, "v1", "one")
    assert kept.latest(TENANT) == Found("one")
    promote(stores, "v2", "two")
    monkeypatch.setattr(stores.objects, "keys", lambda prefix: [f"{prefix}deep/model.txt", f"{prefix}gone.bin"])
    clock.now += LOOKED_SECONDS
    assert kept.latest(TENANT) == Found("one", refused="v2")


def test_what_is_superseded_leaves_the_disk(stores: Stores, kept: Trained[str], clock: Clock, tmp_path: Path) -> None:
    for number in range(4):
        promote(stores, f"v{number}", "model")
        clock.now += LOOKED_SECONDS
        assert kept.latest(TENANT) == Found("model")
    assert [path.name for path in (tmp_path / "adtailor-trained" / TENANT / "kind").iterdir()] == ["v3"]


# A trained ranker in a decision --------------------------------------------------------------------------------------


class Likes:
    """Prefers the ads that are named, by 3 nats each."""

    version = "likes"

    def __init__(self, *names: str) -> None:
        self.names = names
        self.seen: list[tuple[Candidates, History]] = []

    def log_odds(self, candidates: Candidates, history: History) -> np.ndarray:
        self.seen.append((candidates, history))
        return np.array([3.0 * (name in self.names) - 4.0 for name in candidates.ids], dtype=np.float32)


class Follows:
    """Says that one ad follows whatever there was."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, ad_ids: list[str], vectors: np.ndarray) -> np.ndarray:
        return np.array([4.0 * (ad_id == self.name) for ad_id in ad_ids], dtype=np.float32)

    def scores(self, prepared: np.ndarray, ids_: Any, vectors: np.ndarray, ages: np.ndarray) -> np.ndarray:
        assert len(ids_) == len(vectors) == len(ages)
        return prepared if len(ids_) else np.zeros_like(prepared)


def ranker(items: Any = None, clicks: Any = None) -> Found[TrainedRanker]:
    return Found(TrainedRanker("r1", items, clicks))


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    built = FakeSystem(stores)
    catalogue(built, *(ad(f"{topic[0]}{n}", topic) for topic in ("phone", "watch", "shoe") for n in range(3)))
    act(built, "ann", "view", "phone", item_id="seen")
    return built


def test_the_click_model_decides_and_the_answer_names_it(system: FakeSystem) -> None:
    before = system.recommending.recommend(TENANT, "ann", n=3)
    assert before.versions["ranker"] == "content-prior-1" and ids(before)[0][0] == "p"
    likes = Likes("s1", "w2")
    system.ranker = ranker(clicks=likes)
    answer = system.recommending.recommend(TENANT, "ann", n=3)
    assert set(ids(answer)[:2]) == {"s1", "w2"} and answer.versions["ranker"] == "r1"
    candidates, history = likes.seen[0]
    assert len(candidates.ids) == 9 and candidates.columns.shape == (9, len(FEATURES))
    assert history.ids == ("seen",) and history.vectors.shape == (1, 384) and history.vectors.any()


def test_the_next_item_model_moves_ads_up_and_says_why(system: FakeSystem) -> None:
    system.ranker = ranker(items=Follows("s2"))
    answer = system.recommending.recommend(TENANT, "ann", n=9)
    assert "s2" in ids(answer)[:4]
    reason = next(one.reasons[0] for one in answer.ads if one.ad_id == "s2")
    assert reason.code == "related" and answer.personalised
    assert ids(system.recommending.recommend(TENANT, "nobody", n=3)) == ids(
        system.recommending.recommend(TENANT, "nobody else", n=3)
    )


def test_a_ranker_that_cannot_serve_is_named(system: FakeSystem) -> None:
    system.ranker = Found(None, refused="r2")
    assert system.recommending.recommend(TENANT, "ann", n=1).versions["ranker_refused"] == "r2"


def test_a_new_catalogue_is_prepared_anew(system: FakeSystem) -> None:
    system.ranker = ranker(items=Follows("new"))
    system.recommending.recommend(TENANT, "ann", n=3)
    catalogue(system, ad("new", "course"))
    assert "new" in ids(system.recommending.recommend(TENANT, "ann", n=9))
    assert len(system.recommending._prepared) == 2  # the one before may still serve


def test_a_catalogue_is_prepared_before_it_serves(system: FakeSystem) -> None:
    system.ranker = ranker(items=Follows("s2"))
    snapshot = system.recommending._snapshots.latest(TENANT)
    system.recommending.prepare(TENANT, snapshot)
    [prepared] = system.recommending._prepared.values()
    assert isinstance(prepared, Prepared)
    system.recommending.recommend(TENANT, "ann", n=3)
    assert list(system.recommending._prepared.values()) == [prepared]
