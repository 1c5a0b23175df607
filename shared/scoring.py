"""How the ads of one request are scored: retrieval over every allowed ad, then the trained models on the best of them.

Without a trained ranker the content ranker's log-odds are the score. A tenant's own adds the next-item model to them
for every ad, and its click model judges the candidates that come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from shared.domain import Interest
from shared.models.features import FEATURES, FIRST_POSITION, Candidates, History
from shared.models.ranker import Ranker
from shared.retrieval import Request, Retrieval
from shared.snapshot import Snapshot

if TYPE_CHECKING:
    from shared.models.trained_ranker import Prepared, TrainedRanker

NO_QUERIES = np.zeros((0, 384), dtype=np.float32)
_CLIP = 30.0  # log-odds beyond which a probability is 0 or 1 in float32


@dataclass(frozen=True, slots=True)
class Models:
    """What scores. `prepared`: the trained ranker's view of the very snapshot. Both are None where none is trained."""

    content: Ranker
    trained: TrainedRanker | None = None
    prepared: Prepared | None = None


class Scoring:
    """The scores of one request's ads.

    history: of the person, in the snapshot's space. now: epoch seconds.
    """

    def __init__(self, snapshot: Snapshot, models: Models, request: Request, history: History, now: float) -> None:
        self._snapshot = snapshot
        self._models = models
        self._history, self._items = history, history.distinct()
        self._now = now
        trained, prepared = models.trained, models.prepared
        if trained is not None and prepared is not None and len(history.ids):
            extra = trained.next_item(prepared, history)
            request = request if extra is None else replace(request, extra=extra)
        self._request = request
        self._retrieval = Retrieval(snapshot, models.content, request)

    def among(self, allowed: np.ndarray, interests: Sequence[Interest], queries: np.ndarray) -> Scoring:
        """The scores of these ads alone (mask (n,)), of a person of these interests."""
        request = replace(self._request, allowed=allowed, interests=interests, queries=queries, extra=None)
        return Scoring(self._snapshot, self._models, request, self._history, self._now)

    @property
    def allowed(self) -> int:
        return self._retrieval.allowed

    @property
    def knows(self) -> bool:
        """Whether anything known of the person has a part in the scores."""
        return bool(self._request.interests or self._history.ids or self._request.sequels.any())

    def best(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the best ads and their click probabilities, in falling order, at most `limit`."""
        rows, scores = self._retrieval.best(limit)
        trained = self._models.trained
        if trained is None or trained.clicks is None or not len(rows):
            return rows, scores
        scores = self._probabilities(rows, self.columns(rows), self._items)
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """The features of these ads, float32 (n, `FEATURES`)."""
        return self._columns(self._request, rows, self._items)

    def without(
        self,
        rows: np.ndarray,
        *,
        interests: Sequence[int] = (),
        context: bool = False,
        sequel: bool = False,
        history: bool = False,
        prior: bool = False,
    ) -> np.ndarray:
        """Click probabilities of these ads were a part of what is known away: interests (by their places), the page's
        language and domain, what comes next in a series, the last items, or the ads' and campaigns' own click rates."""
        request, known = self._request, self._items
        if interests:
            kept = [place for place in range(len(request.interests)) if place not in interests]
            request = replace(
                request, interests=[request.interests[place] for place in kept], queries=request.queries[kept]
            )
        if context:
            request = replace(request, language=None, domain=None)
        if sequel:
            request = replace(request, sequels=np.zeros_like(request.sequels))
        if history:
            request, known = replace(request, extra=None), History()
        columns = self._columns(request, rows, known)
        if prior:
            middle = float(np.median(self._snapshot.prior))
            usual = np.log(middle / (1 - middle))
            for name in ("prior", "campaign_prior"):
                columns[:, FEATURES.index(name)] = usual
        return self._probabilities(rows, columns, known)

    def _probabilities(self, rows: np.ndarray, columns: np.ndarray, history: History) -> np.ndarray:
        trained = self._models.trained
        if trained is not None and trained.clicks is not None:
            ads = [self._snapshot.ads[row].ad_id for row in rows.tolist()]
            odds = trained.clicks.log_odds(Candidates(ads, self._snapshot.vectors[rows], columns), history)
        else:
            odds = self._models.content.log_odds_of(columns) + columns[:, FEATURES.index("next_item")]
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -_CLIP, _CLIP))), dtype=np.float32)

    def _columns(self, request: Request, rows: np.ndarray, history: History) -> np.ndarray:
        snapshot = self._snapshot
        retrieval = self._retrieval if request is self._request else Retrieval(snapshot, self._models.content, request)
        start = snapshot.start[rows]
        known = np.isfinite(start)
        age = np.where(known, np.maximum(self._now - np.where(known, start, self._now), 0) / 86400, 0)
        seen = bool(history.ids)
        values: dict[str, np.ndarray | float] = {
            **retrieval.columns(rows),
            "history_match": (snapshot.vectors[rows] @ history.vectors.T).max(axis=1) if seen else 0.0,
            "ad_age": np.log1p(age),
            "activity": np.log1p(len(history.ids)),
            "recency": np.log1p(max(float(history.ages.min()) * 24, 0.0)) if seen else 0.0,
            "position": FIRST_POSITION,
        }
        columns = np.empty((len(rows), len(FEATURES)), dtype=np.float32)
        for place, name in enumerate(FEATURES):
            columns[:, place] = values[name]
        return columns
