"""Copies the serving image into this account's registry: SageMaker takes none of the public gallery.

    python -m infra.gpu_endpoint.image --region eu-central-1

The image is the vLLM container that AWS maintains for SageMaker, unchanged: it reads ``SM_VLLM_X_Y`` as vLLM's argument
``--x-y``, so there is nothing to build. `crane` copies it from registry to registry; without it, Docker pulls and
pushes (about 10 GB each way). The last line of stdout is the parameter ``ImageUri=…``, pinned by digest.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

SOURCE = "public.ecr.aws/deep-learning-containers/vllm:server-sagemaker-cuda-v2.5"
REPOSITORY = "adtailor-vllm"
TOOLS = ("crane", "docker")  # by preference

Run = Callable[[Sequence[str], str | None], None]


class CopyError(Exception):
    """The image is not in the registry; the message says why."""


def run(command: Sequence[str], stdin: str | None = None) -> None:
    """Runs a command, its output on stderr.

    Raises:
        CopyError: it fails.
    """
    done = subprocess.run(command, input=stdin, text=True, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise CopyError(f"{' '.join(command[:2])} failed with status {done.returncode}")


def copy_image(ecr: Any, *, source: str, repository: str, tool: str, run: Run = run) -> str:
    """Copies `source` to `repository` of the registry behind the boto3 client `ecr`, where its tag is not there yet.

    The repository is made where it is missing. Returns the copy's URI with its digest.

    Raises:
        CopyError: `source` has no tag, the copy fails, or the registry does not have it afterwards.
    """
    _, colon, tag = source.rpartition("/")[2].partition(":")
    if not colon or "@" in source:
        raise CopyError(f"{source!r} has no tag: a pinned one says what is copied")
    uri = _repository(ecr, repository)
    digest = _digest(ecr, repository, tag)
    if digest is None:
        user, password = _login(ecr)
        registry = uri.partition("/")[0]
        if tool == "crane":
            run(["crane", "auth", "login", registry, "--username", user, "--password-stdin"], password)
            run(["crane", "copy", "--platform", "linux/amd64", source, f"{uri}:{tag}"], None)
        else:
            run(["docker", "login", "--username", user, "--password-stdin", registry], password)
            run(["docker", "pull", "--platform", "linux/amd64", source], None)
            run(["docker", "tag", source, f"{uri}:{tag}"], None)
            run(["docker", "push", f"{uri}:{tag}"], None)
        digest = _digest(ecr, repository, tag)
    if digest is None:
        raise CopyError(f"{uri} has no image {tag} after the copy")
    return f"{uri}@{digest}"


def _repository(ecr: Any, name: str) -> str:
    try:
        found = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    except ecr.exceptions.RepositoryNotFoundException:
        found = ecr.create_repository(
            repositoryName=name,
            imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
        )["repository"]
    return str(found["repositoryUri"])


def _digest(ecr: Any, repository: str, tag: str) -> str | None:
    try:
        images = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ecr.exceptions.ImageNotFoundException:
        return None
    return str(images[0]["imageDigest"]) if images else None


def _login(ecr: Any) -> tuple[str, str]:
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password


def main(
    region: Annotated[str | None, typer.Option(help="Region of the endpoint; default: the environment's.")] = None,
    source: Annotated[str, typer.Option(help="Image to copy, with its tag.")] = SOURCE,
    repository: Annotated[str, typer.Option(help="Name of the private repository, without a slash.")] = REPOSITORY,
) -> None:
    """Copies the serving image into this account's registry and prints its URI."""
    tool = next((name for name in TOOLS if shutil.which(name)), None)
    try:
        if tool is None:
            raise CopyError("neither crane nor docker is installed")
        if "/" in repository:
            raise CopyError("template.yaml takes no repository with a slash")
        uri = copy_image(boto3.client("ecr", region_name=region), source=source, repository=repository, tool=tool)
    except (CopyError, BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    print(f"ImageUri={uri}")


if __name__ == "__main__":
    typer.run(main)
