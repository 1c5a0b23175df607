"""Trains the policy check's likeness models: ``python -m infra.training.train_policy [--out F]``.

It reads the project's own labelled ad lines (``infra/training/policy/lines.jsonl``), and the sample's and the
copywriter's lawful texts as more lawful lines; it prints what a five-fold cross-validation finds and how often it would
stop a lawful line, and writes ``shared/policy/packs/likeness.json``. Deterministic; half a minute on one core.
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
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from infra.evaluate.rows import read_jsonl
from shared.policy.folding import fold_text
from shared.policy.likeness import grams
from shared.policy.rewriting import subjects
from shared.policy.rules import blocking, check

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "shared" / "policy" / "packs" / "likeness.json"
VERSION = "5"
SMALLEST = 0.3  # weights below are left out
STRENGTH = 10.0  # inverse of the regularisation, by cross-validation
TELLING = 0.35  # share of the rules broken by lines with an n-gram from which it speaks for one
# At and above which a sentence is stopped: about one in a hundred lawful look-alikes, and fewer of ordinary ads.
PROBABILITY = {"zh": 0.8, "en": 0.7}

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
) -> None:
    """Train on all lines and write the models; what they are worth is measured before by cross-validation."""
    document: dict[str, Any] = {"version": VERSION}
    for language, lines in (("zh", list(lines_of("zh"))), ("en", list(lines_of("en")))):
        _report(language, lines)
        document[language] = {"probability": PROBABILITY[language]} | trained(language, lines)
    out.write_text(_written(document), encoding="utf-8")


def lines_of(language: str) -> Iterator[Line]:
    """Labelled lines, the clauses of lawful ones, what violations are about, and lawful copy that is not labelled."""
    for row in read_jsonl(HERE / "policy" / "lines.jsonl"):
        if (row["jurisdiction"] == "CN") == (language == "zh"):
            found = blocking(check(row["text"], row.get("domain"), row["jurisdiction"], likeness=False))
            broken = tuple(finding.rule for finding in found) if row["violation"] else ()
            yield Line(fold_text(row["text"]).text, row["violation"], broken)
            if not row["violation"]:
                clauses = [clause.strip() for clause in _CLAUSE_END.split(row["text"])]
                yield from (Line(fold_text(text).text, False, labelled=False) for text in clauses if len(text) > 3)
            for text in subjects(row["text"], [(one.start, one.end, None) for one in found]):
                yield Line(fold_text(text).text, False, labelled=False)
    for row in read_jsonl(HERE / "copywriter" / f"pairs.{language}.jsonl"):
        for text in (row["ad"]["title"], *_sentences(row["ad"]["description"]), *(c["copy"] for c in row["copies"])):
            yield Line(fold_text(text).text, False, labelled=False)
    for file in sorted((HERE.parent / "sample").glob("ads_*.jsonl")):
        for row in read_jsonl(file):
            if row["language"] == language:
                for text in (row["title"], *_sentences(row["description"])):
                    if len(text) > 6 and not _by_rules(text, row["domain"], "CN"):
                        yield Line(fold_text(text).text, False, labelled=False)
    for name in ("texts", "items"):
        for row in read_jsonl(HERE.parent / "sample" / f"{name}.jsonl"):
            if row["language"] == language:
                yield Line(fold_text(row["text"]).text, False, labelled=False)


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[。！？])|(?<=[.!?]) ", text) if part]


def _by_rules(text: str, domain: str | None, jurisdiction: str) -> tuple[str, ...]:
    return tuple(finding.rule for finding in blocking(check(text, domain, jurisdiction, likeness=False)))


def _matrix(rows: Sequence[set[str]], columns: dict[str, int]) -> csr_matrix:
    """The n-grams of each row that are columns, over the root of the number of all of its n-grams."""
    values: list[float] = []
    places: list[int] = []
    ends = [0]
    for row in rows:
        own = sorted(columns[gram] for gram in row if gram in columns)
        places += own
        values += [max(1, len(row)) ** -0.5] * len(own)
        ends.append(len(places))
    return csr_matrix((values, places, ends), shape=(len(rows), len(columns)))


def _fitted(rows: Sequence[set[str]], truth: NDArray[np.bool_]) -> tuple[dict[str, float], float]:
    """Weights of n-grams that two lines at least have, and the bias: fitted again with the heavy ones only."""
    seen = Counter(gram for row in rows for gram in row)
    names = sorted(gram for gram in seen if seen[gram] > 1)
    model = LogisticRegression(C=STRENGTH, max_iter=500)
    with threadpool_limits(1):  # the vectors are short: threads would only wait for each other
        model.fit(_matrix(rows, {gram: place for place, gram in enumerate(names)}), truth)
        names = [gram for gram, weight in zip(names, model.coef_[0], strict=True) if abs(weight) > SMALLEST]
        model.fit(_matrix(rows, {gram: place for place, gram in enumerate(names)}), truth)
    return dict(zip(names, map(float, model.coef_[0]), strict=True)), float(model.intercept_[0])


def _scores(rows: Sequence[set[str]], weights: dict[str, float], bias: float) -> NDArray[np.float64]:
    """Probabilities of being a violation."""
    sums = [sum(weights.get(gram, 0.0) for gram in row) / max(1, len(row)) ** 0.5 for row in rows]
    return np.asarray(1 / (1 + np.exp(-bias - np.array(sums))))


def _report(language: str, lines: Sequence[Line]) -> None:
    truth = np.array([line.violation for line in lines])
    labelled = np.array([line.labelled for line in lines])
    rows = [grams(line.text, language == "zh") for line in lines]
    stopped = np.zeros(len(lines), dtype=bool)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(rows, truth):
        weights, bias = _fitted([rows[place] for place in train], truth[train])
        stopped[test] = _scores([rows[place] for place in test], weights, bias) >= PROBABILITY[language]
    table = Table("lines", "number", "stopped", title=f"likeness alone, {language}, five-fold cross-validation")
    for name, chosen in (
        ("violations", truth),
        ("lawful, labelled", ~truth & labelled),
        ("other lawful texts", ~truth & ~labelled),
    ):
        table.add_row(name, str(int(chosen.sum())), f"{stopped[chosen].mean():.1%}")
    console.print(table)


def trained(language: str, lines: Sequence[Line]) -> dict[str, Any]:
    """The model of a language: `bias`, and `grams` by rule: {n-gram: weight in thousandths}."""
    rows = [grams(line.text, language == "zh") for line in lines]
    weights, bias = _fitted(rows, np.array([line.violation for line in lines]))
    broken: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for line, row in zip(lines, rows, strict=True):
        total.update(set(line.rules))
        for gram in row & weights.keys():
            broken[gram].update(set(line.rules))
    by_rule: dict[str, dict[str, int]] = defaultdict(dict)
    for gram, weight in sorted(weights.items()):
        by_rule[_spoken_for(broken[gram], total)][gram] = round(weight * 1000)
    return {"bias": round(bias, 4), "grams": dict(sorted(by_rule.items()))}


def _spoken_for(broken: Counter[str], total: Counter[str]) -> str:
    """The rule that lines with an n-gram break more often than its share of all lines lets expect; empty: none.

    broken: rules by the number of those lines that break them; total: of all lines.
    """
    lines = sum(broken.values())
    everything = sum(total.values())

    def surprise(rule: str) -> tuple[float, str]:
        expected = lines * total[rule] / everything
        return (broken[rule] - expected) / (expected + 1) ** 0.5, rule

    rule = max(broken, key=surprise, default="")
    return rule if rule and broken[rule] >= TELLING * lines else ""


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
