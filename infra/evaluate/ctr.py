"""Will a person like an item: ``python -m infra.evaluate ctr --items F --train F --valid F --test F``.

One model, a Gaussian process over items and people (`infra.training.clicks_process`), exact and without chance. How
much each of its kernels counts is learned from the rows that it is fitted on (`infra.training.clicks_evidence`). Fitted
on the training rows it predicts the validation rows, which come later: that calibrates it (Platt) and is reported as
`valid` (with that calibration, which moves neither AUC nor UAUC). Then it is fitted on both and predicts the test rows.
What a row is predicted from is its person, its item, its own history (what the person has liked until then) and the
rows of training and validation: nothing is read off other test rows.

Baselines: item_mean, the item's mean label shrunk by `SHRINK` rows of the overall mean; item_user_mean, the sum of that
and of the person's. `uauc`: the mean AUC of the persons with both labels, each person counting the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.evaluate.rows import read_jsonl
from infra.training.clicks_evidence import ROUNDS, even, learn
from infra.training.clicks_kernels import exposure_factors, kernels, neighbour_factors, years
from infra.training.clicks_metrics import figures, platt, uauc
from infra.training.clicks_process import Process, Setting, fit

# Kernels of `infra.training.clicks_kernels`: along which items' effects run, and people's tastes.
ITEM = ("one", "decade", "text", "own", "neighbours_wide", "neighbours", "exposure")
TASTE = ("one", "decade", "text", "neighbours", "neighbours_sharp", "exposure")
SHRINK = 5.0
MOST_ITEMS = 12_000  # kernels are dense: 8 of 12,000 items are 4.6 GB
SUSPICIOUS = 0.79
SURE = 0.02  # of the mean label: no expectation is nearer to 0, and likewise to 1
LEARNED = 0.5, 0.85  # of a budget: when the weights are taken as they are, for the first fit and for the second
DRAWS, LEAST_DRAWS = 200, 50  # of the intervals

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Ratings:
    """Rows in order of time: person, item, label (0 or 1) and epoch seconds, each (n,). liked: of each row the items
    of its history, oldest first."""

    person: NDArray[np.int64]
    item: NDArray[np.int64]
    label: NDArray[np.float64]
    at: NDArray[np.float64]
    liked: tuple[NDArray[np.int64], ...]

    def __add__(self, other: Ratings) -> Ratings:
        return Ratings(
            np.concatenate([self.person, other.person]),
            np.concatenate([self.item, other.item]),
            np.concatenate([self.label, other.label]),
            np.concatenate([self.at, other.at]),
            self.liked + other.liked,
        )

    def __len__(self) -> int:
        return len(self.label)


def read_items(path: Path) -> tuple[dict[str, int], list[str]]:
    """Each item's number by its id (``item_id`` or ``iid``), and each item's text."""
    numbers: dict[str, int] = {}
    texts: list[str] = []
    for row in read_jsonl(path):
        key = row.get("item_id", row.get("iid"))
        if key is None:
            raise ValueError(f"{path.name}, row {len(texts) + 1}: no item_id")
        numbers[str(key)] = len(texts)
        categories = " ".join(map(str, (row.get("categories") or [])[-2:]))
        texts.append(f"{categories} {row.get('title') or ''}".strip() or str(key))
    return numbers, texts


def read_ratings(path: Path, items: dict[str, int], people: dict[str, int]) -> tuple[Ratings, int]:
    """The rows of a file, and how many name an item that `items` lacks and are left out. New people join `people`.

    Raises:
        ValueError: a row lacks a field, or its label is neither 0 nor 1; the message names file and row.
    """
    rows: list[tuple[int, int, float, float]] = []
    liked: list[NDArray[np.int64]] = []
    unknown = 0
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            person, key = str(row["user_id"]), str(row["item_id"])
            label, at = float(row["label"]), float(row["timestamp"])
            history = [items[str(one)] for one in row.get("history") or () if str(one) in items]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, row {number}: {type(error).__name__}: {error}") from None
        if label not in (0.0, 1.0):
            raise ValueError(f"{path.name}, row {number}: the label {label} is neither 0 nor 1")
        if key not in items:
            unknown += 1
            continue
        rows.append((people.setdefault(person, len(people)), items[key], label, at))
        liked.append(np.array(history, np.int64))
    if len({row[2] for row in rows}) < 2:
        raise ValueError(f"{path.name}: rows with both labels are needed")
    columns = list(zip(*rows, strict=True))
    who, what = (np.array(column, np.int64) for column in columns[:2])
    label_of, time_of = (np.array(column, np.float64) for column in columns[2:])
    order = np.argsort(time_of, kind="stable")
    liked_of = tuple(liked[place] for place in order.tolist())
    return Ratings(who[order], what[order], label_of[order], time_of[order], liked_of), unknown


def run(
    items_file: Path,
    train_file: Path,
    valid_file: Path,
    test_file: Path,
    encode: Encode,
    *,
    seed: int = 0,
    budget_seconds: float | None = None,
) -> dict[str, Any]:
    """The command's JSON object. encode: texts to vectors (n, 384). seed: of the intervals' draws; nothing else is
    drawn. budget_seconds: cuts off the learning of the kernels' weights, and the draws; the fits cannot be shortened.

    Raises:
        ValueError: a file cannot be measured on; the message says why.
    """
    began = time.monotonic()
    deadline = math.inf if budget_seconds is None else began + budget_seconds
    numbers, texts = read_items(items_file)
    if not 3 <= len(texts) <= MOST_ITEMS:
        raise ValueError(f"{len(texts):,} items: this task measures 3 to {MOST_ITEMS:,}")
    people: dict[str, int] = {}
    read = {
        name: read_ratings(file, numbers, people)
        for name, file in (("train", train_file), ("valid", valid_file), ("test", test_file))
    }
    train, valid, test = (read[name][0] for name in ("train", "valid", "test"))
    notes = [f"{name}: {count:,} rows of unknown items left out" for name, (_, count) in read.items() if count]
    if train.at.max() > valid.at.min() or (train + valid).at.max() > test.at.min():
        notes.append("the files overlap in time: the figures are not those of a forecast")
    vectors, year = encode(texts), years(texts)

    def fitted(rows: Ratings, start: Setting, rounds: int, share: float) -> tuple[Process, Setting]:
        until = began + share * (deadline - began)
        alike = kernels(
            vectors,
            year,
            neighbour_factors(rows.person, rows.item, rows.at, len(vectors)),
            exposure_factors(rows.person, rows.item, len(people), len(vectors)),
        )
        setting = learn(rows.person, rows.item, rows.label, alike, start, rounds=rounds, deadline=until)
        if time.monotonic() >= until:
            notes.append(f"{len(rows):,} rows: the time was up before the kernels' weights were learned")
        return fit(rows.person, rows.item, rows.label, alike, setting), setting

    early, setting = fitted(train, even(ITEM, TASTE, train.label), ROUNDS, LEARNED[0])
    before = _log_odds(early, valid, train.label.mean())
    slope, bias = platt(valid.label, before)
    history = train + valid
    late, setting = fitted(history, setting, 1, LEARNED[1])
    odds = slope * _log_odds(late, test, history.label.mean()) + bias
    result = {
        **_figures(test, odds),
        "persons_with_both": uauc(test.person, test.label, odds)[1],
        "interval95": _interval(test, odds, seed, deadline),
        "valid": _figures(valid, slope * before + bias) | {"baselines": _baselines(train, valid)},
        "weights": {
            name: {key: _short(one) for key, one in value.items()} if isinstance(value, dict) else _short(value)
            for name, value in asdict(setting).items()
        },
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "notes": notes,
        "baselines": _baselines(history, test),
    }
    if (result["auc"] or 0.0) > SUSPICIOUS and "overlap" not in " ".join(notes):
        notes.append(f"an AUC above {SUSPICIOUS}: look for a leak before believing it")
    return result


def _short(value: float) -> float:
    """Three digits of it."""
    return float(f"{value:.3g}")


def _log_odds(model: Process, rows: Ratings, usual: float) -> NDArray[np.float64]:
    """Log-odds of the expected label, which a Gaussian puts outside (0, 1) now and then. usual: the mean label."""
    low, high = SURE * usual, 1 - SURE * (1 - usual)
    expected = np.clip(model.predict(rows.person, rows.item, rows.liked), low, high)
    return np.asarray(np.log(expected / (1 - expected)))


def _figures(rows: Ratings, odds: NDArray[np.float64]) -> dict[str, Any]:
    return figures(rows.label, odds, rows.person)


def _baselines(history: Ratings, rows: Ratings) -> dict[str, dict[str, Any]]:
    mean = history.label.mean()

    def shrunk(key: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        length = int(max(key.max(), asked.max())) + 1
        count, total = np.bincount(key, minlength=length), np.bincount(key, history.label, minlength=length)
        return np.asarray(((total + SHRINK * mean) / (count + SHRINK))[asked])

    item, person = shrunk(history.item, rows.item), shrunk(history.person, rows.person)
    scores = {"item_mean": item, "item_user_mean": item + person}
    return {
        name: {key: value for key, value in figures(rows.label, score, rows.person).items() if key in ("auc", "uauc")}
        for name, score in scores.items()
    }


def _interval(rows: Ratings, odds: NDArray[np.float64], seed: int, deadline: float) -> dict[str, list[float]]:
    """95 % of each figure by the bootstrap over persons: the rows of one are not independent."""
    chance = np.random.default_rng(seed)
    members = [np.flatnonzero(rows.person == who) for who in np.unique(rows.person)]
    found: dict[str, list[float]] = {"auc": [], "uauc": []}
    for _ in range(DRAWS):
        if time.monotonic() > deadline:
            break
        drawn = chance.integers(len(members), size=len(members))
        places = np.concatenate([members[one] for one in drawn])
        renamed = np.repeat(np.arange(len(drawn)), [len(members[one]) for one in drawn])
        one = figures(rows.label[places], odds[places], renamed)
        for name, values in found.items():
            if (value := one[name]) is not None:
                values.append(float(value))
    return {
        name: [round(float(bound), 4) for bound in np.quantile(values, [0.025, 0.975])]
        for name, values in found.items()
        if len(values) >= LEAST_DRAWS
    }
