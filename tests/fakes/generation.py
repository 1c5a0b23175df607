"""Writers of copy whose answers a test sets, and an endpoint of SageMaker's that answers when it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain import Ad
from shared.errors import ModelUnavailable
from shared.generating import CopyRequest, CopyResult, Generating
from shared.models.generator import ChatRequest, Completions, Message, Usage
from shared.policy.rules import check
from shared.preprocess import parse_ad
from shared.stores import Stores
from shared.stores.copies import Copies
from tests.conftest import TENANT
from tests.fakes.models import TopicClassifier
from tests.fakes.system import FakeSystem


@dataclass
class ScriptedGenerator:
    """Answers with `texts`, or is down. Remembers what it was asked. `first`: other answers, one a request, before."""

    texts: Sequence[str] = ()
    first: list[Sequence[str]] = field(default_factory=list)
    down: bool = False
    name: str = "scripted"
    requests: list[ChatRequest] = field(default_factory=list)

    def complete(self, request: ChatRequest, *, timeout: float) -> Completions:
        assert timeout > 0
        self.requests.append(request)
        if self.down:
            raise ModelUnavailable("the scripted model is down")
        texts = tuple(self.first.pop(0) if self.first else self.texts)[: request.n]
        return Completions(texts, Usage(100, 20 * len(texts), seconds=0.5), finished=len(texts))

    @property
    def asked(self) -> list[list[Message]]:
        return [list(request.messages) for request in self.requests]

    @property
    def wanted(self) -> list[int]:
        return [request.n for request in self.requests]

    @property
    def prompt(self) -> str:
        """All that the model has ever been told."""
        return "\n".join(message["content"] for messages in self.asked for message in messages)


@dataclass
class FakeSageMakerRuntime:
    """boto3's ``sagemaker-runtime`` over a dictionary of objects (``s3://…`` to bytes)."""

    objects: dict[str, bytes]
    calls: list[dict[str, Any]] = field(default_factory=list)

    def invoke_endpoint_async(self, **call: Any) -> dict[str, str]:
        self.calls.append(call)
        job_id = call["InferenceId"]
        return {"OutputLocation": f"s3://out/{job_id}.out", "FailureLocation": f"s3://out/{job_id}-error.out"}

    def answer(self, texts: Sequence[str]) -> None:
        """The last call is done."""
        body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]}
        self.objects[f"s3://out/{self.calls[-1]['InferenceId']}.out"] = json.dumps(body).encode()

    def fail(self) -> None:
        self.objects[f"s3://out/{self.calls[-1]['InferenceId']}-error.out"] = b"out of memory"


PHONE = {
    "ad_id": "p1",
    "title": "Larkspur phone with a bright screen",
    "description": "A phone with a 6.6 inch screen, 5000 mAh battery and 67 W fast charging. Weighs 189 g.",
    "landing_url": "https://example.com/p1",
    "language": "en",
    "domain": "ecommerce",
    "brand": "Larkspur",
    "attributes": {"price": 299, "currency": "USD", "screen_inch": 6.6, "battery_mAh": 5000, "colour": "mint"},
}
PHONE_EN = parse_ad(PHONE, index=0)
assert isinstance(PHONE_EN, Ad)
PHONE_ZH = Ad(
    ad_id="zh",
    title="最新款智能手机，限时优惠！",
    description="6.6 英寸直屏，5000 mAh 电池，67 W 有线快充。",
    landing_url="https://example.com/",
    language="zh",
    domain="ecommerce",
    brand="澜星",
    attributes={"price": 1999, "currency": "CNY", "screen_inch": 6.6, "battery_mAh": 5000, "colour": "曜石黑"},
)
GOOD = [
    "Charge the phone fast, at 67 W: the battery has 5000 mAh.",
    "See it all on the 6.6 inch screen of the Larkspur phone.",
    "Larkspur: the bright phone for $299.",
]
BAD = {
    "A phone with 9000 mAh inside.": "unsupported",
    "The best phone that money can buy.": "policy cn.absolute",
    "This phone comes with free shipping.": "unsupported",
    "这是一部手机，屏幕很亮。": "not in English",
    "Have a look at what is here for you.": "says nothing of the ad",
    "phone phone phone phone phone phone": "repetitive",
}


@dataclass
class World:
    """Generation on fake models and an in-process AWS."""

    system: FakeSystem
    stores: Stores
    generator: ScriptedGenerator
    generating: Generating
    build: Callable[..., Generating]

    def copy(self, **request: Any) -> CopyResult:
        answer = self.generating.copy(TENANT, CopyRequest(**{"ad_id": "p1"} | request))
        assert isinstance(answer, CopyResult)
        return answer

    def interested(self, *users: str, topic: str = "phone") -> None:
        for user in users:
            row = {"user_id": user, "event": "purchase", "timestamp": self.system.clock.now - 60, "text": f"a {topic}"}
            assert self.system.profiling.post_events(TENANT, [row]).accepted == 1
            self.system.profiling.profile(TENANT, user)


def make_world(stores: Stores) -> World:
    """A phone's ad in the catalogue, nobody known, and a generator that answers with good and bad lines."""
    stores = replace(stores, copies=Copies(stores.table, "literal"))
    system = FakeSystem(stores)
    generator = ScriptedGenerator([*GOOD, *BAD])

    def build(**changes: Any) -> Generating:
        parts: dict[str, Any] = {
            "generator": generator,
            "wording": "literal",
            "k_floor": system.k_floor,
            "clock": system.clock,
        }
        encoder = changes.pop("encoder", lambda: system.encoder)
        return Generating(
            stores,
            encoder,
            changes.pop("classifier", TopicClassifier),
            system.profiles,
            check,
            **parts | changes,
        )

    kept = system.classifying.put_ads(TENANT, [PHONE])
    assert getattr(kept[0], "active", False), kept
    return World(system, stores, generator, build(), build)


def texts(result: CopyResult) -> list[str]:
    return [copy.text for copy in result.copies]
