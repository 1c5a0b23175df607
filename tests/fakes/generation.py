"""Writers of copy whose answers a test sets, and an endpoint of SageMaker's that answers when it is told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ModelUnavailable
from shared.models.generator import Message


@dataclass
class ScriptedGenerator:
    """Answers with `texts`, or is down. Remembers what it was asked."""

    texts: Sequence[str] = ()
    down: bool = False
    name: str = "scripted"
    asked: list[list[Message]] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)

    def complete(self, messages: Sequence[Message], *, n: int, **settings: Any) -> list[str]:
        self.asked.append(list(messages))
        self.wanted.append(n)
        assert settings["timeout"] > 0
        if self.down:
            raise ModelUnavailable("the scripted model is down")
        return list(self.texts)[:n]

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
