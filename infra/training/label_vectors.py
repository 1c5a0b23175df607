"""Builds the vectors of the taxonomies' categories that the zero-shot classifier compares texts with.

A category is described in Chinese and in English. Its label vector is the mean of the vectors of its hint and of its
name with its hint, in both languages; besides, each name and each product of a hint is a term with a vector of its own,
so that a text about one product of a broad category is found too. A category without a hint is described by its path.
"""

from __future__ import annotations

import hashlib
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.training.check_texts import check_texts
from infra.training.install import install, is_current
from shared.models import taxonomy as taxonomies
from shared.models.artifacts import load_manifest, write_manifest
from shared.models.classifier import KIND, VECTORS, Space, calibration, unit
from shared.models.encoder import Encoder
from shared.models.taxonomy import Category, Taxonomy, load_taxonomy

Vectors = NDArray[np.float32]
LANGUAGES: tuple[Literal["zh", "en"], ...] = ("zh", "en")
TAXONOMIES: tuple[Literal["adproduct", "content"], ...] = ("adproduct", "content")


def description(taxonomy: Taxonomy, category: Category, language: str) -> str:
    """The category's hint, or its path where it has none."""
    return category.hint[language] or " > ".join(one.name[language] for one in taxonomy.path(category.id))


def terms(category: Category, language: str) -> list[str]:
    """The category's name and the products of its hint, each once."""
    hint = category.hint[language]
    products = hint.split(",") if language == "en" else hint.split()
    found = dict.fromkeys(term for text in (category.name[language], *products) if (term := text.strip()))
    return list(found)


def background_space(encoder: Encoder) -> Space:
    """The mean of texts about everything, and the direction in which Chinese texts differ from English ones."""
    texts = check_texts()
    vectors = encoder.encode(texts)
    chinese = np.array([any("\u4e00" <= character <= "\u9fff" for character in text) for text in texts])
    direction = vectors[chinese].mean(axis=0) - vectors[~chinese].mean(axis=0)
    return Space(vectors.mean(axis=0), unit(direction))


def recipe(name: str, encoder: Encoder) -> str:
    """A hash of everything that decides what is built."""
    digest = hashlib.sha256(f"{name} {encoder.version}".encode())
    for table in sorted(path.name for path in (files(taxonomies.__package__) / "taxonomy_data").iterdir()):
        digest.update((files(taxonomies.__package__) / "taxonomy_data" / table).read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update("\n".join(check_texts()).encode())
    digest.update(repr(calibration(name)).encode())
    return digest.hexdigest()[:16]


def build(name: Literal["adproduct", "content"], encoder: Encoder, folder: Path, console: Console) -> None:
    """Builds the label vectors of one taxonomy into `folder`, unless they are there."""
    wanted = recipe(name, encoder)
    if is_current(folder, wanted):
        console.print(f"{folder.name} {load_manifest(folder).version}: up to date")
        return
    taxonomy = load_taxonomy(name)
    categories = list(taxonomy.values())
    space = background_space(encoder)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def embed(texts: list[str], what: str) -> Vectors:
            task = progress.add_task(f"{folder.name}: {what}", total=len(texts))
            parts: list[Vectors] = []
            for start in range(0, len(texts), 256):
                parts.append(space.project(encoder.encode(texts[start : start + 256])))
                progress.update(task, completed=min(start + 256, len(texts)))
            return np.concatenate(parts)

        total = np.zeros((len(categories), encoder.dimensions), np.float32)
        for language in LANGUAGES:
            plain = [description(taxonomy, one, language) for one in categories]
            named = [f"{one.name[language]}: {text}" for one, text in zip(categories, plain, strict=True)]
            # Each language weighs the same: its two vectors are averaged to unit length before the languages are.
            total += unit(embed(plain, f"hints ({language})")) + unit(embed(named, f"names with hints ({language})"))
        owned = [
            (index, term)
            for index, category in enumerate(categories)
            for language in LANGUAGES
            for term in terms(category, language)
        ]
        distinct = list(dict.fromkeys(term for _, term in owned))
        place = {term: index for index, term in enumerate(distinct)}
        term_vectors = embed(distinct, "terms")
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / folder.name
        built.mkdir()
        np.savez(
            built / VECTORS,
            ids=np.array([category.id for category in categories]),
            labels=unit(total).astype(np.float16),
            terms=term_vectors.astype(np.float16),
            term_of=np.array([place[term] for _, term in owned], np.int32),
            category_of=np.array([index for index, _ in owned], np.int32),
            centre=space.centre,
            direction=space.direction,
        )
        metadata = {
            "recipe": wanted,
            "taxonomy": name,
            "taxonomy_version": taxonomy.version,
            "encoder_version": encoder.version,
            "licence": "IAB Tech Lab taxonomy, CC BY 3.0; Chinese names and hints Apache-2.0",
            **calibration(name),
        }
        manifest = write_manifest(built, KIND, folder.name, wanted[:12], metadata)
        install(built, folder)
    console.print(f"{folder.name} {manifest.version}: {len(categories)} categories, {len(distinct):,} terms")


def build_all(out: Path, console: Console) -> None:
    """Builds the label vectors of both taxonomies with the encoder in ``out/encoder``."""
    encoder = Encoder.load(out / "encoder", threads=0)
    for name in TAXONOMIES:
        build(name, encoder, out / f"taxonomy-{name}", console)
