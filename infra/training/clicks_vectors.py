"""Vectors of ads and items by their ids: texts through the served encoder, brought into the topic space as
`shared.snapshot` does it, and kept on disk for the next training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.evaluate.rows import read_jsonl
from infra.training.checkpoints import digest
from shared.domain import Ad
from shared.models.artifacts import find
from shared.models.classifier import TaxonomyClassifier
from shared.models.encoder import DIMENSIONS, Encoder

ARTIFACTS = Path(__file__).resolve().parents[2] / "shared" / "artifacts"
TAXONOMY = "taxonomy-adproduct"


def texts_of(path: Path) -> dict[str, str]:
    """Texts by id of a file of ads (``ad_id, title, description``) or of items (``item_id`` or ``iid``, and ``text`` or
    ``title`` with ``categories``).

    Raises:
        ValueError: a row has no id or no text; the message names file and row.
    """
    found: dict[str, str] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        key = next((row[name] for name in ("ad_id", "item_id", "iid") if row.get(name) not in (None, "")), None)
        text = _text(row)
        if key is None or not text:
            raise ValueError(f"{path.name}, row {number}: an id (ad_id, item_id) and a text (title, text) are needed")
        found[str(key)] = text
    return found


def _text(row: dict[str, Any]) -> str:
    title, more = str(row.get("title") or ""), str(row.get("description") or "")
    if "ad_id" in row:
        return Ad("", title, "", "en", "ecommerce", description=more).text
    categories = " ".join(map(str, (row.get("categories") or [])[-2:]))
    return " ".join(part for part in (str(row.get("text") or title), categories) if part).strip()


def topic_vectors(
    ids: Sequence[str], texts: dict[str, str], *, cache: Path | None = None, artifacts: Path = ARTIFACTS
) -> NDArray[np.float32]:
    """Vectors (len(ids), 384) in the topic space, of unit length; zeros for an id without a text.

    cache: a folder that keeps them, one file for the same texts and models.
    """
    places = [place for place, name in enumerate(ids) if name in texts]
    result = np.zeros((len(ids), DIMENSIONS), np.float32)
    if not places:
        return result
    wanted = [texts[ids[place]] for place in places]
    encoder = Encoder.load(find(artifacts, "encoder"))
    space = TaxonomyClassifier.load(find(artifacts, TAXONOMY), encoder.version)
    kept = None if cache is None else cache / f"{digest([encoder.version, space.version, *wanted])}.npy"
    if kept is not None and kept.is_file():
        result[places] = np.load(kept)
        return result
    result[places] = space.project(encoder.encode(wanted, "query"))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.stem}.partial.npy")
        np.save(partial, result[places])
        partial.replace(kept)
    return result
