"""Commands of the GPU endpoint: copying its image, publishing adapters and weights, and trying it over boto3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import typer
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from safetensors.numpy import save_file
from typer.testing import CliRunner

from infra.gpu_endpoint import adapters, image, smoke
from infra.gpu_endpoint.adapters import PublishError, publish
from infra.gpu_endpoint.image import CopyError, copy_image
from tests import cloudformation
from tests.cloudformation import Stack
from tests.data import ROOT

pytestmark = pytest.mark.slow

MODEL = "Qwen/Qwen3-4B-Instruct-2507"
BUCKET = "adtailor"
REGION = "eu-central-1"


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": REGION}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        yield


@pytest.fixture(scope="module")
def s3(credentials: None) -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


@pytest.fixture
def to() -> str:
    """Where a test publishes."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def keys(s3: Any, prefix: str) -> set[str]:
    root = prefix.removeprefix(f"s3://{BUCKET}/")
    return {one["Key"].removeprefix(root) for one in s3.list_objects_v2(Bucket=BUCKET, Prefix=root)["Contents"]}


def read(s3: Any, prefix: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=f"{prefix.removeprefix(f's3://{BUCKET}/')}{key}")["Body"].read())


# Adapters -------------------------------------------------------------------------------------------------------------

A, B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight" for half in "AB")


def make_adapter(folder: Path, *, rank: int = 8, tensors: dict[str, Any] | None = None, **config: Any) -> Path:
    """What peft's ``save_pretrained`` leaves, with one adapted matrix."""
    folder.mkdir(parents=True)
    whole = {
        "peft_type": "LORA",
        "base_model_name_or_path": MODEL,
        "r": rank,
        "lora_alpha": 16,
        "bias": "none",
        "use_dora": False,
        "modules_to_save": None,
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(whole | config))
    shapes = {A: np.zeros((rank, 4), np.float32), B: np.zeros((4, rank), np.float32)}
    save_file(tensors if tensors is not None else shapes, folder / "adapter_model.safetensors")
    (folder / "README.md").write_text("a card")
    return folder


def make_weights(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"w": np.zeros(2, np.float32)}, folder / "model.safetensors")
    (folder / "modeling.py").write_text("import os")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


def test_adapters_are_published_with_the_names_that_vllm_reads(s3: Any, tmp_path: Path, to: str) -> None:
    warm = make_adapter(tmp_path / "a")
    sporty = make_adapter(tmp_path / "b", rank=16)
    published = publish(s3, to, model_id=MODEL, adapters={"warm": warm, "sporty": sporty})
    assert keys(s3, published.prefix) == {
        "manifest.json",
        "adapters.yaml",
        *(f"adapters/{name}/{file}" for name in ("warm", "sporty") for file in adapters.FILES),
    }
    assert yaml.safe_load(read(s3, published.prefix, "adapters.yaml")) == {
        "lora-modules": ["sporty=/opt/ml/model/adapters/sporty", "warm=/opt/ml/model/adapters/warm"]
    }
    manifest = json.loads(read(s3, published.prefix, "manifest.json"))
    assert {name: entry["rank"] for name, entry in manifest["adapters"].items()} == {"warm": 8, "sporty": 16}
    assert (
        read(s3, published.prefix, "adapters/warm/adapter_config.json") == (warm / "adapter_config.json").read_bytes()
    )


def test_its_parameters_are_those_that_the_template_takes(s3: Any, tmp_path: Path, to: str) -> None:
    published = publish(
        s3,
        f"{to}/",
        model_id=MODEL,
        adapters={"warm": make_adapter(tmp_path / "a")},
        weights=make_weights(tmp_path / "w"),
    )
    given = dict(pair.split("=", 1) for pair in published.parameters().split(" "))
    assert given["ModelSource"] == "s3"
    image_uri = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/adtailor-vllm:v1"
    main = cloudformation.load(ROOT / "template.yaml")
    assert Stack(main, {"GpuEndpoint": "async", "ImageUri": image_uri, **given}).refused() == []


def test_a_publication_never_changes_and_the_next_one_keeps_what_it_held(s3: Any, tmp_path: Path, to: str) -> None:
    weights = make_weights(tmp_path / "w")
    first = publish(s3, to, model_id=MODEL, adapters={"warm": make_adapter(tmp_path / "a")}, weights=weights)
    again = publish(s3, to, model_id=MODEL, adapters={"warm": tmp_path / "a"}, weights=weights)
    assert again == first
    before = keys(s3, first.prefix)
    assert "base/model.safetensors" in before
    assert not {"base/modeling.py", "base/pytorch_model.bin"} & before
    second = publish(
        s3, to, model_id=MODEL, adapters={"cool": make_adapter(tmp_path / "b", rank=4)}, since=first.prefix
    )
    assert second.prefix != first.prefix and second.has_weights
    assert second.adapters == ("cool", "warm")
    assert read(s3, second.prefix, "base/model.safetensors") == (weights / "model.safetensors").read_bytes()
    assert read(s3, second.prefix, "adapters/warm/adapter_model.safetensors")
    third = publish(s3, to, model_id=MODEL, adapters={}, since=second.prefix, drop=["cool"])
    assert third.prefix == first.prefix  # the same content
    assert keys(s3, first.prefix) == before


@pytest.mark.parametrize(
    ("config", "tensors", "problem"),
    [
        ({"base_model_name_or_path": "other/model"}, None, "base_model_name_or_path is 'other/model'"),
        ({"peft_type": "IA3"}, None, "peft_type 'IA3'"),
        ({"r": 64}, None, "r 64: the endpoint takes 1 to 32"),
        ({"r": "many"}, None, "no configuration of a peft adapter"),
        ({"use_dora": True}, None, "use_dora True"),
        ({"bias": "all"}, None, "bias 'all'"),
        ({"modules_to_save": ["lm_head"]}, None, "modules_to_save"),
        ({"r": 4}, None, "ranks [8], r 4"),
        ({}, {"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)}, "no LoRA matrices"),
        ({}, {A: np.zeros((8, 4), np.float32), "x": np.zeros(1, np.float32)}, "not only LoRA matrices: x"),
        ({"rank_pattern": {"q": 64}}, {A: np.zeros((64, 4), np.float32)}, "ranks [64]"),
    ],
)
def test_what_the_endpoint_could_not_load_is_refused_here(
    s3: Any, tmp_path: Path, to: str, config: dict[str, Any], tensors: dict[str, Any] | None, problem: str
) -> None:
    folder = make_adapter(tmp_path / "a", tensors=tensors, **config)
    with pytest.raises(PublishError) as refused:
        publish(s3, to, model_id=MODEL, adapters={"warm": folder})
    assert problem in str(refused.value)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=to.rpartition("/")[2])


def test_layers_may_have_smaller_ranks_of_their_own(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", tensors={A: np.zeros((4, 4), np.float32)}, rank_pattern={"q_proj": 4})
    assert adapters.describe_adapter("warm", folder, MODEL)["rank"] == 8


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"adapters": {}}, "nothing to publish"),
        ({"adapters": {"Warm": Path("a")}}, "small letters"),
        ({"adapters": {"warm": Path("missing")}}, "no adapter_config.json"),
        ({"adapters": {}, "weights": Path("missing")}, "no config.json"),
        ({"adapters": {}, "since": f"s3://{BUCKET}/nothing/"}, "no publication"),
        ({"adapters": {}, "drop": ["warm"]}, "--drop warm"),
        ({"adapters": {}, "since": "nothing/"}, "s3://bucket/prefix"),
    ],
)
def test_a_mistake_is_named(s3: Any, tmp_path: Path, to: str, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(PublishError) as refused:
        publish(s3, to, model_id=MODEL, **given)
    assert problem in str(refused.value)


def test_a_publication_of_another_model_is_not_continued(s3: Any, tmp_path: Path, to: str) -> None:
    first = publish(s3, to, model_id=MODEL, adapters={"warm": make_adapter(tmp_path / "a")})
    with pytest.raises(PublishError, match="is of 'Qwen"):
        publish(s3, to, model_id="other/model", adapters={}, since=first.prefix)


def test_no_safetensors_file(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(b"not one")
    with pytest.raises(PublishError, match="no safetensors file"):
        adapters.describe_adapter("warm", folder, MODEL)


def command(main: Callable[..., None], *arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_publishing_from_the_command_line(s3: Any, tmp_path: Path, to: str) -> None:
    folder = make_adapter(tmp_path / "a")
    options = ["--model-id", MODEL, "--to", to]
    status, out, _ = command(adapters.main, *options, "--adapter", f"warm={folder}")
    assert status == 0
    assert out.startswith(f"ModelId={MODEL} ModelSource=hub ModelDataS3={to}/")
    assert out.rstrip().endswith("Adapters=warm")
    for pairs in (["--adapter", "warm"], ["--adapter", f"warm={folder}", "--adapter", f"warm={folder}"]):
        status, _, problem = command(adapters.main, *options, *pairs)
        assert status == 1 and problem.startswith("error: --adapter warm")


# The image ------------------------------------------------------------------------------------------------------------


class Registry:
    """Runs no command, but notes them; a push or copy puts the image into moto's registry."""

    def __init__(self, ecr: Any) -> None:
        self.ecr = ecr
        self.commands: list[list[str]] = []
        self.typed: list[str] = []
        self.works = True

    def __call__(self, command: Sequence[str], stdin: str | None) -> None:
        self.commands.append(list(command))
        if stdin is not None:
            self.typed.append(stdin)
        if command[:2] in (["docker", "push"], ["crane", "copy"]) and self.works:
            manifest = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"mediaType": "x", "size": 1, "digest": "sha256:" + "1" * 64},
                "layers": [],
            }
            repository, _, tag = command[-1].rpartition("/")[2].partition(":")
            self.ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with mock_aws():
        yield Registry(boto3.client("ecr"))


@pytest.mark.parametrize("tool", image.TOOLS)
def test_the_image_is_copied_once_and_named_by_its_digest(registry: Registry, tool: str) -> None:
    repository = f"{image.REPOSITORY}-{tool}"

    def copy() -> str:
        return copy_image(registry.ecr, source=image.SOURCE, repository=repository, tool=tool, run=registry)

    uri = copy()
    main = cloudformation.load(ROOT / "template.yaml")
    assert Stack(main, {"GpuEndpoint": "async", "ModelId": MODEL, "ImageUri": uri}).refused() == []
    assert uri.startswith(f"123456789012.dkr.ecr.{REGION}.amazonaws.com/{repository}@sha256:")
    assert {command[0] for command in registry.commands} == {tool}
    assert any(image.SOURCE in command for command in registry.commands)
    secret = registry.typed[0]
    assert not any(secret in part for command in registry.commands for part in command)
    done = len(registry.commands)
    assert copy() == uri
    assert len(registry.commands) == done
    (made,) = registry.ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"


def test_a_copy_that_did_not_arrive_is_no_success(registry: Registry) -> None:
    registry.works = False
    with pytest.raises(CopyError, match="has no image"):
        copy_image(registry.ecr, source=image.SOURCE, repository="vllm", tool="docker", run=registry)


@pytest.mark.parametrize("source", ["public.ecr.aws/x/vllm", f"public.ecr.aws/x/vllm@sha256:{'0' * 64}"])
def test_an_image_needs_a_tag(registry: Registry, source: str) -> None:
    with pytest.raises(CopyError, match="no tag"):
        copy_image(registry.ecr, source=source, repository="vllm", tool="docker", run=registry)
    assert registry.commands == []


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(CopyError, match="python3 -c failed with status 3"):
        image.run(["python3", "-c", "import sys; sys.exit(3)"])


# Trying it ------------------------------------------------------------------------------------------------------------


class Runtime:
    """SageMaker's asynchronous call: leaves an object in S3, as `outcome` says."""

    def __init__(self, s3: Any, outcome: str) -> None:
        self.s3 = s3
        self.outcome = outcome

    def invoke_endpoint_async(self, **call: str) -> dict[str, str]:
        places = {name: f"s3://{BUCKET}/jobs/{name}/{call['InferenceId']}.out" for name in ("output", "failed")}
        bucket, _, key = call["InputLocation"].removeprefix("s3://").partition("/")
        body = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        documents = {
            "output": {
                "choices": [{"message": {"content": f" Copy {number} "}} for number in range(body["n"])],
                "usage": {"completion_tokens": 7},
            },
            "failed": {"Message": f"The model `{body.get('model')}` does not exist."},
        }
        if self.outcome in documents:
            key = places[self.outcome].removeprefix(f"s3://{BUCKET}/")
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(documents[self.outcome]).encode())
        return {"OutputLocation": places["output"], "FailureLocation": places["failed"]}


def asynchronous(s3: Any, outcome: str, **options: Any) -> smoke.Invoke:
    options = {"patience": 60.0, "pause": 0.0} | options
    return smoke.asynchronous(Runtime(s3, outcome), s3, "copy", BUCKET, **options)


def test_an_asynchronous_answer_is_read_from_s3(s3: Any) -> None:
    trial = smoke.try_chat(asynchronous(s3, "output"), "", n=2, clock=iter([1.0, 3.0]).__next__)
    assert trial == smoke.Trial("", ("Copy 0", "Copy 1"), 7, 2.0)


def test_an_asynchronous_failure_is_read_from_s3(s3: Any) -> None:
    with pytest.raises(smoke.CallFailed, match="`gone` does not exist"):
        smoke.try_chat(asynchronous(s3, "failed"), "gone", n=1)


def test_patience_ends(s3: Any) -> None:
    times = iter([0.0, 30.0, 61.0])
    with pytest.raises(smoke.CallFailed, match="no answer within 60 s"):
        smoke.try_chat(asynchronous(s3, "nothing", clock=times.__next__), "", n=1)


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'])
def test_an_answer_that_is_no_chat_is_a_failure(answer: bytes) -> None:
    with pytest.raises(smoke.CallFailed, match="no chat completion"):
        smoke.try_chat(lambda body: answer, "", n=1)


def test_an_error_of_aws_is_a_failure() -> None:
    def refuse(body: bytes) -> bytes:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "InvokeEndpoint")

    with pytest.raises(smoke.CallFailed, match="AccessDenied"):
        smoke.try_chat(refuse, "", n=1)
