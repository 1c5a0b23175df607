"""Real copy from the local language model, through the whole local system: true, lawful and labelled."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.local import llm_server
from shared.domain import Ad
from shared.models.generator import ChatRequest
from shared.models.openai import OpenAICompatible
from shared.policy.claims import trace_claims, unsupported
from shared.policy.rules import blocking, check
from shared.preprocess import parse_ad
from tests.data import ROOT
from tests.integration.conftest import LocalSystem

PHONE = {
    "title": "最新款智能手机，限时优惠！",
    "description": "6.6 英寸直屏，5000 mAh 电池配 67 W 快充，活动价 1999 元。",
}
WATCH = {"title": "时尚手表，品质生活必备！", "description": "36 毫米表盘，真皮表带，日常防泼溅。"}
SHOES = {
    "title": "Aurora running shoes",
    "description": "Recycled mesh upper, 8 mm drop, 235 g in size 42.",
    "language": "en",
}


def ask(system: LocalSystem, **request: Any) -> dict[str, Any]:
    answer = system.http.post("/v1/copy", json=request)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def inspect(body: dict[str, Any], fields: dict[str, Any]) -> None:
    """Counts again, outside the system, what was shown."""
    defaults = {"ad_id": "-", "landing_url": "https://example.com/", "language": "zh", "domain": "ecommerce"}
    ad = parse_ad(defaults | fields, index=0)
    assert isinstance(ad, Ad)
    assert body["copies"]
    for copy in body["copies"]:
        assert not unsupported(trace_claims(copy["text"], ad)), copy["text"]
        assert not blocking(check(copy["text"], ad.domain)), copy["text"]
        assert set(re.findall(r"\d+", copy["text"])) <= set(re.findall(r"\d+", ad.text)), copy["text"]
        if copy["served_by"] == "llm":
            assert copy["label"]["zh"] and copy["provenance"]["prompt_version"]


@pytest.mark.parametrize("ad", [PHONE, WATCH, SHOES], ids=["phone", "watch", "shoes"])
def test_real_copy_is_true_and_lawful(local_system_llm: LocalSystem, ad: dict[str, Any]) -> None:
    body = ask(local_system_llm, ad=ad, n=3)
    inspect(body, ad)
    assert body["rejected"], "a small model never writes eight good lines"
    assert body["versions"]["prompt"]


def test_the_model_does_write_some_of_it(local_system_llm: LocalSystem) -> None:
    rungs = [copy["served_by"] for ad in (PHONE, WATCH) for copy in ask(local_system_llm, ad=ad, n=3)["copies"]]
    assert "llm" in rungs, rungs


def test_an_ad_of_the_sample_gets_copy_and_keeps_it(local_system_llm: LocalSystem) -> None:
    rows = [json.loads(line) for line in (ROOT / "infra/sample/ads_ecommerce.jsonl").read_text("utf-8").splitlines()]
    row = next(row for row in rows if row["language"] == "zh") | {"ad_id": "generation-test"}
    assert local_system_llm.http.put("/v1/ads", json={"ads": [row]}).json()["ads"][0]["active"]
    first = ask(local_system_llm, ad_id="generation-test", n=3)
    kept = [copy["text"] for copy in first["copies"] if copy["served_by"] == "llm"]
    if kept:
        banner = ask(local_system_llm, ad_id="generation-test", n=8)
        rungs = {copy["text"]: copy["served_by"] for copy in banner["copies"]}
        assert any(text in rungs for text in kept)


def test_the_beginning_of_a_prompt_is_read_once(local_system_llm: LocalSystem) -> None:
    def read(question: str) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them were there already."""
        messages = [
            {"role": "user", "content": "商品：云栖保温杯。500ml 不锈钢真空保温杯。\n广告文案："},
            {"role": "assistant", "content": "云栖保温杯，轻巧随行，一口温热。"},
            {"role": "user", "content": question},
        ]
        body = {"messages": messages, "max_tokens": 1, "temperature": 0.0}
        answer = httpx2.post(f"{local_system_llm.llm}/chat/completions", json=body, timeout=60, trust_env=False)
        usage = answer.raise_for_status().json()["usage"]
        return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]

    read("商品：星辰智能手机。6.7 英寸屏幕。\n广告文案：")
    tokens, cached = read("商品：星辰智能手机。6.7 英寸屏幕。\n广告文案：")
    assert cached >= tokens - 1
    tokens, cached = read("商品：白茶。200 克。\n广告文案：")
    assert tokens / 2 < cached < tokens - 1


def test_a_job_runs_through_the_queue(local_system_llm: LocalSystem) -> None:
    answer = local_system_llm.http.post("/v1/copy", json={"ad": PHONE, "n": 9})
    assert answer.status_code == 202
    place = answer.headers["location"]
    deadline = time.monotonic() + 240
    while (job := local_system_llm.http.get(place).json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
    assert job["state"] == "done" and job["progress"] == 1.0, job
    inspect(job["result"], PHONE)


@pytest.mark.llm
def test_smollm2_writes_english(new_system: LocalSystem) -> None:
    try:
        llm_server.gguf("smollm2")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    new_system.arguments = ("--llm", "smollm2", "--no-sample")
    new_system.start()
    question = ChatRequest(({"role": "user", "content": "Write one short sentence about running shoes."},), n=2)
    written = OpenAICompatible(new_system.llm, "local").complete(question, timeout=60)
    assert written.finished == 2 and re.search("[a-z]{3}", written.texts[0])
    inspect(ask(new_system, ad=SHOES, n=3), SHOES)


def test_without_a_model_the_templates_answer(local_system: LocalSystem) -> None:
    started = time.monotonic()
    body = ask(local_system, ad=PHONE | {"attributes": {"price": 1999, "battery_mAh": 5000}}, n=5)
    assert time.monotonic() - started < 5
    assert len(body["copies"]) == 5 and body["served_by"] == "template"


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({"ad": PHONE, "n": 51}, "n"),
        ({"ad": PHONE, "n": 0}, "n"),
        ({"ad": {"description": "no title"}}, "ad.title"),
        ({"ad": PHONE, "channel": "telegram"}, "channel"),
        ({"ad": PHONE, "language": "fr"}, "language"),
    ],
)
def test_a_wrong_request_names_its_field(local_system: LocalSystem, request_body: dict[str, Any], field: str) -> None:
    answer = local_system.http.post("/v1/copy", json=request_body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_unknown_ads_and_jobs_are_not_found(local_system: LocalSystem) -> None:
    assert local_system.http.post("/v1/copy", json={"ad_id": "nope"}).status_code == 404
    assert local_system.http.get(f"/v1/copy/{'0' * 32}").status_code == 404


def test_the_prompt_files_ship_with_the_package() -> None:
    folder = Path(ROOT / "shared" / "generating")
    assert {path.name for path in folder.glob("*.json")} == {"copy-templates.json"}
    assert {path.stem for path in (folder / "prompts").glob("*.json")} == {"few-shot", "tuned", "instruct", "judge"}
