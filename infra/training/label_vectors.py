"""Builds the vectors of the taxonomies' categories that the zero-shot classifier compares texts with.

A category is described in Chinese and in English. Its label vector is the mean of the vectors of its hint and of its
name with its hint, in both languages; besides, each name, each product of a hint and each ad or post of the project's
own list (`infra/training/tuning.py`) is a term with a vector of its own, so that a text about one product of a broad
category is found too. The prior of a category is how near it is to texts about everything, times a weight that is
found like all other weights by ``python -m infra.training.calibrate_taxonomy`` and read from
`taxonomy/calibration.json`.

``python -m infra.training.label_vectors [--out shared/artifacts]`` builds both taxonomies for the encoder that is
there; `make models` does the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.training import tuning
from infra.training.check_texts import check_texts
from infra.training.install import install, is_current
from infra.training.tuning import Row
from shared.models import classifier
from shared.models import taxonomy as taxonomies
from shared.models.artifacts import load_manifest, write_manifest
from shared.models.classifier import KIND, VECTORS, Space, Terms, packed, unit
from shared.models.encoder import Encoder
from shared.models.taxonomy import Category, Taxonomy, load_taxonomy

Vectors = NDArray[np.float32]
LANGUAGES: tuple[Literal["zh", "en"], ...] = ("zh", "en")
TAXONOMIES: tuple[Literal["adproduct", "content"], ...] = ("adproduct", "content")
CALIBRATION = Path(__file__).parent / "taxonomy" / "calibration.json"
LABEL_WEIGHT = 0.33  # of the cosine with the label vector; the rest is that with the nearest terms
ARTIFACTS = Path(__file__).resolve().parents[2] / "shared" / "artifacts"


def calibration(taxonomy: str) -> dict[str, float]:
    """`temperature`, `none_score`, `none_weight`, `prior_weight`, `label_weight` and `threshold` of a taxonomy."""
    found: dict[str, float] = json.loads(CALIBRATION.read_text(encoding="utf-8"))[taxonomy]
    return found


def description(taxonomy: Taxonomy, category: Category, language: str) -> str:
    """The category's hint, or its path where it has none."""
    return category.hint[language] or " > ".join(one.name[language] for one in taxonomy.path(category.id))


def terms(category: Category, language: str) -> list[str]:
    """The category's name and the products of its hint, each once."""
    hint = category.hint[language]
    products = hint.split(",") if language == "en" else hint.split()
    found = dict.fromkeys(term for text in (category.name[language], *products) if (term := text.strip()))
    return list(found)


def background_space(encoder: Encoder) -> tuple[Space, Vectors]:
    """The mean of texts about everything and the direction in which Chinese texts differ from English ones; and the
    texts' places in that space."""
    texts = check_texts()
    vectors = encoder.encode(texts)
    chinese = np.array([any("\u4e00" <= character <= "\u9fff" for character in text) for text in texts])
    direction = vectors[chinese].mean(axis=0) - vectors[~chinese].mean(axis=0)
    space = Space(vectors.mean(axis=0), unit(direction))
    return space, space.project(vectors)


@dataclass(frozen=True, slots=True)
class Embedded:
    """One taxonomy with its texts in the space of topics: label vectors, terms, examples, texts about everything.

    words: the terms' texts, (terms,).
    """

    taxonomy: Taxonomy
    space: Space
    labels: Vectors
    terms: Vectors
    category_of: NDArray[np.int32]
    term_of: NDArray[np.int32]
    words: list[str]
    rows: list[Row]
    queries: Vectors
    accepted: NDArray[np.bool_]
    background: Vectors

    def places(self, chosen: NDArray[np.bool_]) -> tuple[Vectors, NDArray[np.int32], NDArray[np.int32]]:
        """Vectors, category_of and term_of of all terms, with the chosen rows as examples."""
        about = np.flatnonzero(chosen & self.accepted.any(axis=1))
        row_of, category_of = np.nonzero(self.accepted[about])
        vectors = np.concatenate([self.terms, self.queries[about]])
        return (
            vectors,
            np.concatenate([self.category_of, category_of.astype(np.int32)]),
            np.concatenate([self.term_of, (row_of + len(self.terms)).astype(np.int32)]),
        )

    def nothing(self, chosen: NDArray[np.bool_]) -> Vectors:
        """The vectors of the chosen rows about nothing."""
        return self.queries[chosen & ~self.accepted.any(axis=1)]

    def commonness(self, terms: Terms) -> Vectors:
        """How near each category is to texts about everything, less the mean of all categories; (categories,)."""
        near = LABEL_WEIGHT * (self.background @ self.labels.T) + (1 - LABEL_WEIGHT) * terms.nearness(self.background)
        mean = near.mean(axis=0)
        return np.asarray(mean - mean.mean(), np.float32)


def embed_taxonomy(
    name: Literal["adproduct", "content"], encoder: Encoder, embed: Callable[[Sequence[str], str], Vectors]
) -> Embedded:
    """Embeds all texts of a taxonomy. embed: (texts, what they are) to vectors of the encoder."""
    taxonomy = load_taxonomy(name)
    categories = list(taxonomy.values())
    space, background = background_space(encoder)
    total = np.zeros((len(categories), encoder.dimensions), np.float32)
    for language in LANGUAGES:
        plain = [description(taxonomy, one, language) for one in categories]
        named = [f"{one.name[language]}: {text}" for one, text in zip(categories, plain, strict=True)]
        # Each language weighs the same: its two vectors are averaged to unit length before the languages are.
        for texts, what in ((plain, "hints"), (named, "names with hints")):
            total += space.project(embed(texts, f"{what} ({language})"))
    owned = [
        (index, term)
        for index, category in enumerate(categories)
        for term in dict.fromkeys(term for language in LANGUAGES for term in terms(category, language))
    ]
    distinct = list(dict.fromkeys(term for _, term in owned))
    place = {term: index for index, term in enumerate(distinct)}
    rows = tuning.of_taxonomy(tuning.read_rows(), taxonomy)
    return Embedded(
        taxonomy,
        space,
        unit(total),
        space.project(embed(distinct, "terms")),
        np.array([index for index, _ in owned], np.int32),
        np.array([place[term] for _, term in owned], np.int32),
        distinct,
        rows,
        space.project(tuning.query_vectors(rows, lambda texts: embed(texts, "examples"))),
        tuning.accepted_table(rows, taxonomy),
        background,
    )


def recipe(name: str, encoder: Encoder) -> str:
    """A hash of everything that decides what is built."""
    digest = hashlib.sha256(f"{name} {encoder.version}".encode())
    for table in sorted(path.name for path in (files(taxonomies.__package__) / "taxonomy_data").iterdir()):
        digest.update((files(taxonomies.__package__) / "taxonomy_data" / table).read_bytes())
    for source in (Path(__file__), Path(tuning.__file__), Path(classifier.__file__), tuning.FILE, CALIBRATION):
        digest.update(source.read_bytes())
    digest.update("\n".join(check_texts()).encode())
    return digest.hexdigest()[:16]


def embedder(encoder: Encoder, label: str, progress: Progress) -> Callable[[Sequence[str], str], Vectors]:
    """Embeds texts and shows how far it is."""

    def embed(texts: Sequence[str], what: str) -> Vectors:
        task = progress.add_task(f"{label}: {what}", total=len(texts))
        parts: list[Vectors] = []
        for start in range(0, len(texts), 256):
            parts.append(encoder.encode(texts[start : start + 256]))
            progress.update(task, completed=min(start + 256, len(texts)))
        return np.concatenate(parts)

    return embed


def show_progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def build(name: Literal["adproduct", "content"], encoder: Encoder, folder: Path, console: Console) -> None:
    """Builds the label vectors of one taxonomy into `folder`, unless they are there."""
    wanted = recipe(name, encoder)
    if is_current(folder, wanted):
        console.print(f"{folder.name} {load_manifest(folder).version}: up to date")
        return
    with show_progress(console) as progress:
        made = embed_taxonomy(name, encoder, embedder(encoder, folder.name, progress))
    weights = calibration(name)
    everything = np.ones(len(made.rows), bool)
    vectors, category_of, term_of = made.places(everything)
    prior = weights["prior_weight"] * made.commonness(Terms(vectors, category_of, term_of, len(made.taxonomy)))
    arrays: dict[str, Any] = {
        "ids": np.array(list(made.taxonomy)),
        "category_of": category_of,
        "term_of": term_of,
        "prior": prior.astype(np.float32),
        "centre": made.space.centre,
        "direction": made.space.direction,
    }
    for what, rows in (("labels", made.labels), ("terms", vectors), ("nothing", made.nothing(everything))):
        arrays[what], arrays[f"{what}_scale"] = packed(rows)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / folder.name
        built.mkdir()
        np.savez(built / VECTORS, **arrays)
        metadata = {
            "recipe": wanted,
            "taxonomy": name,
            "taxonomy_version": made.taxonomy.version,
            "encoder_version": encoder.version,
            "licence": "IAB Tech Lab taxonomy, CC BY 3.0; Chinese names, hints and examples Apache-2.0",
            **weights,
        }
        manifest = write_manifest(built, KIND, folder.name, wanted[:12], metadata)
        install(built, folder)
    console.print(f"{folder.name} {manifest.version}: {len(made.taxonomy)} categories, {len(vectors):,} terms")


def build_all(out: Path, console: Console) -> None:
    """Builds the label vectors of both taxonomies with the encoder in ``out/encoder``."""
    encoder = Encoder.load(out / "encoder", threads=0)
    for name in TAXONOMIES:
        build(name, encoder, out / f"taxonomy-{name}", console)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m infra.training.label_vectors")
    parser.add_argument("--out", type=Path, default=ARTIFACTS)
    build_all(parser.parse_args().out, Console(stderr=True))
