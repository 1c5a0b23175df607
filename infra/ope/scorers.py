"""Rankers over logged candidates: what each would have scored, from the columns that serving logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from infra.ope.decisions import Decided
from shared.models.features import FEATURES, Candidates, History, first_places
from shared.models.ranker import Ranker
from shared.models.trained_ranker import TrainedRanker

DIMENSIONS = 384
_NEXT_ITEM = FEATURES.index("next_item")
_CLIP = 30.0  # log-odds beyond which a probability is 0 or 1


class Scorer(Protocol):
    """A ranker. version: of its artefact."""

    @property
    def version(self) -> str: ...

    def log_odds(self, decided: Decided) -> np.ndarray:
        """Of a click on each candidate in the first slot, (C,)."""
        ...


class ContentScorer:
    """The ranker of a tenant without a trained one."""

    def __init__(self) -> None:
        self._ranker = Ranker()

    @property
    def version(self) -> str:
        return self._ranker.version

    def log_odds(self, decided: Decided) -> np.ndarray:
        return self._ranker.log_odds_of(decided.columns)


class TrainedScorer:
    """A trained ranker in a folder, beside the vectors (384,) of ads and items by id, in the topic space."""

    def __init__(self, folder: Path, vectors: Mapping[str, np.ndarray], ad_ids: Sequence[str]) -> None:
        """ad_ids: the catalogue, among which the next-item model tells how much likelier than the average an ad is.

        Raises:
            ArtifactError: the folder's ranker must not serve.
        """
        self._ranker = TrainedRanker.load(folder, threads=1)
        self._content = Ranker()
        self._vectors = vectors
        self._rows = {ad_id: row for row, ad_id in enumerate(ad_ids)}
        self._prepared = self._ranker.prepare(list(ad_ids), self._of(ad_ids))

    @property
    def version(self) -> str:
        return self._ranker.version

    def log_odds(self, decided: Decided) -> np.ndarray:
        ids = [one.ad_id for one in decided.candidates]
        latest = decided.history
        read = {latest[place] for place in first_places(latest)}  # as it is served
        vectors = self._of([item if item in read else "" for item in latest])
        history = History(latest, vectors, np.array(decided.ages, dtype=np.float32))
        columns = decided.columns.copy()
        columns[:, _NEXT_ITEM] = 0.0
        if len(latest) and (extra := self._ranker.next_item(self._prepared, history)) is not None:
            columns[:, _NEXT_ITEM] = extra[[self._rows[ad_id] for ad_id in ids]]
        if self._ranker.clicks is None:
            return np.asarray(self._content.log_odds_of(columns) + columns[:, _NEXT_ITEM])
        return self._ranker.clicks.log_odds(Candidates(ids, self._of(ids), columns), history.distinct())

    def _of(self, ids: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(ids), DIMENSIONS), dtype=np.float32)
        for row, name in enumerate(ids):
            if (vector := self._vectors.get(name)) is not None:
                found[row] = vector
        return found


def probabilities(log_odds: np.ndarray) -> np.ndarray:
    """Of log-odds (C,), float64."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds.astype(np.float64), -_CLIP, _CLIP))))
