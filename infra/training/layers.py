"""A BERT layer without what training on a CPU pays for and does not need, and dropout that processes agree on.

The layer computes what transformers' `BertLayer` computes, with one product for query, key and value, an explicit
softmax (torch's fused attention is slow backwards in bfloat16 on a CPU) and the residual stream in float32. With
bfloat16 products it trains twice as fast as `BertLayer` does. A rotary layer computes what `RoFormerLayer` computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from infra.training.rotary import rotary_tables

FAR = -1e9  # added to the score of a padded token
_WORDS = 4  # 64-bit words that one step of Philox's counter gives
_PARTS = ("query", "key", "value")


class Drop:
    """Dropout for one pass over a global batch, of which this process has the rows from `first` on.

    Its masks depend on the key, on the place in the network and on the row of the global batch alone, so that they are
    the same however many processes share the batch. `rate` is rounded to 1/256. `key`: seed, step and pass.
    """

    def __init__(self, rate: float, key: tuple[int, int, int], first: int, total: int) -> None:
        self.least = round(rate * 256)
        self.key, self.first, self.total = key, first, total
        self.site = 0

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (rows, …) with some set to zero and the rest scaled up; the next call is another place."""
        self.site += 1
        if not self.least:
            return values
        drawn = self._device(values) if values.is_cuda else self._bytes(values)
        return values * (drawn >= self.least).to(values.dtype).mul_(256 / (256 - self.least))

    def _bytes(self, values: torch.Tensor) -> torch.Tensor:
        """A random byte for each value. Philox counts, so a row's bytes are found without drawing those before it."""
        size = int(np.prod(values.shape[1:]))
        steps = -(-size // (8 * _WORDS))
        seed, step, turn = self.key
        counter = [self.first * steps, self.site, turn, 0]
        raw = np.random.Philox(counter=counter, key=[seed & (2**64 - 1), step]).random_raw(len(values) * steps * _WORDS)
        rows = raw.view(np.uint8).reshape(len(values), steps * 8 * _WORDS)[:, :size]
        return torch.from_numpy(np.ascontiguousarray(rows)).view(values.shape)

    def _device(self, values: torch.Tensor) -> torch.Tensor:
        """The same on a GPU, where drawing the whole global batch's is cheaper than sending bytes there."""
        seed, step, turn = self.key
        mixed = np.random.SeedSequence([seed & (2**64 - 1), step, turn, self.site]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(values.device).manual_seed(int(mixed >> 1))
        shape = (self.total, *values.shape[1:])
        whole = torch.randint(256, shape, generator=generator, device=values.device, dtype=torch.uint8)
        return whole[self.first : self.first + len(values)]


def attention_bias(mask: torch.Tensor) -> torch.Tensor:
    """What is added to attention scores, (n, 1, 1, tokens): nothing for a token, a very low number for padding."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, FAR)[:, None, None, :]


def rotated(values: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
    """Queries or keys (n, heads, tokens, size), each neighbouring pair of dimensions turned by its position's angle.

    positions: of the tokens, (n, tokens), where they do not count from 0.
    """
    length = values.shape[-2]
    if positions is not None and positions.numel():
        length = int(positions.max()) + 1
    cosines, sines = (torch.from_numpy(table).to(values.device) for table in rotary_tables(length, values.shape[-1]))
    if positions is not None:
        cosines, sines = cosines[positions][:, None], sines[positions][:, None]
    even, odd = values[..., 0::2], values[..., 1::2]
    turned = torch.stack([even * cosines - odd * sines, odd * cosines + even * sines], dim=-1)
    return turned.flatten(-2).to(values.dtype)


class Layer(nn.Module):
    """One layer of a BERT encoder; `Layer.of` takes the weights of transformers' one.

    rotary: positions come from turning queries and keys (RoFormer) instead of from the embeddings.
    """

    def __init__(self, hidden: int, wide: int, heads: int, eps: float, rotary: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.projected = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps)
        self.wide = nn.Linear(hidden, wide)
        self.narrow = nn.Linear(wide, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps)

    @classmethod
    def of(cls, layer: Any, rotary: bool = False) -> Layer:
        """A copy of the weights of a `BertLayer`, or of a `RoFormerLayer` where `rotary`."""
        state = layer.state_dict()
        wide, hidden = state["intermediate.dense.weight"].shape
        heads = layer.attention.self.num_attention_heads
        with torch.device("meta"):
            made = cls(hidden, wide, heads, layer.output.LayerNorm.eps, rotary)
        made.to_empty(device=state["output.dense.weight"].device)
        own = {}
        for kind in ("weight", "bias"):
            own[f"qkv.{kind}"] = torch.cat([state[f"attention.self.{part}.{kind}"] for part in _PARTS])
            own |= {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for ours, theirs in _NAMES.items()}
        made.load_state_dict(own)
        return made

    def forward(
        self,
        hidden: torch.Tensor,
        bias: torch.Tensor,
        drop: Drop | None = None,
        drop_attention: Drop | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The layer's output, float32, (n, tokens, hidden), of `hidden` of that shape and `attention_bias`.

        positions: see `rotated`.
        """
        rows, tokens, width = hidden.shape
        size = width // self.heads
        query, key, value = self.qkv(hidden).view(rows, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        if self.rotary:
            query, key = rotated(query, positions), rotated(key, positions)
        if hidden.is_cuda and drop_attention is None:
            attended = nn.functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        else:
            weight = torch.softmax(torch.matmul(query * size**-0.5, key.transpose(-1, -2)) + bias, -1)
            if drop_attention is not None:
                weight = drop_attention(weight)
            attended = torch.matmul(weight.to(value.dtype), value)
        projected = self.projected(attended.transpose(1, 2).reshape(rows, tokens, width)).float()
        hidden = self.attention_norm(hidden + (projected if drop is None else drop(projected)))
        narrow = self.narrow(nn.functional.gelu(self.wide(hidden))).float()
        return self.output_norm(hidden + (narrow if drop is None else drop(narrow)))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The weights under transformers' names for a `BertLayer`, float32."""
        state = {name: value.detach().float().cpu().numpy() for name, value in self.state_dict().items()}
        result: dict[str, NDArray[np.float32]] = {}
        for kind in ("weight", "bias"):
            parts = np.split(state[f"qkv.{kind}"], len(_PARTS))
            result |= {f"attention.self.{name}.{kind}": part for name, part in zip(_PARTS, parts, strict=True)}
            result |= {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for ours, theirs in _NAMES.items()}
        return result


_NAMES = {
    "projected": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "output_norm": "output.LayerNorm",
}
