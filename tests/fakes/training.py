"""Both adapters of the training jobs' port on an AWS in this process, and the use case on either."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker import sagemaker_backends

from shared.stores import Stores
from shared.stores.training_jobs import (
    JobStatus,
    QueuedJobs,
    SageMakerJobs,
    SageMakerPlace,
    TrainingJobs,
    write_status,
)
from shared.training import Training
from tests.conftest import REGION, TENANT, Aws, session
from tests.fakes.system import Clock

KEY = f"labels/{TENANT}/topics.jsonl"
GOOD = b"".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}).encode() + b"\n" for n in range(6))
ROLE = "arn:aws:iam::123456789012:role/training"
PLACE = SageMakerPlace(
    image="763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch-training:2.8.0-gpu-py312",
    role=ROLE,
    source="s3://adtailor-test/artifacts-source/0123456789ab/source.tar.gz",
    bucket="adtailor-test",
    stack="adtailor",
)


class Plane:
    """SageMaker as moto has it, with what it leaves out: a name is taken once, and jobs take their time. refuse: the
    code of the error that CreateTrainingJob answers with."""

    def __init__(self, client: Any) -> None:
        self.meta = client.meta
        self._client = client
        self.refuse = ""
        self.requests: list[dict[str, Any]] = []

    def create_training_job(self, **request: Any) -> Any:
        name = request["TrainingJobName"]
        if self.refuse or name in self.jobs():
            code = self.refuse or "ResourceInUse"
            raise ClientError({"Error": {"Code": code, "Message": "no more of these"}}, "CreateTrainingJob")
        answer = self._client.create_training_job(**request)
        self.requests.append(request)
        self.end(name, "InProgress")
        return answer

    def describe_training_job(self, **request: Any) -> Any:
        return self._client.describe_training_job(**request)

    def jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION].training_jobs
        return found

    def end(self, name: str, status: str, reason: str | None = None) -> None:
        job = self.jobs()[name]
        job.training_job_status = job.secondary_status = status
        job.failure_reason = reason


@dataclass
class Trainers:
    """An adapter, and what a test does behind its back."""

    jobs: TrainingJobs
    stores: Stores
    started: Callable[[], int]
    end: Callable[[str, str, str | None], None]
    plane: Plane | None = None


def sagemaker_trainers(stores: Stores) -> Trainers:
    plane = Plane(session().client("sagemaker"))

    def end(name: str, state: str, reason: str | None) -> None:
        plane.end(name, state.title(), reason)

    return Trainers(SageMakerJobs(plane, PLACE), stores, lambda: len(plane.requests), end, plane)


def queued_trainers(stores: Stores, aws: Aws) -> Trainers:
    url = aws.sqs.create_queue(QueueName="training")["QueueUrl"]
    stores = replace(stores, queues=type(stores.queues)(aws.sqs, {"training": url}))

    def waiting() -> int:
        answer = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def end(name: str, state: str, reason: str | None) -> None:
        write_status(stores.objects, name, JobStatus(state, reason))  # type: ignore[arg-type]

    return Trainers(QueuedJobs(stores.queues, stores.objects, max_seconds=1200), stores, waiting, end)


@dataclass
class Service:
    """The use case on an adapter, with a clock. `head`: what is kept of the head "topics"."""

    trainers: Trainers
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.training = Training(
            self.trainers.stores, self.trainers.jobs, reserved={"adproduct"}, clock=self.clock, prefix="adtailor"
        )

    def upload(self, body: bytes = GOOD, key: str = KEY) -> Any:
        self.trainers.stores.objects.put(key, body)
        return self.training.ingest(key)

    def publish(self, version: str = "v1", **more: str) -> None:
        put, prefix = self.trainers.stores.objects.put, f"artifacts/{TENANT}/heads/topics"
        figures = {"accuracy": 0.9, "macro_f1": 0.8, "ece": 0.02, "answered": 0.7}
        measured = {"dev": figures, "frozen_head": {"accuracy": 0.7, "macro_f1": 0.6}} | more
        metadata = {"labels": ["a", "b"], "metrics": measured}
        put(f"{prefix}/{version}/manifest.json", json.dumps({"metadata": metadata}).encode())
        put(f"{prefix}/latest", version.encode())

    def end(self, state: str = "completed", reason: str | None = None) -> Any:
        row = self.row
        self.trainers.end(row.job, state, reason)
        return self.training.ended(TENANT, "topics", row.job)

    @property
    def row(self) -> Any:
        return self.trainers.stores.heads.get(TENANT, "topics")
