"""Do a person's interests say what comes next? ``python -m infra.evaluate.profiles_task --items F --events F``.

Files are those of ``rank``. The last item of a person is the target; interests are read off the items before it, as
serving does. Topics (an item's category path) are ranked by their mean vector's nearness to the nearest interest,
weighed as retrieval weighs it; `recall_at` k is the share of people whose target's topic is among the first k. `nearer`
is the share of other items that are less near than the target itself.

Baselines in the same run: the one mean vector of a history, every item for itself, leader clustering at .5, each item's
own label, and the topics themselves counted (which needs a shop's own categories).

The second half has known answers: people with 1 to 6 interests drawn from the project's sample. `agreement` is the
adjusted Rand index of the clusters with the interests that the items were drawn from.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from infra.evaluate.rows import read_jsonl
from shared.clusters import average_linkage
from shared.interests import MAX_LONG, SAME_INTEREST
from shared.models.classifier import TaxonomyClassifier, unit
from shared.models.encoder import Encoder

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "infra" / "sample"
DECAY = 0.9  # of an item's weight a step back: these logs have an order and no times
LEAST_HISTORY = 3

Numbers = np.ndarray
Grouping = Callable[[Numbers, Numbers, Numbers], Numbers]  # (vectors, topics, weights) -> a group for each row


def groupings(classifier: TaxonomyClassifier, threshold: float) -> dict[str, Grouping]:
    """The ways to make groups of a history, ours first."""
    return {
        "ours": lambda v, t, w: _labelled(classifier, v, w, average_linkage(t, threshold)),
        "clusters alone": lambda v, t, w: average_linkage(t, threshold),
        "leader .5 and label": lambda v, t, w: _labelled(classifier, v, w, _leader(t, w, 0.5)),
        "label of each item": lambda v, t, w: _labelled(classifier, v, w, np.arange(len(w))),
        "each item": lambda v, t, w: np.arange(len(w)),
        "one mean": lambda v, t, w: np.zeros(len(w), dtype=int),
    }


def _leader(topics: Numbers, weights: Numbers, least: float) -> Numbers:
    sums: list[Numbers] = []
    groups = np.zeros(len(weights), dtype=int)
    for row in np.argsort(-weights, kind="stable"):
        near = [float(topics[row] @ one) / float(np.linalg.norm(one)) for one in sums]
        best = int(np.argmax(near)) if near else 0
        if near and near[best] >= least:
            sums[best] = sums[best] + weights[row] * topics[row]
        else:
            best = len(sums)
            sums.append(weights[row] * topics[row])
        groups[row] = best
    return groups


def _labelled(classifier: TaxonomyClassifier, vectors: Numbers, weights: Numbers, groups: Numbers) -> Numbers:
    """Groups of one label together, as interests are."""
    centres, _ = _centres(vectors, weights, groups)
    labels: dict[str, int] = {}
    answers = classifier.classify_vectors(centres, top=1)
    names = [f"?{place}" if one.abstained else one.labels[0].id for place, one in enumerate(answers)]
    return np.array([labels.setdefault(name, len(labels)) for name in names])[np.unique(groups, return_inverse=True)[1]]


def _centres(vectors: Numbers, weights: Numbers, groups: Numbers) -> tuple[Numbers, Numbers]:
    kinds = np.unique(groups)
    sums = np.stack([weights[groups == kind] @ vectors[groups == kind] for kind in kinds]).astype(np.float32)
    return unit(sums), np.array([weights[groups == kind].sum() for kind in kinds])


def _queries(topics: Numbers, weights: Numbers, groups: Numbers) -> Numbers:
    centres, weight = _centres(topics, weights, groups)
    order = np.argsort(-weight, kind="stable")[:MAX_LONG]
    scaled: Numbers = centres[order] * np.sqrt(weight[order] / weight.max())[:, None]
    return scaled


def next_topics(
    items: Path, events: Path, encoder: Encoder, classifier: TaxonomyClassifier, people: int, threshold: float
) -> dict[str, dict[str, float]]:
    known = {row["item_id"]: row for row in read_jsonl(items) if row["title"] and row["categories"]}
    histories: dict[str, list[str]] = {}
    for row in sorted(read_jsonl(events), key=lambda row: row["position"]):
        if row["item_id"] in known:
            histories.setdefault(row["user_id"], []).append(row["item_id"])
    able = sorted(user for user, history in histories.items() if len(history) > LEAST_HISTORY)
    rng = np.random.default_rng(7)
    chosen = [histories[user] for user in rng.permutation(able)[:people]]
    ids = sorted({item for history in chosen for item in history})
    place = {item: number for number, item in enumerate(ids)}
    vectors = encoder.encode([known[item]["title"] for item in ids], kind="query")
    topics = classifier.project(vectors)
    names = [" > ".join(known[item]["categories"][:4]) for item in ids]
    kinds, topic_of = np.unique(names, return_inverse=True)
    centres = unit(np.stack([topics[topic_of == kind].mean(axis=0) for kind in range(len(kinds))]))
    popular = np.bincount(topic_of) / len(ids)
    results: dict[str, list[tuple[float, ...]]] = {}

    def add(name: str, scores: Numbers, target: int, nearer: float, groups: float) -> None:
        rank = int((scores > scores[topic_of[target]]).sum())
        results.setdefault(name, []).append((rank < 1, rank < 5, rank < 10, nearer, groups))

    for history in chosen:
        target = place[history[-1]]
        weight: dict[int, float] = {}
        for steps, item in enumerate(reversed(history[:-1])):
            weight[place[item]] = weight.get(place[item], 0.0) + DECAY**steps
        rows = np.array(sorted(weight))
        weights = np.array([weight[row] for row in rows], dtype=np.float32)
        for name, group in groupings(classifier, threshold).items():
            groups = group(vectors[rows], topics[rows], weights)
            queries = _queries(topics[rows], weights, groups)
            near = (topics @ queries.T).max(axis=1)
            add(
                name, (centres @ queries.T).max(axis=1), target, (near < near[target]).mean(), len(set(groups.tolist()))
            )
        counts = np.bincount(topic_of[rows], weights, minlength=len(kinds))
        add("topics counted", counts + 1e-3 * popular, target, float("nan"), float((counts > 0).sum()))
    keys = ("recall_at_1", "recall_at_5", "recall_at_10", "nearer", "interests")
    return {name: _means(keys, rows) for name, rows in results.items()}


def _means(keys: tuple[str, ...], rows: list[tuple[float, ...]]) -> dict[str, float]:
    means = np.array(rows, dtype=float).mean(axis=0)
    return {key: round(float(mean), 4) for key, mean in zip(keys, means, strict=True) if np.isfinite(mean)}


def known_interests(
    encoder: Encoder, classifier: TaxonomyClassifier, people: int, threshold: float
) -> dict[str, dict[str, float]]:
    """Clusters of people whose interests are known."""
    from sklearn.metrics import adjusted_rand_score

    rows = []
    for name in ("items", "ads_ecommerce", "ads_social", "ads_education"):
        for line in (SAMPLE / f"{name}.jsonl").read_bytes().splitlines():
            row = orjson.loads(line)
            subject = (row.get("item_id") or row["ad_id"]).split("-")[2]
            text = row.get("text") or f"{row['title']}. {row['description']}"
            if row["domain"] != "health":
                rows.append((f"{row['domain']}/{subject}", row["language"], text))
    vectors = encoder.encode([text for _, _, text in rows], kind="query")
    topics = classifier.project(vectors)
    subjects = sorted(name for name, count in Counter(row[0] for row in rows).items() if count >= 4)
    of = {name: [place for place, row in enumerate(rows) if row[0] == name] for name in subjects}
    rng = np.random.default_rng(3)
    results: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(people):
        held = rng.choice(subjects, rng.integers(1, 7), replace=False)
        share = rng.dirichlet(np.full(len(held), 2.0))
        language = rng.choice(["zh", "en"])
        bilingual = rng.random() < 0.3
        seen: Counter[int] = Counter()
        for _ in range(int(rng.integers(6, 40))):
            if rng.random() < 0.1:  # a tenth is anything
                seen[int(rng.integers(len(rows)))] += 1
                continue
            some = of[str(rng.choice(held, p=share))]
            own = [place for place in some if bilingual or rows[place][1] == language] or some
            seen[int(rng.choice(own))] += 1
        places = np.array(sorted(seen))
        weights = np.array([seen[place] for place in places], dtype=np.float32)
        domains = np.array([rows[place][0].split("/")[0] for place in places])
        truth = [rows[place][0] for place in places]
        for name, group in groupings(classifier, threshold).items():
            found = np.zeros(len(places), dtype=int)
            for number, domain in enumerate(sorted(set(domains))):
                mask = domains == domain
                found[mask] = group(vectors[places[mask]], topics[places[mask]], weights[mask]) + 1000 * number
            results.setdefault(name, []).append(
                (adjusted_rand_score(truth, found), len(set(found.tolist())), len(set(truth)))
            )
    return {name: _means(("agreement", "interests", "true_interests"), rows_) for name, rows_ in results.items()}


def main(
    items: Annotated[Path, typer.Option(exists=True, dir_okay=False)],
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False)],
    people: Annotated[int, typer.Option(min=10)] = 300,
    threshold: Annotated[float, typer.Option(help="Mean cosine of one interest")] = SAME_INTEREST,
) -> None:
    """Tables on stderr, one JSON object as the last line of stdout."""
    encoder = Encoder.load(ROOT / "shared" / "artifacts" / "encoder")
    classifier = TaxonomyClassifier.load(ROOT / "shared" / "artifacts" / "taxonomy-adproduct")
    result: dict[str, Any] = {
        "threshold": threshold,
        "next_topic": next_topics(items, events, encoder, classifier, people, threshold),
        "known_interests": known_interests(encoder, classifier, people, threshold),
    }
    console = Console(stderr=True)
    for part in ("next_topic", "known_interests"):
        columns = list(next(iter(result[part].values())))
        table = Table("", *columns, title=part)
        for name, row in result[part].items():
            table.add_row(name, *(f"{row[column]:.3f}" if column in row else "" for column in columns))
        console.print(table)
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
