"""Training jobs: the port, and its adapters to SageMaker and to the queue of the local run.

A job trains a head on labels or a tenant's ranker on its decision log. It is started by name, and a name is started
once. What is asked of a job is whether it runs, and why it failed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import NotFound, Unavailable
from shared.stores.faults import passing, watch
from shared.stores.objects import Objects
from shared.stores.queues import Queues
from shared.telemetry import logger

JobState = Literal["queued", "running", "completed", "failed"]
JobKind = Literal["head", "ranker"]
LONGEST_NAME = 63  # SageMaker: of a training job
SILENCE = 900.0  # seconds after which a job that nobody confirmed was never started
NEVER_STARTED = "the training job was never started"
SPARE_SHARE = 0.25  # of a job's time, for starting, installing and publishing
SPOT_WAIT = 2.0  # times the job's own limit: how long it may wait for spare capacity and go on after interruptions
VOLUME_GB = 30
REFUSED = "not trained: "  # how the job says what is for the tenant (`infra.training_job.entry`)
UNTOLD = "the job failed: see its log"
_EXIT = re.compile(r", exit code: \d+$")  # SageMaker's, behind what the job said
_WHO = "SageMaker"
_CHANNELS = "/opt/ml/input/data"
_CODE = "/opt/ml/code"
# Local disks of these are encrypted by the instance; SageMaker refuses a key for them.
_OWN_DISKS = ("ml.g", "ml.p4", "ml.p5", "ml.m5d", "ml.c5d")
_STATES: dict[str, JobState] = {
    "InProgress": "running",
    "Stopping": "running",
    "Completed": "completed",
    "Failed": "failed",
    "Stopped": "failed",
}


# By error code, for the tenant: AWS's own words name roles, accounts and other resources.
_REFUSALS = {
    "AccessDeniedException": "the system lacks a permission",
    "ResourceLimitExceeded": "the account's quota of training instances of this type is used up",
    "ResourceNotFound": "something that training needs is not there",
    "ValidationException": "a setting of the training is not as it must be",
}


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, made by `head_job` or `ranker_job`. name: at most 63 letters, digits and single hyphens.

    parameters: what the entry script reads besides the tenant, the seed and the time. inputs: by channel the prefix of
    the bucket's keys that it brings; what lies there is laid out below the channel's folder as it is named behind the
    prefix's last slash.
    """

    name: str
    tenant: str
    kind: JobKind
    parameters: Mapping[str, str]
    inputs: Mapping[str, str]
    seed: int = 0


def head_job(name: str, tenant: str, head: str, labels: str, *, seed: int = 0) -> TrainingJob:
    """Trains a head. labels: name of the file of rows, which lies at ``labels/{tenant}/`` of the bucket beside the
    others of its head."""
    # With the dot, or the head "news" would bring along the files of "news-short".
    inputs = {"train": f"labels/{tenant}/{head}."}
    return TrainingJob(name, tenant, "head", {"head": head, "labels": labels}, inputs, seed)


def ranker_job(name: str, tenant: str, *, current: str | None, seed: int = 0) -> TrainingJob:
    """Trains a tenant's ranker on its decision log and has the gate judge it. current: version of the one in service.

    What the function prepared lies at `candidate_prefix`, and there the job leaves what came of it.
    """
    inputs = {"log": f"logs/{tenant}/decisions/", "prepared": f"{candidate_prefix(tenant, name)}prepared/"}
    if current:
        inputs["current"] = f"artifacts/{tenant}/ranker/{current}/"
    return TrainingJob(name, tenant, "ranker", {"job": name, "current": current or ""}, inputs, seed)


def candidate_prefix(tenant: str, job: str) -> str:
    """Where a ranker's job finds what was prepared for it (``prepared/``) and leaves its result (``result/``)."""
    return f"candidates/{tenant}/{job}/"


def job_name(prefix: str, kind: JobKind, tenant: str, subject: str, fingerprint: str, attempt: int) -> str:
    """The same for the same try at the same data; what fits of the subject's name is in it, for who reads a list."""
    digest = hashlib.sha256(f"{tenant}\0{subject}\0{fingerprint}\0{attempt}".encode()).hexdigest()[:12]
    room = LONGEST_NAME - len(prefix) - len(f"-{kind}--") - len(digest)
    words = "-".join(part for part in subject.lower().replace("_", "-").split("-") if part)[: max(room, 0)].strip("-")
    return "-".join(part for part in (prefix, kind, words, digest) if part)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job stands; `reason` where it failed."""

    state: JobState
    reason: str | None = None


QUEUED, RUNNING = JobStatus("queued"), JobStatus("running")


class TrainingRefused(Exception):
    """The job cannot be started, and trying again as it is would not help; carries the sentence.

    detail: AWS's own words, for the log alone."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail or sentence


class TrainingJobs(Protocol):
    """The port."""

    def start(self, job: TrainingJob) -> None:
        """Starts the job; where one of that name exists, that is it.

        Raises:
            TrainingRefused: a quota, an image, a role: somebody must change something; Unavailable.
        """

    def find(self, name: str) -> JobStatus | None:
        """How the job stands; None where there is none.

        Raises:
            TrainingRefused: it may not be asked; Unavailable.
        """


def standing(jobs: TrainingJobs, name: str, *, submitted: bool, silent: float) -> JobStatus:
    """How a job stands for who started it: `QUEUED` where nothing is known of it.

    submitted: whether it is known to have been taken. silent: seconds since its row was written; a job that is not
    there after `SILENCE` of them has failed, with the reason `NEVER_STARTED` where nobody knows that it was taken.
    """
    try:
        status = jobs.find(name)
    except (TrainingRefused, Unavailable) as error:
        logger.warning("a training job cannot be asked", extra={"job": name, "detail": error.detail})
        return QUEUED
    if status is not None:
        return status
    if submitted:
        return JobStatus("failed", "the training job is not there any more")
    return QUEUED if silent < SILENCE else JobStatus("failed", NEVER_STARTED)


@dataclass(frozen=True, slots=True)
class SageMakerPlace:
    """Where SageMaker trains. source: ``s3://…/source.tar.gz`` (`infra.training_job.package`). max_seconds: of a job.
    kms_key: empty for keys that AWS keeps. subnets, security_groups: empty for SageMaker's own network."""

    image: str
    role: str
    source: str
    bucket: str
    instance_type: str = "ml.g5.xlarge"
    max_seconds: int = 3600
    spot: bool = True
    kms_key: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    stack: str = ""


class SageMakerJobs:
    """Jobs of Amazon SageMaker. client: boto3's ``sagemaker``."""

    def __init__(self, client: Any, place: SageMakerPlace) -> None:
        self._client = client
        self._place = place
        watch(client, _WHO)

    def start(self, job: TrainingJob) -> None:
        try:
            self._client.create_training_job(**self.request(job))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceInUse":
                return  # by this name: it was started before
            raise _refusal(error) from error
        except BotoCoreError as error:
            raise _refusal(error) from error

    def find(self, name: str) -> JobStatus | None:
        try:
            found = self._client.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            # SageMaker has no code of its own for what is not there.
            if error.response["Error"]["Code"] in ("ValidationException", "ValidationError", "ResourceNotFound"):
                return None
            raise _refusal(error) from error
        except BotoCoreError as error:
            raise _refusal(error) from error
        status = found["TrainingJobStatus"]
        state = _STATES.get(status, "running")
        if state != "failed":
            return JobStatus(state)
        limit = found.get("SecondaryStatus") in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded")
        if limit:
            return JobStatus(state, "it ran out of its time (TrainingMaxSeconds)")
        told = str(found.get("FailureReason") or "")
        if told and not told.startswith("AlgorithmError"):  # of what the job itself printed, its own log is told
            logger.error("a training job failed", extra={"job": name, "detail": told})
        return JobStatus(state, told_reason(told) if told else f"the job ended as {status}")

    def request(self, job: TrainingJob) -> dict[str, Any]:
        """The arguments of CreateTrainingJob.

        The container unpacks the source archive, which is an input channel of its own, and runs its entry script: so
        any image with Python and torch will do.
        """
        place, bucket = self._place, f"s3://{self._place.bucket}"
        work = f"{bucket}/checkpoints/{job.tenant}/{job.name}"
        script = (
            f"mkdir -p {_CODE} && tar -xzf {_CHANNELS}/source/source.tar.gz -C {_CODE} && cd {_CODE} && "
            "exec python3 -m infra.training_job.entry"
        )
        volume = {"VolumeKmsKeyId": place.kms_key} if place.kms_key and not self._has_disks else {}
        request: dict[str, Any] = {
            "TrainingJobName": job.name,
            "RoleArn": place.role,
            "AlgorithmSpecification": {
                "TrainingImage": place.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["/bin/sh", "-c", script],
            },
            "HyperParameters": hyper_parameters(job, place.max_seconds),
            "Environment": {
                "BUCKET_NAME": place.bucket,
                "TENANT": job.tenant,
                "STAGE": "training",
                "AWS_DEFAULT_REGION": self._client.meta.region_name,
            },
            "InputDataConfig": [
                *(_channel(name, f"{bucket}/{prefix}") for name, prefix in job.inputs.items()),
                _channel("source", place.source),
            ],
            "OutputDataConfig": {"S3OutputPath": f"{work}/output"}
            | ({"KmsKeyId": place.kms_key} if place.kms_key else {}),
            "CheckpointConfig": {"S3Uri": f"{work}/state", "LocalPath": "/opt/ml/checkpoints"},
            "ResourceConfig": {
                "InstanceType": place.instance_type,
                "InstanceCount": 1,
                "VolumeSizeInGB": VOLUME_GB,
            }
            | volume,
            "StoppingCondition": {"MaxRuntimeInSeconds": place.max_seconds},
            "EnableManagedSpotTraining": place.spot,
            "RetryStrategy": {"MaximumRetryAttempts": 2},  # of SageMaker's own failures
            "Tags": [
                {"Key": "adtailor:stack", "Value": place.stack},
                {"Key": "adtailor:tenant", "Value": job.tenant},
                {"Key": "adtailor:kind", "Value": job.kind},
                *(
                    {"Key": f"adtailor:{name}", "Value": value}
                    for name, value in job.parameters.items()
                    if name == "head"
                ),
            ],
        }
        if place.spot:
            request["StoppingCondition"]["MaxWaitTimeInSeconds"] = int(SPOT_WAIT * place.max_seconds)
        if place.subnets:
            request["VpcConfig"] = {
                "Subnets": list(place.subnets),
                "SecurityGroupIds": list(place.security_groups),
            }
        return request

    @property
    def _has_disks(self) -> bool:
        return self._place.instance_type.startswith(_OWN_DISKS)


def hyper_parameters(job: TrainingJob, max_seconds: int) -> dict[str, str]:
    """What the entry script (`infra.training_job.entry`) reads."""
    return {
        "kind": job.kind,
        "tenant": job.tenant,
        **job.parameters,
        "seed": str(job.seed),
        "budget_seconds": str(int(max_seconds * (1 - SPARE_SHARE))),
    }


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _refusal(error: Exception) -> Exception:
    """What AWS's error means for who asked."""
    if unavailable := passing(error, _WHO):
        return unavailable
    if isinstance(error, ClientError):
        told = error.response["Error"]
        code = told["Code"]
        why = _REFUSALS.get(code, "see the log of the function that starts it")
        return TrainingRefused(f"SageMaker refuses the job ({code}): {why}", f"{code}: {told.get('Message', '')[:500]}")
    return TrainingRefused("SageMaker cannot be asked: see the log of the function that starts jobs", str(error))


def told_reason(told: str) -> str:
    """What of a job's own failure is for the tenant: its sentence, never the end of a traceback."""
    _, _, sentence = told.partition(REFUSED)
    return _EXIT.sub("", sentence).strip() or UNTOLD


class QueuedJobs:
    """Jobs that the worker of the local run does, one after another. How each stands lies in S3, where the worker
    writes it (`infra.local.training`)."""

    def __init__(self, queues: Queues, objects: Objects, *, max_seconds: int) -> None:
        self._queues = queues
        self._objects = objects
        self._max_seconds = max_seconds

    def start(self, job: TrainingJob) -> None:
        known = read_status(self._objects, job.name)
        if known is None:
            write_status(self._objects, job.name, QUEUED)
        if known in (None, QUEUED):  # twice where somebody was cut off in between: the worker looks before it begins
            parameters = hyper_parameters(job, self._max_seconds)
            told = {"job": job.name, "max_seconds": self._max_seconds, "parameters": parameters}
            self._queues.send("training", told | {"inputs": dict(job.inputs)})

    def find(self, name: str) -> JobStatus | None:
        known = read_status(self._objects, name)
        if known is None or known.state != "failed":
            return RUNNING if known == QUEUED else known
        return JobStatus("failed", told_reason(known.reason or ""))


def read_status(objects: Objects, name: str) -> JobStatus | None:
    """How a job of the local run stands; None where none of that name was queued."""
    try:
        found: Mapping[str, Any] = orjson.loads(objects.get(_status_key(name)))
    except NotFound:
        return None
    return JobStatus(found["state"], found.get("reason"))


def write_status(objects: Objects, name: str, status: JobStatus) -> None:
    document = {"state": status.state, "reason": status.reason}
    objects.put(_status_key(name), orjson.dumps(document), "application/json")


def _status_key(name: str) -> str:
    return f"training/{name}.json"
