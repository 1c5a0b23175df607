"""Headline tests: which of an article's texts was clicked, shown at random to the same traffic.

A file has rows ``{"test_id", "text", "image_id", "impressions", "clicks"}``, JSON Lines, gzipped or not; other fields
are not looked at. Rows of one test with the same text and image are one arm, their counts added up. A row without image
(absent, null or NaN) is an arm of its test but in no pair: nobody knows what else differs.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from shared.preprocess import clean_text

LONGEST_TEXT = 2000
SIGNIFICANT = 0.05
UNKNOWN = -1  # number of an image that is not known

Places = NDArray[np.int64]
Values = NDArray[np.float64]


class HeadlinesError(ValueError):
    """The file cannot be trained or measured on; the message names the file, the line and what is wrong."""


@dataclass(frozen=True)
class Headlines:
    """Arms of tests, those of one test side by side. texts: (arms,), cleaned. tests: the number of each arm's test,
    ascending from 0. images: a number within the test, `UNKNOWN` without one. impressions, clicks: (arms,), float64.
    names: the tests' ids."""

    texts: list[str]
    tests: Places
    images: Places
    impressions: Values
    clicks: Values
    names: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, chosen: Sequence[int] | Places) -> Headlines:
        """The tests with these numbers, ascending, numbered anew."""
        numbers = np.unique(np.asarray(chosen, np.int64))
        kept = np.flatnonzero(np.isin(self.tests, numbers))
        return Headlines(
            [self.texts[place] for place in kept],
            np.searchsorted(numbers, self.tests[kept]),
            self.images[kept],
            self.impressions[kept],
            self.clicks[kept],
            [self.names[number] for number in numbers],
        )


@dataclass(frozen=True)
class Pairs:
    """Two arms of one test with the same image and different texts. first, second: arms, (pairs,)."""

    first: Places
    second: Places

    def __len__(self) -> int:
        return len(self.first)

    def take(self, chosen: NDArray[Any]) -> Pairs:
        """The pairs at the places, or where the mask is true."""
        return Pairs(self.first[chosen], self.second[chosen])


def read_headlines(path: Path) -> Headlines:
    """The arms of a file.

    Raises:
        HeadlinesError: a line is no row of such a file, or there is none.
    """
    counts: dict[str, dict[tuple[str, str], list[float]]] = {}
    for line, row in _rows(path):
        test, text, image = row.get("test_id"), row.get("text"), row.get("image_id")
        where = f"{path.name}, line {line}"
        if not isinstance(test, str) or not test or not isinstance(text, str):
            raise HeadlinesError(f"{where}: `test_id` and `text` must be strings")
        text = clean_text(text, LONGEST_TEXT)
        if not text:
            raise HeadlinesError(f"{where}: the text is empty")
        shown, clicked = (_count(row.get(name), f"{where}: `{name}`") for name in ("impressions", "clicks"))
        if clicked > shown:
            raise HeadlinesError(f"{where}: more clicks than impressions")
        # A known image has a name of its own; the empty one stands for all that are not known.
        key = (image if isinstance(image, str) else "", text)
        total = counts.setdefault(test, {}).setdefault(key, [0.0, 0.0])
        total[0] += shown
        total[1] += clicked
    if not counts:
        raise HeadlinesError(f"{path.name} holds no rows")
    texts: list[str] = []
    numbers: list[tuple[int, int]] = []
    totals: list[list[float]] = []
    for number, arms in enumerate(counts.values()):
        images: dict[str, int] = {"": UNKNOWN}
        for (image, text), total in arms.items():
            texts.append(text)
            numbers.append((number, images.setdefault(image, len(images) - 1)))
            totals.append(total)
    places, values = np.array(numbers, np.int64), np.array(totals, np.float64)
    return Headlines(texts, places[:, 0], places[:, 1], values[:, 0], values[:, 1], list(counts))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The file's rows with their lines. NaN, which is not JSON but which data frames write, is read."""
    with path.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    line = 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for line, data in enumerate(file, start=1):
                if not data.strip():
                    continue
                try:
                    row = json.loads(data)
                except ValueError as error:
                    raise HeadlinesError(f"{path.name}, line {line}: {error}") from error
                if not isinstance(row, dict):
                    raise HeadlinesError(f"{path.name}, line {line}: not an object")
                yield line, row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise HeadlinesError(f"{path.name}: the gzip data is damaged or ends early, behind line {line}") from error


def _count(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise HeadlinesError(f"{name} must be a count")
    return float(value)


def pairs(headlines: Headlines) -> Pairs:
    """All pairs of arms of one test with the same known image and different texts."""
    found: list[tuple[int, int]] = []
    bounds = np.flatnonzero(np.diff(headlines.tests, prepend=-1, append=len(headlines.names)))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        found += [
            (one, other)
            for one in range(start, end)
            for other in range(one + 1, end)
            if headlines.images[one] == headlines.images[other] != UNKNOWN
            and headlines.texts[one] != headlines.texts[other]
        ]
    places = np.array(found, np.int64).reshape(-1, 2)
    return Pairs(places[:, 0], places[:, 1])


def significant(headlines: Headlines, among: Pairs, level: float = SIGNIFICANT) -> NDArray[np.bool_]:
    """Which pairs' click rates differ at p < `level` (two-sided two-proportion z-test, pooled), (pairs,)."""
    shown = [headlines.impressions[side] for side in (among.first, among.second)]
    clicked = [headlines.clicks[side] for side in (among.first, among.second)]
    some = (shown[0] > 0) & (shown[1] > 0)
    safe = [np.maximum(side, 1.0) for side in shown]
    rate = (clicked[0] + clicked[1]) / (safe[0] + safe[1])
    error = np.sqrt(rate * (1 - rate) * (1 / safe[0] + 1 / safe[1]))
    apart = np.abs(clicked[0] / safe[0] - clicked[1] / safe[1])
    z = np.divide(apart, error, out=np.zeros_like(apart), where=error > 0)
    return np.asarray(some & (2 * norm.sf(z) < level))


def winners(headlines: Headlines, among: Pairs) -> NDArray[np.bool_]:
    """Whether the first arm of each pair has the higher click rate, (pairs,)."""
    first, second = (
        headlines.clicks[side] / np.maximum(headlines.impressions[side], 1.0) for side in (among.first, among.second)
    )
    return np.asarray(first > second)


def pairwise_accuracy(scores: Values | NDArray[np.float32], among: Pairs, won: NDArray[np.bool_]) -> float:
    """The share of pairs whose winner has the higher score; a tie counts half. scores: (arms,)."""
    apart = np.asarray(scores[among.first] - scores[among.second], np.float64)
    right = np.where(apart == 0, 0.5, (apart > 0) == won)
    return float(right.mean()) if len(right) else math.nan
