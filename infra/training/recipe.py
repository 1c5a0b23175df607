"""Every number of a training in one place, and the one function that chooses them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Trained layers and longest text, the best first; the first that leaves time for enough epochs is taken.
CHOICES = (
    *((12, 192), (12, 128), (8, 192), (8, 128), (6, 192), (6, 128), (4, 192), (4, 128), (4, 96), (4, 64)),
    *((2, 64), (2, 32), (1, 32)),
)
FEW, FEW_LAYERS = 30, 6  # rows a class
# Forward and backward pass of a trained layer, and what goes along with them, in forward passes.
PASSES = 3.3
ADVERSARIAL = 0.016  # of the input's length
LOOK_BACK = 0.15


@dataclass(frozen=True)
class Recipe:
    """What is trained, for how long and how.

    layers: trained ones, from the top. length: tokens of a text that are read. epochs: at most. batch: rows, over all
    processes. rate: AdamW's for the top layer; each layer below has `layer_decay` of it, the head `head_rate` times.
    dropout, attention_dropout: of hidden values and of attention weights. warm_up: share of the steps over which the
    rate rises. ema: decay of the averaged weights that are measured and kept, 0 for the weights themselves.
    adversarial: the worst change of the first trained layer's input that is trained on too (Miyato et al. 2017), as a
    share of that input's length, 0: off. rdrop: weight of the divergence of two passes under different dropout (Liang
    et al. 2021), 0: off. checks: measurements on the development rows; patience: how many in a row may be worse than
    the best; least_share: of the way, before which that does not count: while the rate is high, weights are often worse
    than those that training began with. seconds_per_epoch: expected.
    """

    layers: int
    length: int
    epochs: float
    batch: int
    rate: float
    layer_decay: float = 0.9
    head_rate: float = 2.0
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    dropout: float = 0.1
    attention_dropout: float = 0.0
    warm_up: float = 0.06
    clip: float = 1.0
    ema: float = 0.0
    adversarial: float = 0.0
    rdrop: float = 0.0
    checks: int = 8
    patience: int = 3
    least_share: float = 0.0
    seconds_per_epoch: float = 0.0
    hurried: bool = False  # with more time it would be another one

    @property
    def passes(self) -> int:
        """Forward and backward passes a step."""
        return (2 if self.rdrop else 1) * (2 if self.adversarial else 1)


def choose(
    lengths: NDArray[np.int64], classes: int, depth: int, speed: float, seconds: float, epochs: float | None
) -> Recipe:
    """The recipe for a training set whose texts have `lengths` tokens.

    Few rows a class are trained gently: fewer layers and a smaller rate, or the encoder forgets more than it learns.

    speed: measured seconds of one layer's forward pass over one token, all processes together. seconds: what training
    may take. epochs: fixed where given; then nothing depends on the measured speed.
    """
    rows = len(lengths)
    few = rows < FEW * classes
    wanted = 6.0 if rows < 4000 else 4.0
    batch, rate = (16, 5e-5) if few else (16, 1e-4) if rows < 4000 else (32, 2e-4)
    base = Recipe(layers=1, length=1, epochs=wanted, batch=batch, rate=rate, layer_decay=0.95, least_share=0.6)
    longest = int(np.percentile(lengths, 99))
    found = base
    for most, limit in CHOICES:
        layers = min(most, depth)
        if few and layers > FEW_LAYERS:
            continue
        length = min(limit, longest)
        tokens = float(np.minimum(lengths, length).sum())
        once = tokens * speed * (depth - layers)
        for adversarial in (ADVERSARIAL, 0.0):
            tried = replace(base, layers=layers, length=length, adversarial=adversarial)
            epoch = PASSES * tried.passes * tokens * speed * layers
            affordable = (seconds - once) / max(epoch, 1e-9)
            planned = epochs or float(np.clip(affordable, 0.2, wanted))
            found = replace(
                tried,
                epochs=planned,
                ema=_average(planned * rows / batch),
                seconds_per_epoch=epoch,
                hurried=epochs is None and (found is not base or planned < 0.75 * wanted),
            )
            # A second pass over each batch pays once there is time for the rows to be seen a few times.
            enough = 0.5 * wanted if adversarial or rows < 12_000 else 0.25 * wanted
            if affordable >= enough or epochs is not None:
                return found
    return found


def _average(steps: float) -> float:
    """The decay with which the averaged weights look back on the last `LOOK_BACK` of the steps."""
    return max(0.0, 1.0 - 1.0 / max(LOOK_BACK * steps, 1.0))
