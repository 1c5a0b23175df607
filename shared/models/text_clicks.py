"""How much more than its siblings a text is likely to be clicked: one encoder or more, fine-tuned on headline tests, as
ONNX graphs from tokens to parts of a log click rate (written by infra/training/train_headlines.py).

Only differences mean anything: the model has compared texts for one thing on one day, and cannot know how well that
thing is clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ArtifactError
from shared.models.artifacts import Manifest, verify
from shared.models.members import Member, load_members, summed
from shared.preprocess import clean_text

KIND = "text-clicks"
# Of a log click rate about the siblings' mean: true rates have a deviation of about .2.
MOST_APART = 1.0


class TextClicks:
    """Predicted click rates of texts beside one another. prior_clicks: what a prediction is worth in clicks
    (`shared.bandit.arms`). metrics: pairwise accuracies on held-out tests, of the model and of its baselines."""

    def __init__(self, members: Sequence[Member], manifest: Manifest) -> None:
        self.version = manifest.version
        self.metrics = dict(manifest.metadata.get("metrics", {}))
        self.prior_clicks = float(manifest.metadata["prior_clicks"])
        self._members = members
        widths = {member.width for member in members}
        if widths != {1}:
            raise ArtifactError(f"artefact {KIND} {manifest.version} has {widths} outputs, not one")

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> TextClicks:
        """Loads the artefact in `folder` (files: `shared.models.members`) after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another kind or preprocessing version, or no such model.
        """
        manifest = verify(folder, KIND)
        try:
            return cls(load_members(folder, manifest, threads), manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"artefact {KIND} {manifest.version} is not a click model: {error!r}") from error

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log click rates up to a constant that is the same for texts about one thing, (n,)."""
        if not texts:
            return np.zeros(0, np.float32)
        return summed(self._members, [clean_text(text) for text in texts])[:, 0]

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
