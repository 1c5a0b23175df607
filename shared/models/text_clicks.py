"""How much more than its siblings a text is likely to be clicked: an encoder fine-tuned on headline tests, as an ONNX
graph from tokens to a log click rate (written by infra/training/train_headlines.py).

Only differences mean anything: the model has compared texts for one thing on one day, and cannot know how well that
thing is clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import ArtifactError
from shared.models.artifacts import Manifest, verify
from shared.models.encoder import Tokens, run_in_batches
from shared.models.sessions import open_session
from shared.preprocess import clean_text

if TYPE_CHECKING:
    import onnxruntime

KIND = "text-clicks"
# Of a log click rate about the siblings' mean: true rates have a deviation of about .2.
MOST_APART = 1.0


class TextClicks:
    """Predicted click rates of texts beside one another. prior_clicks: what a prediction is worth in clicks
    (`shared.bandit.arms`). metrics: pairwise accuracies on held-out tests, of the model and of its baselines."""

    def __init__(self, session: onnxruntime.InferenceSession, tokens: Tokens, manifest: Manifest) -> None:
        self.version = manifest.version
        self.metrics = dict(manifest.metadata.get("metrics", {}))
        self.prior_clicks = float(manifest.metadata["prior_clicks"])
        self._prefix = str(manifest.metadata["prefix"])
        self._session = session
        self._tokens = tokens
        width = session.get_outputs()[0].shape[-1]
        if width != 1:
            raise ArtifactError(f"artefact {KIND} {manifest.version} has {width} outputs, not one")

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> TextClicks:
        """Loads the artefact in `folder` (``model.onnx``, ``tokenizer.json``) after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another kind or preprocessing version, or no such model.
        """
        manifest = verify(folder, KIND)
        try:
            tokens = Tokens(folder / "tokenizer.json", int(manifest.metadata["max_tokens"]))
            return cls(open_session(folder / "model.onnx", threads), tokens, manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"artefact {KIND} {manifest.version} is not a click model: {error!r}") from error

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log click rates up to a constant that is the same for texts about one thing, (n,)."""
        if not texts:
            return np.zeros(0, np.float32)
        cleaned = [self._prefix + clean_text(text) for text in texts]
        return run_in_batches(self._session, self._tokens, cleaned)[:, 0]

    def rates(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Click rates beside the siblings', (n,), for texts of one ad: 1.1 is a tenth more than their mean.

        The geometric mean is 1 unless a text is further than `MOST_APART` from it; one text alone has 1. Multiply by
        the ad's or its campaign's click rate for a prior (`shared.bandit.arms`).
        """
        return relative(self.scores(texts))


def relative(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multipliers of log click rates (n,) about their mean."""
    if not len(scores):
        return np.zeros(0, np.float32)
    return np.asarray(np.exp(np.clip(scores - scores.mean(), -MOST_APART, MOST_APART)), np.float32)
