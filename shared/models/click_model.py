"""Probability of a click, learned from what was shown: attention of each ad over a person's history, the columns of
`shared.models.features` and, where an ad has been seen often enough, an embedding of its own.

The network is DIN (Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", 2018, section 4.3) with a
softmax over the history and an empty slot, beside a linear model of the columns (Cheng et al. 2016, "Wide & Deep").
What the id of an ad or item adds is dropped where the model does not know it: its content speaks alone. The position
enters as one additive term (as in Zhao et al. 2019, "Recommending What Video to Watch Next", section 4.2), so that
serving can hold it fixed without reordering anything. Trained and exported by ``infra/training/train_ranker.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ArtifactError
from shared.models.artifacts import verify
from shared.models.features import FEATURES, FIRST_POSITION, HISTORY_ITEMS, Candidates, History
from shared.models.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime

KIND = "ranker"
GRAPH, SETTINGS = "clicks.onnx", "clicks.json"
FORMAT = 1
DIMENSIONS = 384
UNKNOWN = 0  # row of the ids that the model has no embedding of
_POSITION = FEATURES.index("position")


class Ids:
    """Rows of the embeddings by id; `UNKNOWN` for any other id."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rows = {name: row for row, name in enumerate(ids, start=1)}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """int64 (len(ids),)."""
        known = self._rows
        return np.fromiter((known.get(name, UNKNOWN) for name in ids), np.int64, len(ids))


def history_inputs(history: History, ids: Ids) -> dict[str, NDArray[Any]]:
    """The graph's inputs of a history, each of `HISTORY_ITEMS` + 1 slots; the first one is empty, and always there."""
    slots = HISTORY_ITEMS + 1
    count = min(len(history.ids), HISTORY_ITEMS)
    vectors = np.zeros((slots, DIMENSIONS), np.float32)
    rows = np.zeros(slots, np.int64)
    ages, mask = np.zeros(slots, np.float32), np.zeros(slots, np.float32)
    mask[: count + 1] = 1.0
    if count:
        vectors[1 : count + 1] = history.vectors[:count]
        rows[1 : count + 1] = ids.rows(history.ids[:count])
        ages[1 : count + 1] = np.maximum(np.nan_to_num(history.ages[:count]), 0.0)
    return {"history": vectors, "history_rows": rows, "ages": ages, "mask": mask}


class ClickModel:
    """Calibrated log-odds of a click, as if every ad stood in the first slot."""

    def __init__(self, session: onnxruntime.InferenceSession, ids: Ids, version: str) -> None:
        self._session = session
        self._ids = ids
        self.version = version

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> ClickModel:
        """Loads the click model of the ranker in `folder` after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another preprocessing version, or made for other columns than
                `FEATURES`.
        """
        manifest = verify(folder, KIND)
        missing = [name for name in (GRAPH, SETTINGS) if name not in manifest.files]
        if missing:
            raise ArtifactError(f"ranker {manifest.name} has no click model: {', '.join(missing)} is not in it")
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            form, features = settings["format"], tuple(settings["features"])
            slots, ids = settings["history_items"], Ids(settings["ids"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"ranker {manifest.name}: its {SETTINGS} does not parse: {error}") from error
        if (form, features, slots) != (FORMAT, FEATURES, HISTORY_ITEMS):
            raise ArtifactError(
                f"ranker {manifest.name} was trained on other columns than this version makes: train it again"
            )
        return cls(open_session(folder / GRAPH, threads), ids, manifest.version)

    def log_odds(self, candidates: Candidates, history: History) -> NDArray[np.float32]:
        """Log-odds of a click on each candidate in the first slot, float32 (n,).

        Raises:
            ValueError: vectors or columns are not of the candidates' number, or not of the expected width.
        """
        count = len(candidates.ids)
        if candidates.columns.shape != (count, len(FEATURES)) or candidates.vectors.shape != (count, DIMENSIONS):
            raise ValueError(
                f"{count} candidates with columns {candidates.columns.shape} and vectors {candidates.vectors.shape}"
            )
        if not count:
            return np.zeros(0, np.float32)
        columns = np.array(candidates.columns, np.float32)  # a copy: the caller's positions stay
        columns[:, _POSITION] = FIRST_POSITION
        inputs = history_inputs(history, self._ids) | {
            "vectors": np.ascontiguousarray(candidates.vectors, np.float32),
            "rows": self._ids.rows(candidates.ids),
            "columns": np.nan_to_num(columns, copy=False),
        }
        result: NDArray[np.float32] = self._session.run(["log_odds"], inputs)[0]
        return result
