"""A tenant's trained ranker: the next-item model, the click model, or both, in one verified artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import ArtifactError
from shared.models import artifacts
from shared.models.click_model import ClickModel
from shared.models.features import History
from shared.models.next_item import NextItem

KIND = "ranker"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The next-item model's view of one catalogue; `items` is None where there is no such model."""

    items: Any


@dataclass(frozen=True, slots=True)
class TrainedRanker:
    """version: of the artefact. Either model may be absent, not both."""

    version: str
    items: NextItem | None
    clicks: ClickModel | None

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> TrainedRanker:
        """
        Raises:
            ArtifactError: the files are not what the manifest says, or there is neither model.
        """
        manifest = artifacts.verify(folder, KIND)
        listed = any(name.startswith("next_item/") for name in manifest.files)
        items = NextItem.load(folder / "next_item", threads) if listed else None
        clicks = ClickModel.load(folder, threads) if (folder / "clicks.onnx").is_file() else None
        if items is None and clicks is None:
            raise ArtifactError(f"artefact {artifacts.title(manifest)} holds no model")
        return cls(manifest.version, items, clicks)

    def prepare(self, ad_ids: Sequence[str], vectors: np.ndarray) -> Prepared:
        """What is done once for a catalogue. vectors: float32 (n, 384), in the topic space."""
        return Prepared(self.items.prepare(ad_ids, vectors) if self.items is not None else None)

    def next_item(self, prepared: Prepared, history: History) -> np.ndarray | None:
        """Log-odds (n,) that the next-item model adds to every ad's; None where there is none."""
        if self.items is None or prepared.items is None:
            return None
        return self.items.scores(prepared.items, history.ids, history.vectors, history.ages)
