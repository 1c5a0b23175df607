"""The best ads of a snapshot for a person, as if the ranker had scored every ad that may be shown.

Filters come before any cut. Where many ads are left, the snapshot's int8 copy of the vectors tells everybody's log-odds
up to a known error, and only the ads that this error leaves in question are scored in full. Where very many are left,
and only there, an index names the candidates; then the best may miss a few of their last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain import DOMAINS, LANGUAGES, Interest
from shared.index import INDEX_FROM, AdIndex, query_columns
from shared.models.quantized import QuantizedVectors
from shared.models.ranker import Features, Ranker
from shared.snapshot import QUANTIZED_FROM, Snapshot

_IN_FULL = 16  # where no more than one ad in so many may be shown, these are scored in full before the copies are read
_CERTAIN = 30.0  # log-odds from which a probability is 0 or 1 in float32
_CATEGORIES = 3  # of a person's, whose ads are looked at besides those that the index finds
_INDEX_SHARE = 0.6  # of the ads: where fewer may be shown, an index finds too many others
_SHARE_LOOKED_AT = 20  # where an index would have to find more than one in so many ads, it is slower than all of them


@dataclass(frozen=True, slots=True)
class Request:
    """What ads are matched with.

    queries: the interests' vectors (m, 384) in the snapshot's space. allowed: mask (n,) of the ads that may be shown.
    sequels: mask (n,) of those that come right after something acquired. extra: log-odds (n,), finite, that another
    model adds to every ad's; None where there is none.
    """

    interests: Sequence[Interest]
    queries: np.ndarray
    allowed: np.ndarray
    sequels: np.ndarray
    language: str | None = None
    domain: str | None = None
    extra: np.ndarray | None = None


class Retrieval:
    """The allowed ads of one request in falling score."""

    def __init__(self, snapshot: Snapshot, ranker: Ranker, request: Request) -> None:
        self._snapshot = snapshot
        self._ranker = ranker
        self._request = request
        self._places = np.flatnonzero(request.allowed)
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        interests = request.interests
        self._session = np.array([interest.term == "session" for interest in interests], dtype=bool)
        self._queries = request.queries
        held: dict[str, float] = {}
        if interests:
            weights = np.array([interest.weight for interest in interests], dtype=np.float32)
            # The square root keeps a small interest audible beside a large one.
            self._queries = request.queries * np.sqrt(weights / weights.max())[:, None]
            for interest in interests:
                held[interest.id] = max(held.get(interest.id, 0.0), interest.weight)
        self._category = np.array([held.get(name, 0.0) for name in snapshot.categories], dtype=np.float32)
        self._language = _matching(LANGUAGES, request.language)
        self._domain = _matching(DOMAINS, request.domain)

    @property
    def allowed(self) -> int:
        """How many ads there are to choose from."""
        return len(self._places)

    def best(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the ads in falling score, at most `limit`, and their scores; ties keep the catalogue's order."""
        places = self._places
        index, quantized = self._snapshot.index, self._snapshot.quantized
        found = self._found(index, limit) if index is not None and self._very_many() else None
        if found is not None:
            places = found
        elif quantized is not None and len(self._queries) and self._many(limit):
            lower, upper = self._bounded(quantized, places)
            # As many ads as are wanted reach this for certain, so what cannot reach it is not among the best.
            places = places[upper >= np.partition(lower, -limit)[-limit]]
        odds = self._odds(places, *self._matches(places))
        if len(places) > limit:
            best = np.sort(np.argpartition(-odds, limit)[:limit])
            places, odds = places[best], odds[best]
        order = np.argsort(-odds, kind="stable")
        return places[order], 1 / (1 + np.exp(-np.clip(odds[order], -_CERTAIN, _CERTAIN)))

    def columns(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """What the request and the snapshot say about these ads, by the names of `shared.models.features.FEATURES`,
        each float32 (len(places),)."""
        snapshot = self._snapshot
        similarity, session = self._matches(places)
        features = self._features(places, similarity, session)
        extra = self._request.extra
        return {
            "prior": _log_odds(features.prior),
            "campaign_prior": _log_odds(snapshot.campaign_prior[places]),
            "similarity": similarity,
            "category": features.category,
            "session": session,
            "language": features.language,
            "domain": features.domain,
            "sequel": features.sequel,
            "next_item": np.zeros_like(similarity) if extra is None else extra[places].astype(np.float32),
            "bid": np.log1p(snapshot.bid[places]),
        }

    def _odds(self, places: np.ndarray, similarity: np.ndarray, session: np.ndarray) -> np.ndarray:
        odds = self._ranker.log_odds(self._features(places, similarity, session))
        extra = self._request.extra
        return odds if extra is None else np.asarray(odds + extra[places], dtype=np.float32)

    def _many(self, limit: int) -> bool:
        """Whether looking at the int8 copy of every ad is quicker than at the vectors of those that may be shown."""
        places = len(self._places)
        return places > max(limit, QUANTIZED_FROM) and places * _IN_FULL > len(self._request.allowed)

    def _very_many(self) -> bool:
        """Whether the index is quicker than either."""
        places = len(self._places)
        return places >= INDEX_FROM and places >= _INDEX_SHARE * len(self._request.allowed)

    def _found(self, index: AdIndex, limit: int) -> np.ndarray | None:
        """Rows of allowed ads among which the best are, as far as the index knows; None where it does not pay.

        The index knows no filter: so many more are asked for as it takes out, and again where that was not enough.
        """
        if not len(self._queries):
            return None
        allowed = self._request.allowed
        n = len(allowed)
        others = self._beyond_interests(limit)
        context = query_columns(self._language, self._domain)
        queries = np.hstack((self._queries, np.tile(context, (len(self._queries), 1))))
        count = limit * n // len(self._places) + 1
        while count * len(self._queries) <= n // _SHARE_LOOKED_AT:
            rows = index.near(queries, count)
            rows = np.union1d(rows[allowed[rows]], others)
            if len(rows) >= limit:
                return rows
            count *= 2
        return None

    def _beyond_interests(self, limit: int) -> np.ndarray:
        """Rows of allowed ads that are good for other reasons than a vector's: another model's word, what comes next in
        a series, and the strongest categories."""
        request, snapshot = self._request, self._snapshot
        parts = [np.flatnonzero(request.sequels)]
        if request.extra is not None:
            parts.append(_largest(np.where(request.allowed, request.extra, -np.inf), limit))
        for category in np.argsort(-self._category, kind="stable")[:_CATEGORIES]:
            if self._category[category] > 0:
                rows = np.flatnonzero((snapshot.category == category) & request.allowed)
                parts.append(rows[_largest(snapshot.prior[rows], limit // _CATEGORIES + 1)])
        rows = np.concatenate(parts)
        return rows[request.allowed[rows]]

    def _bounded(self, quantized: QuantizedVectors, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the log-odds of these ads are at least and at most."""
        if self._bounds is None:
            groups = [group for group in (self._queries[~self._session], self._queries[self._session]) if len(group)]
            maxima, error = quantized.maxima(groups)
            similarity = np.maximum.reduce(maxima)[places]
            session = np.clip(maxima[-1][places], 0, 1) if self._session.any() else np.zeros_like(similarity)
            odds = self._odds(places, similarity, session)
            slack = self._ranker.slack(error[places])
            self._bounds = odds - slack, odds + slack
        return self._bounds

    def _matches(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarity to the best interest and to the best session interest, each (len(places),)."""
        zeros = np.zeros(len(places), dtype=np.float32)
        if not len(self._queries):
            return zeros, zeros
        vectors = self._snapshot.vectors
        if len(places) * 4 > len(vectors):  # cheaper to multiply them all than to copy these
            cosines = (vectors @ self._queries.T)[places]
        else:
            cosines = vectors[places] @ self._queries.T
        session = np.clip(cosines[:, self._session].max(axis=1), 0, 1) if self._session.any() else zeros
        return cosines.max(axis=1), session

    def _features(self, places: np.ndarray, similarity: np.ndarray, session: np.ndarray) -> Features:
        snapshot = self._snapshot
        return Features(
            similarity=similarity,
            category=self._category[snapshot.category[places]],
            session=session,
            language=self._language[snapshot.language[places]],
            domain=self._domain[snapshot.domain[places]],
            sequel=self._request.sequels[places].astype(np.float32),
            prior=snapshot.prior[places],
        )


def _matching(names: Sequence[str], wanted: str | None) -> np.ndarray:
    """1 at the place of the wanted name, else 0; all 0 where nothing is wanted."""
    return np.array([name == wanted for name in names], dtype=np.float32)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest, in no order."""
    return np.argpartition(-values, count)[:count] if count < len(values) else np.arange(len(values))


def _log_odds(rates: np.ndarray) -> np.ndarray:
    rates = np.clip(rates, 1e-6, 1 - 1e-6)
    return np.log(rates / (1 - rates))
