"""Task `ope`: the value of one policy of the Open Bandit Dataset from the other's log, beside the truth.

Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline" (NeurIPS Datasets and Benchmarks 2021): a
fashion shop showed three items at a time; for a week each impression went to a uniform or to a Bernoulli Thompson
policy.

What is assumed. A click depends on the item, its position and the hour, not on the other two items. The target policy's
chance of an item at a position is read from its own log: the policies see no context, so the chances are those of the
(item, position) cells. A log holds the chance only of what was drawn, which over-counts the moments when it was high,
so a cell's mean chance is n / Σ(1 / propensity) over its n rows (each moment weighs one over its chance to be seen),
normalised to 1 at each position. Cells that the target never drew have no chance. A uniform target is known without
this: all its propensities are one over the number of items.

Beside IPS, SNIPS and DR by the logged propensities stands `balanced`: SNIPS by the logged policy's mean chances over
the log (Agarwal, Basu, Schnabel and Joachims, "Effective Evaluation Using Logged Bandit Feedback from Multiple
Loggers", KDD 2017), taken from what it showed. A Thompson policy moves from hour to hour, and a rare moment at a
chance of a millionth has a weight of thousands; the mean chance has not. It assumes that the click rates do not move
along with the policy.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.ope.estimators import Evidence, choose_clip, effective, estimates
from infra.ope.intervals import wilson

_NEEDED = ("timestamp", "item_id", "position", "click", "propensity_score")
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Impressions:
    """n rows of a log. items, positions: from 0. clicks: 0 or 1. propensities: in (0, 1]; 0 was rounded off.
    decisions: the rows of one answer share a number."""

    items: np.ndarray
    positions: np.ndarray
    clicks: np.ndarray
    propensities: np.ndarray
    decisions: np.ndarray

    def __len__(self) -> int:
        return len(self.items)

    @property
    def uniform(self) -> bool:
        """Whether every item had the same chance."""
        return bool(np.ptp(self.propensities) < 1e-9)


def read(path: Path) -> Impressions:
    """An Open Bandit Dataset CSV, gzipped or not.

    Raises:
        ValueError: a column is missing, a value is none, or there are no rows; the message names the file and the line.
    """
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    rows: list[tuple[int, int, int, float]] = []
    answers: dict[tuple[str, ...], int] = {}
    decisions: list[int] = []
    line = 1
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") if zipped else path.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path.name}: no column {', '.join(missing)}")
            person = [name for name in reader.fieldnames or () if name.startswith("user_feature_")]
            for row in reader:
                line = reader.line_num
                values = int(row["item_id"]), int(row["position"]), int(row["click"]), float(row["propensity_score"])
                if values[2] not in (0, 1) or not 0 <= values[3] <= 1 or values[0] < 0:
                    raise ValueError("an item_id below 0, a click that is neither 0 nor 1, or no propensity")
                rows.append(values)
                answer = (row["timestamp"], *(row[name] for name in person))
                decisions.append(answers.setdefault(answer, len(answers)))
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: damaged behind line {line}") from error
    except (ValueError, TypeError) as error:
        if str(error).startswith(path.name):
            raise
        raise ValueError(f"{path.name}, line {line}: {error}") from error
    if not rows:
        raise ValueError(f"{path.name}: no rows")
    items, positions, clicks, propensities = (np.array(column) for column in zip(*rows, strict=True))
    _, positions = np.unique(positions, return_inverse=True)
    return Impressions(items, positions, clicks.astype(np.float64), propensities, np.array(decisions))


def chances(log: Impressions, items: int, positions: int) -> np.ndarray:
    """The log's policy: mean chance of each item at each position, (items, positions); each position sums to 1."""
    seen = np.zeros((items, positions))
    np.add.at(seen, (log.items, log.positions), 1.0)
    if log.uniform:
        known = seen.any(axis=1).astype(np.float64)
        return np.repeat((known / known.sum())[:, None], positions, axis=1)
    least = log.propensities[log.propensities > 0].min()
    moments = np.zeros_like(seen)
    np.add.at(moments, (log.items, log.positions), 1.0 / np.maximum(log.propensities, least))
    mean = np.divide(seen, moments, out=np.zeros_like(seen), where=moments > 0)
    total = mean.sum(axis=0)
    return np.divide(mean, total, out=np.zeros_like(mean), where=total > 0)


def rates(log: Impressions, items: int, positions: int, rows: np.ndarray) -> np.ndarray:
    """Click rates of each item at each position from the log's `rows`, (items, positions): the overall rate times an
    item's and a position's factor, each shrunk to 1 by as much as the clicks cannot tell (empirical Bayes)."""
    item, position, clicks = log.items[rows], log.positions[rows], log.clicks[rows]
    overall = (clicks.sum() + 0.5) / (len(rows) + 1.0)
    by_position = _factors(clicks, np.full(len(rows), overall), position, positions)
    by_item = _factors(clicks, overall * by_position[position], item, items)
    return np.minimum(overall * by_item[:, None] * by_position[None, :], 1.0)


def _factors(clicks: np.ndarray, expected: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Posterior means of groups' factors on the expected clicks under a gamma prior of mean 1, whose strength comes
    from how much the groups' clicks vary beyond chance (method of moments; Robbins 1956)."""
    seen = np.bincount(group, weights=clicks, minlength=groups)
    due = np.bincount(group, weights=expected, minlength=groups)
    beyond = float(np.sum((seen - due) ** 2 - due)) / max(1e-12, float(np.sum(due**2)))
    strength = 1.0 / max(beyond, 1e-3)
    return np.asarray((seen + strength) / (due + strength))


def gather(log: Impressions, target: Impressions, seed: int = 0) -> tuple[Evidence, Evidence]:
    """What the log says about the target policy's clicks a row: by the logged propensities, and by how often the logged
    policy showed each item at each position over the whole log."""
    items = int(max(log.items.max(), target.items.max())) + 1
    positions = int(max(log.positions.max(), target.positions.max())) + 1
    part = np.random.default_rng(seed).permutation(int(log.decisions.max()) + 1)[log.decisions] % _FOLDS
    modelled = np.zeros((len(log), items))
    for fold in range(_FOLDS):
        kept, rows = np.flatnonzero(part != fold), part == fold
        if len(kept):
            modelled[rows] = rates(log, items, positions, kept)[:, log.positions[rows]].T
    each = np.arange(len(log))
    wanted = chances(target, items, positions)[:, log.positions].T
    known = log.propensities[log.propensities > 0]
    logged = np.maximum(log.propensities, known.min() if len(known) else 1.0)
    seen = np.zeros((items, positions))
    np.add.at(seen, (log.items, log.positions), 1.0)
    balanced = (seen / np.maximum(seen.sum(axis=0), 1.0))[log.items, log.positions]
    share = (int(log.decisions.max()) + 1) / len(log)  # a decision counts as much as it has rows; the value is a row's

    def weighed(chance: np.ndarray) -> Evidence:
        return Evidence(
            decisions=log.decisions,
            rewards=log.clicks * share,
            weights=wanted[each, log.items] / chance,
            shares=np.full(len(log), share),
            modelled=modelled[each, log.items] * share,
            values=np.bincount(log.decisions, weights=(wanted * modelled).sum(axis=1) * share),
        )

    return weighed(logged), weighed(balanced)


def run(log_file: Path, target_file: Path, seed: int = 0) -> dict[str, Any]:
    """The task's figures.

    Raises:
        ValueError: a file is no log of the Open Bandit Dataset, or the logs share no item.
    """
    log, target = read(log_file), read(target_file)
    if not np.isin(target.items, log.items).any():
        raise ValueError(f"{log_file.name} and {target_file.name} share no item")
    evidence, balanced = gather(log, target, seed)
    clip = choose_clip(evidence)
    found = estimates(evidence, clip, seed=seed)
    found["balanced"] = estimates(balanced, seed=seed)["snips"]
    truth = wilson(float(target.clicks.sum()), len(target))
    naive = wilson(float(log.clicks.sum()), len(log))
    answer: dict[str, Any] = {name: asdict(one) for name, one in found.items()}
    return answer | {
        "truth": truth.estimate,
        "truth_low": truth.low,
        "truth_high": truth.high,
        "overlaps": {name: one.low <= truth.high and truth.low <= one.high for name, one in found.items()},
        "clipping": asdict(clip),
        "clipping_balanced": asdict(choose_clip(balanced)),
        "mean_weight": float(evidence.weights.mean()),
        "unclipped_effective_sample_size": effective(evidence.weights),
        "n": len(log),
        "n_target": len(target),
        "clicks": int(log.clicks.sum()),
        "clicks_target": int(target.clicks.sum()),
        "baselines": {"logged_mean": {"estimate": naive.estimate, "low": naive.low, "high": naive.high}},
    }
