"""Probability of a click from (person's interests, ads, context).

This version is a logistic model with stated weights over content features; it is not trained, and its artefact version
says so. The interface is the one of a trained ranker: arrays in, probabilities out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.models.features import FEATURES

WEIGHTS = {"similarity": 5.0, "category": 1.2, "session": 0.8, "language": 0.9, "domain": 0.8, "sequel": 3.0}
VERSION = "content-prior-1"


@dataclass(frozen=True, slots=True)
class Features:
    """Of n ads, each (n,): similarity (best interest, weighted, in [-1, 1]), category and session match in [0, 1],
    language and domain match in {0, 1}, sequel (the next step after something acquired) in {0, 1}, prior click rate in
    (0, 1)."""

    similarity: np.ndarray
    category: np.ndarray
    session: np.ndarray
    language: np.ndarray
    domain: np.ndarray
    sequel: np.ndarray
    prior: np.ndarray


class Ranker:
    """Scores candidates."""

    version = VERSION

    def log_odds(self, features: Features) -> np.ndarray:
        """Log-odds of a click, float32 (n,): the ad's prior ones moved by how well it fits."""
        prior = np.clip(features.prior, 1e-6, 1 - 1e-6)
        odds = np.log(prior / (1 - prior))
        for name, weight in WEIGHTS.items():
            odds = odds + weight * getattr(features, name)
        return np.asarray(odds, dtype=np.float32)

    def log_odds_of(self, columns: np.ndarray) -> np.ndarray:
        """The same of a matrix (n, `FEATURES`), as the decision log keeps it; the next-item model's are not in it."""
        weights = np.zeros(len(FEATURES), dtype=np.float32)
        weights[FEATURES.index("prior")] = 1.0
        for name, weight in WEIGHTS.items():
            weights[FEATURES.index(name)] = weight
        return np.asarray(columns @ weights, dtype=np.float32)

    def predict(self, features: Features) -> np.ndarray:
        """Click probabilities, float32 (n,)."""
        return np.asarray(1 / (1 + np.exp(-self.log_odds(features))), dtype=np.float32)

    def slack(self, error: np.ndarray) -> np.ndarray:
        """How far the log-odds may be off where `similarity` and `session` are off by at most `error`."""
        return error * (WEIGHTS["similarity"] + WEIGHTS["session"])
