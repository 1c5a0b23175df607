"""Zero-shot classification to both taxonomies on labelled rows: ``python -m infra.evaluate taxonomy --test F``.

Rows are those of `infra.training.tuning`: ads, items, and texts about nothing, each with the ids that are right. The
served artefact is asked as the system asks it: an ad by the mean of its title's and its text's vector, as the catalogue
does, an item by its text. A row takes part in the taxonomies it has ids of.

Figures by taxonomy, and in it by domain: `accuracy` is the share of rows whose first label is right, whether it would
be served or not; `accuracy_with_ancestors` counts a label above a right one too; `tier1_accuracy` compares the roots;
`answered` is the share that is not abstained on, `accuracy_when_answered` that of these whose label is right;
`none_abstained` the share of texts about nothing that are abstained on; `ece` is that of the answers to all rows. The
baselines always answer: the nearest category name by plain cosine of the same encoder (either language); the nearest
label text (names and hints) by TF-IDF of characters; and the category that is most often right in the file itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from infra.training.calibrate import calibration_gap
from infra.training.tuning import Row, accepted_table, of_taxonomy, query_vectors, read_rows
from shared.models.classifier import TaxonomyClassifier, Vectors
from shared.models.encoder import Encoder
from shared.models.taxonomy import Taxonomy, TaxonomyName, load_taxonomy

TAXONOMIES: tuple[TaxonomyName, ...] = ("adproduct", "content")
MEASURES = ("accuracy", "accuracy_with_ancestors", "tier1_accuracy")
Places = NDArray[np.int64]
Truth = NDArray[np.bool_]


def run(files: Sequence[Path], artifacts: Path, console: Console, *, report: bool = False) -> dict[str, Any]:
    """The figures of the rows of all files. report: print the rows whose label is wrong.

    Raises:
        ValueError: a file has no rows, or one that is not of the shape; ArtifactError: the label vectors are missing.
    """
    rows = [row for file in files for row in read_rows(file)]
    if not rows:
        raise ValueError("there are no rows to measure on")
    encoder = Encoder.load(artifacts / "encoder", threads=1)
    result: dict[str, Any] = {"n": len(rows)}
    for name in TAXONOMIES:
        classifier = TaxonomyClassifier.load(artifacts / f"taxonomy-{name}", encoder.version)
        taxonomy = load_taxonomy(name)
        chosen = of_taxonomy(rows, taxonomy)
        if not any(row.accepted[name] for row in chosen):
            continue
        result[name] = measure(chosen, taxonomy, classifier, encoder, console, report=report)
    return result


def measure(
    rows: Sequence[Row],
    taxonomy: Taxonomy,
    classifier: TaxonomyClassifier,
    encoder: Encoder,
    console: Console,
    *,
    report: bool = False,
) -> dict[str, Any]:
    """The figures of one taxonomy and of its domains, beside the baselines."""
    accepted = accepted_table(rows, taxonomy)
    above = _above(taxonomy)
    vectors = query_vectors(rows, encoder.encode)
    answers = classifier.classify_vectors(vectors, top=1)
    place = {key: index for index, key in enumerate(taxonomy)}
    first = np.array([place[answer.labels[0].id] for answer in answers])
    confidence = np.array([answer.labels[0].probability for answer in answers])
    answered = np.array([not answer.abstained for answer in answers])
    about: Truth = np.asarray(accepted.any(axis=1))
    rivals = {
        "name_cosine": nearest_name(vectors, taxonomy, encoder),
        "tfidf": nearest_text([row.text for row in rows], taxonomy),
        "most_frequent": np.full(len(rows), accepted.sum(axis=0).argmax()),
    }
    groups = {"all": np.ones(len(rows), bool)} | {
        domain: np.array([row.domain == domain for row in rows])
        for domain in sorted({row.domain for row, known in zip(rows, about, strict=True) if known})
    }
    found: dict[str, dict[str, Any]] = {}
    for group, chosen in groups.items():
        known = chosen & about
        right = accepted[np.arange(len(rows)), first]
        served = known & answered
        figures: dict[str, Any] = {
            **shares(first[known], accepted[known], above),
            "answered": _mean(answered[known]),
            "accuracy_when_answered": _mean(right[served]),
            "ece": calibration_error(confidence[chosen & answered], right[chosen & answered]),
            "n": int(known.sum()),
        }
        if group == "all":
            nothing = ~about
            figures |= {"none_abstained": _mean(~answered[nothing]), "n_none": int(nothing.sum())}
        found[group] = figures | {
            "baselines": {name: shares(rival[known], accepted[known], above) for name, rival in rivals.items()}
        }
    _show(taxonomy, found, console)
    if report:
        _report(rows, taxonomy, accepted, first, answered, confidence, console)
    result = found.pop("all")
    return result | {"threshold": classifier.threshold, "version": classifier.version, "domains": found}


def shares(first: Places, accepted: Truth, above: NDArray[np.bool_]) -> dict[str, float | None]:
    """`MEASURES` of the chosen categories; None of no rows. above[a, b]: a is b or above it."""
    if not len(first):
        return dict.fromkeys(MEASURES)
    roots = above & (above.sum(axis=0) == 1)[:, None]
    root_of = roots.argmax(axis=0)
    same_root = (accepted & (root_of[None, :] == root_of[first][:, None])).any(axis=1)
    return {
        "accuracy": _mean(accepted[np.arange(len(first)), first]),
        "accuracy_with_ancestors": _mean(np.asarray((accepted & above[first]).any(axis=1))),
        "tier1_accuracy": _mean(np.asarray(same_root)),
    }


def calibration_error(confidence: NDArray[Any], right: Truth) -> float | None:
    """The mean distance of confidence and accuracy; None of no answers."""
    return round(calibration_gap(confidence, right), 4) if len(confidence) else None


def nearest_name(vectors: Vectors, taxonomy: Taxonomy, encoder: Encoder) -> Places:
    """The category with the nearest name in either language, by plain cosine."""
    near = [vectors @ encoder.encode([one.name[language] for one in taxonomy.values()]).T for language in ("zh", "en")]
    return np.asarray(np.maximum(*near).argmax(axis=1))


def nearest_text(texts: Sequence[str], taxonomy: Taxonomy) -> Places:
    """The category whose names and hints are nearest by TF-IDF of one to three characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    labels = [" ".join((*one.name.values(), *one.hint.values())) for one in taxonomy.values()]
    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    table = vectoriser.fit_transform(labels)
    return np.asarray((vectoriser.transform(texts) @ table.T).toarray().argmax(axis=1))


def _above(taxonomy: Taxonomy) -> NDArray[np.bool_]:
    place = {key: index for index, key in enumerate(taxonomy)}
    table = np.zeros((len(place), len(place)), bool)
    for key, index in place.items():
        table[[place[one.id] for one in taxonomy.path(key)], index] = True
    return table


def _mean(values: NDArray[Any]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _show(taxonomy: Taxonomy, found: dict[str, dict[str, Any]], console: Console) -> None:
    columns = ("n", *MEASURES, "answered", "accuracy_when_answered", "ece", "none_abstained")
    table = Table("", *columns, title=f"{taxonomy.name} {taxonomy.version}")
    for group, figures in found.items():
        for name, row in {group: figures, **{f"  {key}": one for key, one in figures["baselines"].items()}}.items():
            cells = (row.get(column) for column in columns)
            table.add_row(name, *("" if cell is None else f"{cell:.4g}" for cell in cells))
        table.add_section()
    console.print(table)


def _report(
    rows: Sequence[Row],
    taxonomy: Taxonomy,
    accepted: Truth,
    first: Places,
    answered: NDArray[np.bool_],
    confidence: NDArray[Any],
    console: Console,
) -> None:
    categories = list(taxonomy.values())
    table = Table("domain", "text", "right", "ours", "probability", title=f"{taxonomy.name}: wrong or abstained")
    often: Counter[str] = Counter()
    for place, row in enumerate(rows):
        about = accepted[place].any()
        if (accepted[place, first[place]] and answered[place]) or not (about or answered[place]):
            continue
        ours = categories[first[place]].name["en"]
        often[ours] += 1
        wanted = ", ".join(categories[index].name["en"] for index in np.flatnonzero(accepted[place])) or "none"
        told = f"{confidence[place]:.2f}{'' if answered[place] else ' -'}"
        table.add_row(row.domain, row.text[:70], wanted, ours, told)
    console.print(table)
    console.print("most often wrongly: " + ", ".join(f"{name} {count}" for name, count in often.most_common(10)))
