"""What rows that a head has not learned from decide: the weight of its n-grams, its temperature and its threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.training.calibrate import Figures, accuracy, blend, expected_calibration_error, figures, softmax, threshold
from infra.training.members import Member
from infra.training.ngrams import NgramModel

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What those rows decided, how many they are, and the figures on them."""

    ngram_weight: float
    temperature: float
    threshold: float
    rows: int
    figures: Figures


@dataclass(frozen=True)
class Decided:
    """A head that only has to be written: its members, what each one's logits are multiplied by, its n-grams, what was
    chosen for it, and whether it learned from the development rows too in the end."""

    team: list[Member]
    weights: list[float]
    wide: NgramModel
    choice: Choice
    refitted: bool


def choose(deep: NDArray[np.float32], wide: NDArray[np.float32], truth: Classes) -> Choice:
    """The weight of the n-grams' logits beside the encoder's, the temperature and the threshold.

    deep, wide: (n, labels), of rows that neither was fitted on. truth: (n,), below 0 where the label is unknown.
    """
    weight, temperature, _ = blend(deep, wide, truth)
    logits = deep + weight * wide
    probabilities = softmax(logits / temperature)
    least = threshold(probabilities, truth)
    found = figures(truth, logits.argmax(axis=1)) | {
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "encoder_alone": round(accuracy(truth, deep.argmax(axis=1)), 4),
        "ngrams_alone": round(accuracy(truth, wide.argmax(axis=1)), 4),
        "answered": round(float((probabilities.max(axis=1) >= least).mean()), 4),
    }
    return Choice(weight, temperature, least, len(truth), found)
