"""Trains what weighs the words of English copy for the claim ledger: ``python -m infra.training.train_ledger``.

It reads the project's own labelled ad lines (``infra/training/ledger/lines.en.jsonl`` and the ledger's development
lines, rows as ``infra.evaluate ledger`` reads them), the same lines without what is planted, the sentences of their
ads, and the copywriter's true copies; prints what a cross-validation over ads finds, and writes
``shared/policy/lexicon/weights.en.txt``. Deterministic; two minutes on one core.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from infra.evaluate.ledger_task import Case, read_cases
from infra.evaluate.rows import read_jsonl
from shared.domain import Ad
from shared.policy.claims import read
from shared.policy.english_context import WEIGHTS, describe, open_to_weighing
from shared.policy.polarity import negated
from shared.policy.vocabulary import FOLDER, vocabulary
from shared.policy.words import ruled

HERE = Path(__file__).parent
LINES = (HERE / "ledger" / "lines.en.jsonl", HERE.parents[1] / "tests" / "unit" / "ledger_dev.en.jsonl")
COPIES = HERE / "copywriter" / "pairs.en.jsonl"
STRENGTH = 0.05  # inverse of the regularisation, by cross-validation
RAREST = 3  # lines that a feature stands in, at least
SMALLEST = 0.01  # weights below are left out
SURE = 0.3  # weight of a line that a sure rule refuses, whatever the model says of it
REMAINDER = 0.1  # weights of a planted line without what is planted, and of a sentence of an ad
RESTATED = 0.07
SHORTEST = 3  # words of such a remainder, at least
WRITTEN = 0.4  # weight of the copywriter's copies, which are plainer than labelled lines
REFUSED = 0.09  # share of the true lines without a sure claim that the model may refuse
FOLDS = 5

_HAN = re.compile(r"[\u3400-\u9fff]")
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Line:
    """A line's features. `ad`: a number of its ad, below 0 for a copywriter's; `labelled`: it is of the labelled lines;
    `sure`: a rule that the model does not overrule refuses it.
    """

    ad: int
    labelled: bool
    planted: bool
    sure: bool
    weight: float
    features: frozenset[str]


def main(
    lines: Annotated[list[Path] | None, typer.Option(help="Labelled lines; by default all of the project's")] = None,
    out: Annotated[Path, typer.Option()] = FOLDER / WEIGHTS,
) -> None:
    """Measure by cross-validation, then train on all lines and write the weights."""
    cases = [case for number, path in enumerate(lines or LINES) for case in _cases(path, number)]
    rows = [*_labelled(cases), *_remainders(cases), *_restated(cases), *_copies(COPIES)]
    scores, judged = _cross_validate(rows)
    level = _level(scores, judged)
    _report(scores, judged, level)
    names, weights, intercept = _fit(rows)
    kept = [(name, weight) for name, weight in zip(names, weights, strict=True) if abs(weight) >= SMALLEST]
    kept.sort()
    text = [f"\t{intercept - level:.3f}", *(f"{name}\t{weight:.3f}" for name, weight in kept)]
    out.write_text("\n".join(text) + "\n", encoding="utf-8")
    console.print(f"{len(rows)} lines, {len(kept)} weights -> {out}")


def _cases(path: Path, number: int) -> Iterator[Case]:
    """The cases of a file, their ads named apart from those of the others."""
    for case in read_cases(path):
        yield replace(case, ad=replace(case.ad, ad_id=f"{number}-{case.ad.ad_id}"))


def _labelled(cases: Sequence[Case]) -> Iterator[Line]:
    ads: dict[str, int] = {}
    for case in cases:
        if _HAN.search(case.text) is None:
            number = ads.setdefault(case.ad.ad_id, len(ads))
            yield _line(case.text, case.ad, number, planted=case.planted is not None, weight=1.0)


def _remainders(cases: Sequence[Case]) -> Iterator[Line]:
    """Planted lines without what is planted: what is left is true, and the ad's words in it are no sign of a claim."""
    ads: dict[str, int] = {}
    for case in cases:
        number = ads.setdefault(case.ad.ad_id, len(ads))
        if case.planted is None or _HAN.search(case.text):
            continue
        start, end = case.planted
        text = re.sub(r"\s+([,.!?;:])", r"\1", case.text[:start] + case.text[end:]).strip(" ,;:-")
        if len(text.split()) >= SHORTEST:
            yield _line(text, case.ad, number, planted=False, weight=REMAINDER, labelled=False)


def _restated(cases: Sequence[Case]) -> Iterator[Line]:
    """The sentences of English ads, true in their own words."""
    for number, ad in enumerate({case.ad.ad_id: case.ad for case in cases}.values()):
        if ad.language != "en":
            continue
        sentences = re.split(r"(?<=[.!?])\s+", f"{ad.title}. {ad.description}")
        for text in sentences:
            yield _line(text, ad, number, planted=False, weight=RESTATED, labelled=False)


def _copies(path: Path) -> Iterator[Line]:
    """The copywriter's copies; their ads have negative numbers."""
    for number, row in enumerate(read_jsonl(path), start=1):
        fields: dict[str, Any] = {"ad_id": f"copy-{number}", "landing_url": "https://example.com/", "language": "en"}
        ad = Ad(**(fields | row["ad"]))
        for copy in row["copies"]:
            yield _line(copy["copy"], ad, -number, planted=False, weight=WRITTEN, labelled=False)


def _line(text: str, ad: Ad, number: int, *, planted: bool, weight: float, labelled: bool = True) -> Line:
    reading = read(text, ad)
    evidence = reading.facts.words
    known = vocabulary()
    found = ruled(reading.plain, reading.taken, evidence, known)
    refused = [claim for claim in reading.claims if claim.support is None]
    sure = bool(refused) or any(
        word.support is None and not open_to_weighing(word, reading.plain, evidence, known) for word in found
    )
    span = (0, len(reading.plain))
    words = describe(reading.plain, span, reading.taken, negated(reading.plain, known), found, evidence, known)
    return Line(number, labelled, planted, sure, weight, frozenset(name for word in words for name in word.features))


def _fit(rows: Sequence[Line]) -> tuple[list[str], NDArray[np.float64], float]:
    """The features' names, their weights, and the intercept."""
    counts = Counter(name for row in rows for name in row.features)
    names = sorted(name for name, count in counts.items() if count >= RAREST)
    places = {name: place for place, name in enumerate(names)}
    pairs = [
        (number, places[name]) for number, row in enumerate(rows) for name in sorted(row.features) if name in places
    ]
    matrix = csr_matrix((np.ones(len(pairs)), tuple(zip(*pairs, strict=True))), shape=(len(rows), len(names)))
    model = LogisticRegression(C=STRENGTH, max_iter=300, solver="liblinear", random_state=0)
    weight = [row.weight * (SURE if row.sure else 1.0) for row in rows]
    model.fit(matrix, [row.planted for row in rows], sample_weight=weight)
    return names, model.coef_[0], float(model.intercept_[0])


def _cross_validate(rows: Sequence[Line]) -> tuple[NDArray[np.float64], list[Line]]:
    """The scores of the labelled lines, each by a model that has not seen its ad."""
    scores: list[float] = []
    judged: list[Line] = []
    for fold in range(FOLDS):
        held = [row for row in rows if row.labelled and row.ad % FOLDS == fold]
        names, weights, intercept = _fit([row for row in rows if row.ad < 0 or row.ad % FOLDS != fold])
        known = dict(zip(names, weights, strict=True))
        scores += [intercept + sum(known.get(name, 0.0) for name in row.features) for row in held]
        judged += held
    return np.array(scores), judged


def _level(scores: NDArray[np.float64], judged: Sequence[Line]) -> float:
    """The score above which `REFUSED` of the true lines are that no sure rule refuses."""
    true = np.array([not row.planted and not row.sure for row in judged])
    return float(np.quantile(scores[true], 1 - REFUSED))


def _report(scores: NDArray[np.float64], judged: Sequence[Line], level: float) -> None:
    planted = np.array([row.planted for row in judged])
    sure = np.array([row.sure for row in judged])
    for name, refused in (("sure rules", sure), ("and the model", sure | (scores > level))):
        console.print(
            f"{name}: recall {refused[planted].mean():.3f}, false rejections {refused[~planted].mean():.3f}"
            f" ({planted.sum()} planted, {(~planted).sum()} true)"
        )


if __name__ == "__main__":
    typer.run(main)
