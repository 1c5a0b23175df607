"""Candidates from a base model, with and without its adapter: by torch, or by llama.cpp where the base is a GGUF.

Both sample as serving does, and a copy ends with its line.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
import torch
from transformers import GenerationConfig

from infra.local.llm_server import SLOTS
from infra.local.processes import HOST, free_port
from infra.training.copywriter_base import Base
from shared.generating.prompts import Prompt

TOP_P = 0.95
TOP_K, MIN_P = 40, 0.05  # llama.cpp's own, which serving leaves alone
BATCH = 32


class Writes(Protocol):
    """Writes candidates. `tuned`: with the adapter. Temperature 0 is greedy. One list of `n` for each prompt."""

    def __call__(
        self, prompts: Sequence[Prompt], *, tuned: bool, n: int, temperature: float, seed: int
    ) -> list[list[str]]: ...


class TorchWriter:
    """By transformers' own generation, many prompts at a time. `model` is peft's, around the whole base model."""

    def __init__(self, base: Base, model: Any) -> None:
        self._base, self._model = base, model

    def __call__(
        self, prompts: Sequence[Prompt], *, tuned: bool, n: int, temperature: float, seed: int
    ) -> list[list[str]]:
        torch.manual_seed(seed)
        asked = [(place, prompt) for place, prompt in enumerate(prompts) for _ in range(n)]
        asked.sort(key=lambda pair: sum(len(message["content"]) for message in pair[1].messages))
        written: list[list[str]] = [[] for _ in prompts]
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if not tuned:
                stack.enter_context(self._model.disable_adapter())
            for start in range(0, len(asked), BATCH):
                members = asked[start : start + BATCH]
                for (place, _), text in zip(
                    members, self._batch([one for _, one in members], temperature), strict=True
                ):
                    written[place].append(text)
        return written

    def _batch(self, prompts: Sequence[Prompt], temperature: float) -> list[str]:
        tokenizer = self._base.tokenizer
        rows = [self._base.ids(self._base.render(prompt.messages)) for prompt in prompts]
        longest = max(map(len, rows))
        device = next(self._model.parameters()).device
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_p": TOP_P, "top_k": TOP_K, "min_p": MIN_P}
        config = GenerationConfig(
            max_new_tokens=max(prompt.max_tokens for prompt in prompts),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            stop_strings=None if self._base.is_chat else ["\n"],
            use_cache=True,
            **sampling,
        )
        made = self._model.generate(input_ids=ids, attention_mask=mask, generation_config=config, tokenizer=tokenizer)
        texts = tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
        return [text.split("\n")[0].strip() for text in texts]


class LlamaWriter:
    """By llama.cpp's server on the loopback, several requests at once. Without an adapter `tuned` changes nothing."""

    def __init__(self, url: str, render: Any, adapters: int) -> None:
        self._url, self._render, self._adapters = url, render, adapters

    def __call__(
        self, prompts: Sequence[Prompt], *, tuned: bool, n: int, temperature: float, seed: int
    ) -> list[list[str]]:
        def write(prompt: Prompt) -> list[str]:
            answer = self.ask(prompt, tuned=tuned, n=n, temperature=temperature, seed=seed)
            return [str(choice["text"]).strip() for choice in answer["choices"]]

        with ThreadPoolExecutor(max(1, SLOTS // n)) as pool:
            return list(pool.map(write, prompts))

    def ask(self, prompt: Prompt, *, tuned: bool, n: int, temperature: float, seed: int) -> dict[str, Any]:
        """llama.cpp's own answer, with its timings. The `n` candidates share the reading of their prompt."""
        body = {
            "prompt": self._render(prompt.messages),
            "n": n,
            "max_tokens": prompt.max_tokens,
            "temperature": temperature,
            "top_p": TOP_P,
            "seed": seed,
            "stop": ["\n"],
            "lora": [{"id": place, "scale": float(tuned)} for place in range(self._adapters)],
            "cache_prompt": False,  # it would share what the adapter made of a prompt with the model without it
        }
        answer = httpx2.post(f"{self._url}/v1/completions", json=body, timeout=600, trust_env=False)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


_SERVER = threading.Lock()  # llama.cpp keeps process-wide state


@contextmanager
def llama(base: Base, adapter: Path | None, threads: int = 1) -> Iterator[LlamaWriter]:
    """A llama.cpp server of the base's GGUF with a GGUF adapter, for as long as it is needed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(base.gguf)
    params.hostnames = [HOST]
    params.port = free_port()
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * 1024
    params.kv_unified = True
    params.ui = False
    params.verbosity = -1
    if adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
        cpu.poll = 0
    with _SERVER:
        server = xllamacpp.Server(params)
        try:
            yield LlamaWriter(str(server.listening_address), base.render, int(adapter is not None))
        finally:
            del server
