"""The claim reader in torch: an encoder over rows of an ad and texts (`shared.models.reader`), with two heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from infra.training.frozen import Body
from infra.training.layers import FAR, Drop
from infra.training.reader_lines import Ids
from shared.models.reader import pack

MATRICES = ["qkv", "projected", "wide", "narrow"]
WHOLE = ["attention_norm", "output_norm", "kinds", "text", "token"]  # learned as they are, not by an adapter
RANK = 32


@dataclass(frozen=True, slots=True)
class Rows:
    """Packs as tensors (n, tokens). allowed: what is added to attention scores, (n, 1, tokens, tokens).

    heads: row and place of each text's first token, (texts, 2). planted: of each text; doubtful: of each token, where
    `of_text`.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    kinds: torch.Tensor
    allowed: torch.Tensor
    heads: torch.Tensor
    planted: torch.Tensor
    doubtful: torch.Tensor
    of_text: torch.Tensor


def collate(items: Sequence[Ids], pad: int, where: torch.device, width: int = 0) -> Rows:
    """The tensors of some ads and their texts; `width` tokens wide, or as the longest."""
    packs = [pack(item.ad, item.lines) for item in items]
    width = max([width, *(len(one.ids) for one in packs)])
    ids = np.full((len(items), width), pad, np.int64)
    positions, kinds = np.zeros_like(ids), np.full_like(ids, -1)
    allowed = np.zeros((len(items), width, width), bool)
    doubtful = np.zeros(ids.shape, np.float32)
    for place, (one, item) in enumerate(zip(packs, items, strict=True)):
        size = len(one.ids)
        ids[place, :size], positions[place, :size], kinds[place, :size] = one.ids, one.positions, one.kinds
        allowed[place, :size, :size] = one.mask()
        doubtful[place, len(item.ad) : size] = np.concatenate([np.asarray(line) for line in item.doubtful])
    heads = [(place, start) for place, one in enumerate(packs) for start in one.starts]
    planted = [label for item in items for label in item.planted]
    bias = torch.zeros(allowed.shape).masked_fill(~torch.from_numpy(allowed), FAR)[:, None]
    tensors = (
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(np.clip(kinds, 0, 1)),
        bias,
        torch.tensor(heads, dtype=torch.long).reshape(-1, 2),
        torch.tensor(planted, dtype=torch.float32),
        torch.from_numpy(doubtful),
        torch.from_numpy(kinds > 0),
    )
    return Rows(*(tensor.to(where) for tensor in tensors))


class ReaderNet(nn.Module):
    """Logits of texts and of tokens. `body`'s layers become its own."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        hidden = body.model.config.hidden_size
        self.embeddings = body.model.embeddings
        self.layers = body.layers
        self.kinds = nn.Embedding(2, hidden)
        self.text = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.token = nn.Linear(hidden, 1)
        nn.init.zeros_(self.kinds.weight)

    def forward(self, rows: Rows, drop: Drop | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The texts' logits (texts,) and the tokens' (n, tokens), float32."""
        hidden = self.hidden(rows, drop)
        first = hidden[rows.heads[:, 0], rows.heads[:, 1]]
        return self.text(first).squeeze(-1).float(), self.token(hidden).squeeze(-1).float()

    def hidden(self, rows: Rows, drop: Drop | None = None) -> torch.Tensor:
        """The last layer's output, (n, tokens, hidden)."""
        # A rotary encoder's layers know the positions, another's embeddings.
        places = {} if self.layers[0].rotary else {"position_ids": rows.positions}
        hidden = self.embeddings(input_ids=rows.ids, **places) + self.kinds(rows.kinds)
        for layer in self.layers:
            hidden = layer(hidden, rows.allowed, drop, positions=rows.positions)
        return hidden

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Its weights under the names that `reader_graph` takes; an adapter has to be merged before."""
        state = {f"embeddings.{name}": value for name, value in self.embeddings.state_dict().items()}
        state |= {"kinds": self.kinds.weight}
        state |= {f"text.{name}": value for name, value in self.text.state_dict().items()}
        state |= {f"token.{name}": value for name, value in self.token.state_dict().items()}
        result = {name: value.detach().float().cpu().numpy() for name, value in state.items()}
        for place, layer in enumerate(self.layers):
            result |= {f"encoder.layer.{place}.{name}": value for name, value in layer.weights().items()}
        return result


def adapted(net: ReaderNet, rank: int = RANK) -> PeftModel:
    """The net with an adapter of that rank in every matrix (Hu et al. 2021, LoRA): all that is trained and shipped."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=MATRICES, modules_to_save=WHOLE)
    return get_peft_model(net, config)


def gone_on(net: ReaderNet, folder: Any) -> PeftModel:
    """The net with the adapter of a folder, to be trained on."""
    return PeftModel.from_pretrained(net, str(folder), is_trainable=True)


def merged(net: ReaderNet, folder: Any) -> ReaderNet:
    """The net with the adapter of a folder added to its weights."""
    model = PeftModel.from_pretrained(net, str(folder))
    whole: ReaderNet = model.merge_and_unload()
    return whole.eval()
