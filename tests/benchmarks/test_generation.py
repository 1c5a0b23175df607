"""Writing on this machine: tokens a second beside transformers, batching, the prompt's prefix, eight gated candidates,
the bank, and a dead endpoint. Budgets: eight gated candidates 5 s, the bank 5 ms, a dead endpoint's answer 100 ms.

``make bench ARGS="-k generation"``; the language model is the local default with its adapter and threads as served.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3

from infra.evaluate.copy_task import product_ad
from infra.evaluate.rows import read_jsonl
from infra.evaluate.writer import Engine, open_writer
from infra.local import llm_server
from infra.local.processes import HOST, Child, answers, free_port
from shared.domain import Ad
from shared.generating.prompts import Prompt, build_prompt
from shared.generating.requests import Brief
from shared.models.openai import OpenAICompatible
from shared.policy.claims import trace_claims, unsupported
from shared.settings import Settings
from shared.stores import Stores
from tests.benchmarks.table import Figures
from tests.conftest import TENANT
from tests.data import ROOT, artifact
from tests.fakes.generation import make_world

NEW_TOKENS = 32
CANDIDATES = 8


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of the local language model."""
    try:
        llm_server.gguf("gemma")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    port = free_port()
    log = tmp_path_factory.mktemp("llm") / "llm.log"
    child = Child("language model", Path(sys.executable), ["infra.local.llm_server", "--port", str(port)], log=log)
    try:
        child.wait_until(lambda: answers(f"http://{HOST}:{port}/health"), 120)
        yield f"http://{HOST}:{port}/v1"
    finally:
        child.stop(10)


@pytest.fixture(scope="module")
def ads() -> list[Ad]:
    rows = [row for name in ("ecommerce", "education") for row in read_jsonl(ROOT / f"infra/sample/ads_{name}.jsonl")]
    return [product_ad(row, place) for place, row in enumerate(rows)][::5]


def served_style() -> str:
    """The style of prompt that the model is served with."""
    return llm_server.prompt_style(llm_server.adapter_files(["default"], "gemma"))


def prompt_of(ad: Ad, style: str | None = None) -> Prompt:
    return build_prompt(ad, ad.language, style=style or served_style())


def ask(url: str, prompt: Prompt, **more: Any) -> dict[str, Any]:
    body = {"messages": list(prompt.messages), "max_tokens": NEW_TOKENS, "temperature": 0.7, "ignore_eos": True} | more
    answer = urllib3.request("POST", f"{url}/chat/completions", json=body, timeout=120.0, retries=False)
    assert answer.status == 200, answer.data
    document: dict[str, Any] = json.loads(answer.data)
    return document


def written(answer: dict[str, Any]) -> int:
    """Tokens of all completions: they are of one length, and the server counts the first alone."""
    return int(answer["usage"]["completion_tokens"]) * len(answer["choices"])


def quantile(times: list[float], q: float) -> float:
    return float(np.quantile(times, q))


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tokens_a_second_beside_transformers(llm: str, ads: list[Ad], figures: Figures) -> None:
    """One request of one and of eight candidates: the same model with its adapter, prompts, lengths and threads."""
    torch = pytest.importorskip("torch", reason="training dependencies are not installed")
    from peft import PeftModel

    from infra.training.copywriter_base import load

    threads = int(os.environ.get("LLM_THREADS", "0")) or max(1, (os.cpu_count() or 1) // 2)
    torch.set_num_threads(threads)
    base = load("gemma")
    model = PeftModel.from_pretrained(base.model, llm_server.ADAPTER).eval()
    prompts = [prompt_of(ad) for ad in ads[:5]]
    rows = []
    for n in (1, CANDIDATES):
        ask(llm, prompts[0], n=n)
        ours = tokens = 0.0
        for prompt in prompts:
            began = time.perf_counter()
            tokens += written(ask(llm, prompt, n=n))
            ours += time.perf_counter() - began
        theirs = other = 0.0
        for prompt in prompts[:2]:
            ids = torch.tensor([base.ids(base.render(prompt.messages))])
            began = time.perf_counter()
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=0.7,
                num_return_sequences=n,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=base.tokenizer.pad_token_id,
            )
            theirs += time.perf_counter() - began
            other += made.shape[0] * (made.shape[1] - ids.shape[1])
        rows.append((n, tokens / ours, other / theirs))
    for n, fast, slow in rows:
        title = f"local model, {n} at once as candidates, {threads} threads"
        figures.add(title, fast, "tokens/s", None, slow, "transformers", better="higher")
    assert all(fast > slow for _, fast, slow in rows)


def test_batching(llm: str, ads: list[Ad], figures: Figures) -> None:
    """Requests of one candidate each, so many at the same time."""
    prompts = [prompt_of(ad) for ad in ads]
    rows = []
    for width in (1, 4, 16):
        turns = 2 if width > 1 else 6

        def one(place: int) -> tuple[int, float]:
            began = time.perf_counter()
            return written(ask(llm, prompts[place % len(prompts)], seed=place)), time.perf_counter() - began

        began = time.perf_counter()
        with ThreadPoolExecutor(width) as threads:
            done = list(threads.map(one, range(width * turns)))
        rate = sum(tokens for tokens, _ in done) / (time.perf_counter() - began)
        rows.append((width, rate, quantile([seconds for _, seconds in done], 0.5)))
    for width, rate, p50 in rows:
        figures.add(f"local model, {width} requests at once", rate, "tokens/s", better="higher")
        figures.add(f"local model, {width} requests at once, p50", p50, "s")
    assert rows[-1][1] > rows[0][1]


def test_the_prefix_of_a_prompt_is_reused(llm: str, ads: list[Ad], figures: Figures) -> None:
    """The worked examples are the same for every ad: only what follows them is read anew."""
    chinese = [ad for ad in ads if ad.language == "zh"][:6]
    rows = []
    for reuse in (False, True):
        ask(llm, prompt_of(chinese[0], "few-shot"), max_tokens=1, cache_prompt=reuse)
        timings = [
            ask(llm, prompt_of(ad, "few-shot"), max_tokens=1, cache_prompt=reuse)["timings"] for ad in chinese[1:]
        ]
        read = float(np.median([one["prompt_n"] for one in timings]))
        rows.append(("reused" if reuse else "anew", read, float(np.median([one["prompt_ms"] for one in timings]))))
    (_, read_anew, anew), (_, read, spent) = rows
    title = f"local model, first token, {read:.0f} instead of {read_anew:.0f} tokens of the prompt read"
    figures.add(title, spent, "ms", baseline=anew, baseline_name="read anew")
    assert rows[1][1] < rows[0][1]


def test_eight_gated_candidates(llm: str, ads: list[Ad], figures: Figures) -> None:
    """From request to gated copy, as functions/generate does it. Claims are traced anew on what was shown."""
    artifact("encoder")
    settings = Settings()
    times: list[float] = []
    survivors: list[int] = []
    engine = Engine(OpenAICompatible(llm, "local"), served_style())
    writer = open_writer(settings, engine)
    invented = 0
    for ad in [ads[0], *ads[:20]]:
        began = time.perf_counter()
        result = writer.write("-", Brief(ad, ad.language, "feed", 3), 60.0)
        times.append(time.perf_counter() - began)
        survivors.append(count(result))
        invented += sum(bool(unsupported(trace_claims(copy.text, ad))) for copy in result.copies)
    times, survivors = times[1:], survivors[1:]
    figures.add(f"copy, {CANDIDATES} gated candidates, p50", quantile(times, 0.5), "s", 5.0)
    figures.add(f"copy, {CANDIDATES} gated candidates, p90", quantile(times, 0.9), "s")
    figures.add("copy shown with an unsupported claim", invented, f"of {sum(survivors)}", 0.0)
    answered = 100 * float(np.mean([one > 0 for one in survivors]))
    figures.add("requests with a copy of the model's", answered, "%", better="higher")


def count(result: Any) -> int:
    return sum(copy.served_by == "llm" for copy in result.copies)


def test_the_bank_and_a_dead_endpoint(stores: Stores, figures: Figures) -> None:
    """Budget: 5 ms from the bank and 100 ms without an endpoint, gate and ladder included. The table is in this process
    (its share is shown); the dead endpoint is a closed port, and one that takes connections and never answers."""
    world = make_world(stores)
    world.copy(n=3)
    reads = [timed(lambda: stores.copies.bank_read(TENANT, "p1", ["-"], "en")) for _ in range(200)]
    banked = [timed(lambda: world.copy(n=3)) for _ in range(200)]
    assert world.copy(n=3).served_by == "bank"
    rows = [("the bank", banked), ("the bank, its table alone", reads)]
    with socket.create_server((HOST, 0)) as silent:
        for name, port in (("a closed port", free_port()), ("a silent port", silent.getsockname()[1])):
            generator = OpenAICompatible(f"http://{HOST}:{port}/v1", "local")
            world.generating = world.build(generator=generator, timeout_seconds=4.0)
            first = timed(lambda: world.copy(n=3, fresh=True))
            result = world.copy(n=3, fresh=True)
            assert result.notice and result.served_by != "llm"
            rows.append((f"{name}, first", [first]))
            rows.append((f"{name}, later", [timed(lambda: world.copy(n=3, fresh=True)) for _ in range(100)]))
    budgets = {"the bank": 5.0, "a closed port, later": 100.0, "a silent port, later": 100.0}
    for name, times in rows:
        figures.add(f"copy with {name}, p50", quantile(times, 0.5) * 1e3, "ms", budgets.get(name))
        if len(times) > 1:
            figures.add(f"copy with {name}, p99", quantile(times, 0.99) * 1e3, "ms")
