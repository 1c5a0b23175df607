"""Trains the policy check's likeness models: ``python -m infra.training.train_policy [--out F] [--probability P]``.

It reads the project's own labelled ad lines (``infra/training/policy/lines.jsonl``), and the sample's and the
copywriter's lawful copy as more lawful lines; it prints what a five-fold cross-validation finds and how often it would
stop a lawful line, and writes ``shared/policy/packs/likeness.json``. Deterministic; seconds on one core.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import normalize

from infra.evaluate.rows import read_jsonl
from shared.policy.folding import fold_text
from shared.policy.likeness import grams
from shared.policy.rules import blocking, check

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "shared" / "policy" / "packs" / "likeness.json"
VERSION = "1"
SMALLEST = 0.3  # weights below are left out
STRENGTH = 20.0  # inverse of the regularisation, by cross-validation

_CLAUSE_END = re.compile(r"[，；：。！？]|[,;:.!?](?= )")

console = Console(stderr=True)


@dataclass(frozen=True)
class Line:
    """A folded line. `rules`: those that the packs hold against it. `labelled`: it is of the file of labelled lines."""

    text: str
    violation: bool
    rules: tuple[str, ...] = ()
    labelled: bool = True


def main(
    out: Annotated[Path, typer.Option()] = OUT,
    probability: Annotated[float, typer.Option(min=0.5, max=0.99, help="At and above which a line is stopped")] = 0.85,
) -> None:
    """Train on all lines and write the models; what they are worth is measured before by cross-validation."""
    document: dict[str, Any] = {"version": VERSION}
    for language, lines in (("zh", list(lines_of("zh"))), ("en", list(lines_of("en")))):
        _report(language, lines, probability)
        document[language] = {"probability": probability} | _trained(lines, language == "zh")
    out.write_text(_written(document), encoding="utf-8")


def lines_of(language: str) -> Iterator[Line]:
    """Labelled lines, their lawful clauses and rewrites, and lawful copy that is not labelled."""
    for row in read_jsonl(HERE / "policy" / "lines.jsonl"):
        if (row["jurisdiction"] == "CN") == (language == "zh"):
            found = blocking(check(row["text"], row.get("domain"), row["jurisdiction"], likeness=False))
            broken = tuple(finding.rule for finding in found) if row["violation"] else ()
            yield Line(fold_text(row["text"]).text, row["violation"], broken)
            if not row["violation"]:
                clauses = [clause.strip() for clause in _CLAUSE_END.split(row["text"])]
                yield from (Line(fold_text(text).text, False, labelled=False) for text in clauses if len(text) > 3)
            elif found and found[0].rewrite:
                yield Line(fold_text(found[0].rewrite).text, False, labelled=False)
    for row in read_jsonl(HERE / "copywriter" / f"pairs.{language}.jsonl"):
        for copy in row["copies"]:
            yield Line(fold_text(copy["copy"]).text, False, labelled=False)
    for file in sorted((HERE.parent / "sample").glob("ads_*.jsonl")):
        for row in read_jsonl(file):
            if row["language"] == language:
                for text in (row["title"], *re.split(r"(?<=[。！？])|(?<=[.!?]) ", row["description"])):
                    if len(text) > 6 and not _by_rules(text, row["domain"], "CN"):
                        yield Line(fold_text(text).text, False, labelled=False)


def _by_rules(text: str, domain: str | None, jurisdiction: str) -> tuple[str, ...]:
    return tuple(finding.rule for finding in blocking(check(text, domain, jurisdiction, likeness=False)))


def _features(lines: Sequence[Line], chinese: bool) -> tuple[DictVectorizer, csr_matrix]:
    """Columns of n-grams that two lines at least have; rows of unit length."""
    rows = [grams(line.text, chinese) for line in lines]
    seen = Counter(gram for row in rows for gram in row)
    vectorizer = DictVectorizer()
    return vectorizer, normalize(vectorizer.fit_transform([{g: 1.0 for g in row if seen[g] > 1} for row in rows]))


def _fitted(lines: Sequence[Line], chinese: bool) -> tuple[dict[str, float], float]:
    """Weights of n-grams and the bias: twice, the second time with the heavy ones only."""
    truth = np.array([line.violation for line in lines])
    vectorizer, matrix = _features(lines, chinese)
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(matrix, truth)
    names = vectorizer.get_feature_names_out()
    heavy = {name for name, weight in zip(names, model.coef_[0], strict=True) if abs(weight) > SMALLEST}
    rows = [{gram: 1.0 for gram in grams(line.text, chinese) if gram in heavy} for line in lines]
    vectorizer = DictVectorizer()
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(normalize(vectorizer.fit_transform(rows)), truth)
    weights = dict(zip(vectorizer.get_feature_names_out(), map(float, model.coef_[0]), strict=True))
    return weights, float(model.intercept_[0])


def _scores(lines: Sequence[Line], weights: dict[str, float], bias: float, chinese: bool) -> NDArray[np.float64]:
    """Probabilities of being a violation."""
    scores = []
    for line in lines:
        present = [weights[gram] for gram in grams(line.text, chinese) if gram in weights]
        scores.append(bias + sum(present) / np.sqrt(max(1, len(present))))
    return 1 / (1 + np.exp(-np.array(scores)))


def _report(language: str, lines: Sequence[Line], probability: float) -> None:
    truth = np.array([line.violation for line in lines])
    labelled = np.array([line.labelled for line in lines])
    stopped = np.zeros(len(lines), dtype=bool)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(lines, truth):
        weights, bias = _fitted([lines[place] for place in train], language == "zh")
        stopped[test] = _scores([lines[place] for place in test], weights, bias, language == "zh") >= probability
    table = Table("lines", "number", "stopped", title=f"likeness alone, {language}, five-fold cross-validation")
    for name, chosen in (
        ("violations", truth),
        ("lawful, labelled", ~truth & labelled),
        ("other lawful texts", ~truth & ~labelled),
    ):
        table.add_row(name, str(int(chosen.sum())), f"{stopped[chosen].mean():.1%}")
    console.print(table)


def _trained(lines: Sequence[Line], chinese: bool) -> dict[str, Any]:
    weights, bias = _fitted(lines, chinese)
    broken: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for line in lines:
        total.update(set(line.rules))
        for gram in grams(line.text, chinese) & weights.keys():
            broken[gram].update(set(line.rules))
    by_rule: dict[str, dict[str, int]] = defaultdict(dict)
    for gram, weight in sorted(weights.items()):
        # Of a rule that many lines break, a line says less.
        votes = {rule: count / total[rule] ** 0.5 for rule, count in broken[gram].items()}
        by_rule[max(votes, key=lambda rule: (votes[rule], rule), default="")][gram] = round(weight * 1000)
    return {"bias": round(bias, 4), "grams": dict(sorted(by_rule.items()))}


def _written(document: dict[str, Any]) -> str:
    """JSON with a line for each rule."""
    parts = [f'  "version": {json.dumps(document["version"])}']
    for language in ("zh", "en"):
        model = document[language]
        grams_of = ",\n".join(
            f"      {json.dumps(rule)}: {json.dumps(weights, ensure_ascii=False, separators=(',', ':'))}"
            for rule, weights in model["grams"].items()
        )
        head = f'    "probability": {model["probability"]},\n    "bias": {model["bias"]},\n'
        parts.append(f'  "{language}": {{\n{head}    "grams": {{\n{grams_of}\n    }}\n  }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    typer.run(main)
