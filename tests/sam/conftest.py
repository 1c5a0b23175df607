"""The deployed system on one machine: `sam build`'s output in Docker, beside the local AWS services on one network."""

from __future__ import annotations

import copy
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import pytest
import yaml

from infra import emulator, layer, sam
from infra.local import resources
from infra.local.processes import free_port
from tests.data import ROOT, artifact

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"  # what `sam local` runs functions in
EVENTS = ROOT / "tests" / "events"
BUILT = ROOT / ".aws-sam" / "build"
TENANT = "demo"
NO_DOCKER = "Docker is not running: the functions are not tried in their containers"
FUNCTIONS = {name: f"{name.capitalize()}Function" for name in ("profile", "classify", "generate", "recommend")}
SILENT = 9000  # a port of http://aws where something listens and never answers
# Functions of the template under other limits, beside the real ones: name -> (of which, properties, variables).
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "HangingGenerateFunction": ("GenerateFunction", {"Timeout": 6}, {"LLM_URL": f"http://aws:{SILENT}/v1"}),
    "SmallClassifyFunction": ("ClassifyFunction", {"MemorySize": 192}, {}),
}


def absent(reason: str) -> NoReturn:
    """Skips, or fails where ``REQUIRE_DOCKER=1``."""
    if os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def docker(*arguments: str, timeout: float = 120, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)}\n{done.stderr}")
    return done.stdout.strip()


def docker_runs() -> bool:
    return shutil.which("docker") is not None and bool(
        docker("version", "--format", "{{.Server.Version}}", check=False)
    )


def needs_docker() -> None:
    """Skips the module that calls it where Docker is missing: all of them together in one line of pytest's summary."""
    if not docker_runs() and os.environ.get("REQUIRE_DOCKER") != "1":
        pytest.skip(NO_DOCKER, allow_module_level=True)


@pytest.fixture(scope="session")
def engine() -> None:
    """A running Docker engine that has, or can pull, the functions' image."""
    if not docker_runs():
        absent(NO_DOCKER)
    if not docker("image", "ls", "--quiet", IMAGE):
        docker("pull", "--quiet", IMAGE, timeout=300, check=False)
        if not docker("image", "ls", "--quiet", IMAGE):
            absent(f"the image {IMAGE} is not here and cannot be pulled")


@pytest.fixture(scope="session")
def built() -> Path:
    """`sam build`'s output of the working tree."""
    for name in layer.SERVED:
        artifact(name)
    try:
        command = [str(sam.cli()), "build"]
        environment = sam.environment(["build"])
    except sam.Missing as error:
        absent(str(error))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILT


@dataclass
class Cloud:
    """The local AWS services with the template's resources, and `sam local` against them."""

    name: str  # of the Docker network, and of everything else that is made
    here: str  # URL of the services for this process
    variables: Path
    resources: resources.Resources
    lambda_url: str = ""  # of `sam local start-lambda`

    def client(self, service: str) -> Any:
        return resources.client(service, self.here)

    def options(self, **parameters: str) -> list[str]:
        """Options of `sam local` commands. `parameters` override the template's."""
        values = {
            "Stage": "local",
            "Tenant": TENANT,
            "ConsentBasis": "asserted",
            "Exploration": "0",
            "Rotation": "0",
            "KFloor": "2",
            "AwsEndpointUrl": "http://aws:4566",
        }
        pairs = [f"{name}={value}" for name, value in (values | parameters).items()]
        return [
            f"--docker-network={self.name}",
            f"--env-vars={self.variables}",
            "--skip-pull-image",
            "--parameter-overrides",
            " ".join(pairs),
        ]

    def call(self, function: str, event: dict[str, Any]) -> Answer:
        """What a function of `sam local start-lambda`, by its name in the template, answers to the event."""
        url = f"{self.lambda_url}/2015-03-31/functions/{function}/invocations"
        response = httpx2.post(url, json=event, timeout=240)
        assert response.status_code == 200, response.text
        return Answer(response.text, response.headers.get("x-amz-function-error"))

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """What one of `FUNCTIONS`, in a warm container, answers to the event."""
        answer = self.call(FUNCTIONS[function], event)
        assert answer.error is None, answer
        return json.loads(answer.text)

    def invoke_once(self, function: str, event: dict[str, Any], **parameters: str) -> Any:
        """What `sam local invoke`, in a container of its own, prints for the event."""
        command = [str(sam.cli()), "local", "invoke", FUNCTIONS[function], "--event=-", *self.options(**parameters)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=sam.environment(["local"]),
            input=json.dumps(event),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        assert done.returncode == 0 and lines, done.stdout + done.stderr
        return json.loads(lines[-1])

    def api(self, function: str, event: dict[str, Any]) -> tuple[int, Any]:
        """Status and body that the function answers to an API request."""
        return status_and_body(self.invoke(function, event))

    def upload(self, key: str, data: bytes, event: dict[str, Any]) -> dict[str, Any]:
        """Puts an object and returns `event` (an S3 notification) about it."""
        tag = self.client("s3").put_object(Bucket=self.resources.bucket, Key=key, Body=data)["ETag"].strip('"')
        event["Records"][0]["s3"]["object"] |= {"eTag": tag, "size": len(data)}
        return event

    def rows(self, partition: str) -> list[dict[str, Any]]:
        """The table's rows whose partition key starts with `partition`, in DynamoDB's wire form."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.resources.table)
        return [row for page in pages for row in page["Items"] if row["pk"]["S"].startswith(partition)]

    def containers(self, function: str) -> list[str]:
        """Ids of the running containers of a function, by its name in the template."""
        label = f"label=sam.cli.function.name={function}"
        return docker("ps", "--quiet", f"--filter=network={self.name}", f"--filter={label}").split()

    def take_message(self, queue: str, **expected: str) -> str:
        """Receives and deletes the queue's next message that has these fields; returns its body."""
        sqs, url = self.client("sqs"), self.resources.queues[queue]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages", ()):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                if expected.items() <= json.loads(message["Body"]).items():
                    return str(message["Body"])
        pytest.fail(f"no message with {expected} in the queue {queue}")


@dataclass(frozen=True)
class Answer:
    """What a caller of a function gets. error: of the runtime, where it failed the function."""

    text: str
    error: str | None


def status_and_body(answer: Any) -> tuple[int, Any]:
    """Of a function's answer to an API request."""
    assert "statusCode" in answer, answer
    return answer["statusCode"], json.loads(answer["body"])


def sqs_event(name: str, *bodies: str) -> dict[str, Any]:
    """An event of tests/events with these messages, whose ids are their places: 0, 1, …."""
    event = event_of(name)
    (record,) = event["Records"]
    return {"Records": [record | {"messageId": str(n), "body": body} for n, body in enumerate(bodies)]}


def event_of(name: str) -> dict[str, Any]:
    """An event of tests/events."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


@pytest.fixture(scope="session")
def services(engine: None, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The services in a container of the functions' own image, reachable from theirs as http://aws:4566."""
    folder = tmp_path_factory.mktemp("cloud")
    name = f"adtailor-test-{secrets.token_hex(4)}"
    settings = {
        "PYTHONPATH": "/emulator",
        "PYTHONDONTWRITEBYTECODE": "1",
        "BIND_HOST": "0.0.0.0",
        "GATEWAY_PORT": "4566",
        "MINISTACK_REGION": resources.CREDENTIALS["AWS_DEFAULT_REGION"],
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    docker("network", "create", name)
    try:
        docker(
            *("run", "--detach", "--rm", "--name", name, "--network", name, "--network-alias", "aws"),
            *("--publish", "127.0.0.1::4566", "--volume", f"{emulator.packages()}:/emulator:ro"),
            *(part for key, value in settings.items() for part in ("--env", f"{key}={value}")),
            *("--entrypoint", "/var/lang/bin/python3.13", IMAGE, "-m", "ministack"),
        )
        listen = f"import socket, time; s = socket.create_server(('', {SILENT}), backlog=64); time.sleep(1e6)"
        docker("exec", "--detach", name, "/var/lang/bin/python3.13", "-c", listen)
        here = f"http://{docker('port', name, '4566').splitlines()[0]}"
        wait_for(f"{here}/_ministack/health", 60)
        made = resources.create(here)
        resources.client("secretsmanager", here).create_secret(Name="pseudonym-key", SecretString=secrets.token_hex(32))
        variables = folder / "variables.json"
        variables.write_text(
            json.dumps(
                {
                    "Parameters": {
                        "TABLE_NAME": made.table,
                        "BUCKET_NAME": made.bucket,
                        "COPY_QUEUE_URL": made.queues["copy"],
                        "CATALOGUE_QUEUE_URL": made.queues["catalogue"],
                        "EVENT_QUEUE_URL": made.queues["events"],
                        "AD_QUEUE_URL": made.queues["ads"],
                        "PSEUDONYM_SECRET_ID": "pseudonym-key",
                    }
                }
            )
        )
        yield Cloud(name, here, variables, made)
    finally:
        for container in docker("ps", "--all", "--quiet", f"--filter=network={name}", check=False).split():
            docker("rm", "--force", container, check=False)
        docker("network", "rm", name, check=False)


@pytest.fixture(scope="session")
def cloud(services: Cloud) -> Iterator[Cloud]:
    """The services, and `sam local start-lambda` with a warm container a function that is called."""
    template = BUILT / "variants.json"
    template.write_text(json.dumps(with_variants(BUILT / "template.yaml")))
    with served(services, "start-lambda", f"--template={template}", "--warm-containers=LAZY") as url:
        services.lambda_url = url
        yield services


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads CloudFormation's short tags as the functions that JSON spells out."""


def _function(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: str(value).split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", _function)


def with_variants(built: Path) -> dict[str, Any]:
    """The built template and `VARIANTS`."""
    template: dict[str, Any] = yaml.load(built.read_text(encoding="utf-8"), Loader)
    for name, (of, properties, variables) in VARIANTS.items():
        function = copy.deepcopy(template["Resources"][of])
        function["Metadata"] = function.get("Metadata", {}) | {"SamResourceId": name}  # by which the CLI finds it
        function["Properties"].pop("Events", None)
        function["Properties"] |= properties
        function["Properties"]["Environment"]["Variables"] |= variables
        template["Resources"][name] = function
    return template


@contextmanager
def served(cloud: Cloud, *command: str) -> Iterator[str]:
    """`sam local {command}` as a server; gives its URL."""
    port = free_port()
    log = cloud.variables.with_name(f"{command[0]}.log")
    whole = [str(sam.cli()), "local", *command, f"--port={port}", "--no-watch", *cloud.options()]
    with log.open("wb") as out:
        process = subprocess.Popen(whole, cwd=ROOT, env=sam.environment(["local"]), stdout=out, stderr=out)
    try:
        try:
            wait_for(f"http://127.0.0.1:{port}/", 240, process)
        except TimeoutError:
            pytest.fail(f"sam local {command[0]} does not answer\n{log.read_text(errors='replace')[-4000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def catalogue(cloud: Cloud) -> dict[str, Any]:
    """Body of the answer to PUT /v1/ads, after the catalogue that it changed has been published."""
    status, body = cloud.api("classify", event_of("classify_api"))
    assert status == 200, body
    message = cloud.take_message("catalogue", tenant=TENANT)
    assert cloud.invoke("classify", sqs_event("classify_sqs", message)) == {"batchItemFailures": []}
    assert isinstance(body, dict)
    return body


@pytest.fixture(scope="session")
def api(cloud: Cloud, catalogue: dict[str, Any]) -> Iterator[httpx2.Client]:
    """`sam local start-api` with warm containers."""
    with (
        served(cloud, "start-api", "--warm-containers=EAGER") as url,
        httpx2.Client(base_url=url, timeout=120) as client,
    ):
        yield client


def wait_for(url: str, seconds: float, process: subprocess.Popen[bytes] | None = None) -> None:
    """Returns when something answers at `url`, whatever it says.

    Raises:
        TimeoutError: nothing does, or `process` has ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx2.get(url, timeout=5)
            return
        except httpx2.TransportError:
            if time.monotonic() > deadline or (process is not None and process.poll() is not None):
                raise TimeoutError(url) from None
            time.sleep(0.3)
