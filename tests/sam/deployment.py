"""The built template, deployed by `sam deploy` into local AWS services of a test module's own."""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from infra import sam
from infra.emulator import Emulator
from infra.local.processes import StartError, free_port
from tests.data import ROOT
from tests.sam.conftest import TENANT, absent

STACK = "adtailor"


@dataclass
class Deployed:
    """A stack in the emulator. seconds: what its deployment took."""

    emulator: Emulator
    certificate: Path
    aws: str
    seconds: float
    outputs: dict[str, str]

    def cli(self, *arguments: str) -> str:
        """What the AWS command line prints."""
        done = subprocess.run(
            [self.aws, *arguments],
            env=self.emulator.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, service: str, key: str = sam.MADE_UP["AWS_ACCESS_KEY_ID"]) -> Any:
        session = boto3.Session(key, sam.MADE_UP["AWS_SECRET_ACCESS_KEY"], region_name=self.region)
        config = Config(retries={"max_attempts": 1}, proxies={"https": ""})
        return session.client(service, endpoint_url=self.emulator.url, verify=str(self.certificate), config=config)

    region = sam.MADE_UP["AWS_DEFAULT_REGION"]

    def rows(self, partition: str) -> list[dict[str, Any]]:
        """The table's rows whose partition key starts with `partition`."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["TableName"])
        found = [row for page in pages for row in page["Items"] if row["pk"]["S"].startswith(partition)]
        return sorted(found, key=lambda row: (row["pk"]["S"], row["sk"]["S"]))

    def report(self, key: str) -> dict[str, Any] | None:
        """What the table says of an upload that has been taken in."""
        name = {"pk": {"S": f"t/{TENANT}/uploads"}, "sk": {"S": key}}
        row = self.client("dynamodb").get_item(TableName=self.outputs["TableName"], Key=name).get("Item")
        return row and {column: int(row[column]["N"]) for column in ("accepted", "duplicates", "rejected")}

    def function(self, name: str) -> str:
        """The physical name of a function of the template."""
        resource = self.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=name)
        return str(resource["StackResourceDetail"]["PhysicalResourceId"])

    def request(self, method: str, path: str, body: object = None, *, signed: bool = True) -> httpx2.Response:
        """A request to the deployed API, as its routes ask: signed with the caller's keys."""
        host = self.outputs["ApiUrl"].split("//")[1]
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "host": host}
        if signed:
            request = AWSRequest(method, f"https://{host}{path}", data=content, headers=headers)
            keys = Credentials(sam.MADE_UP["AWS_ACCESS_KEY_ID"], sam.MADE_UP["AWS_SECRET_ACCESS_KEY"])
            SigV4Auth(keys, "execute-api", self.region).add_auth(request)
            headers = dict(request.headers)
        trusted = ssl.create_default_context(cafile=self.certificate)
        with httpx2.Client(verify=trusted, timeout=120, trust_env=False) as client:
            return client.request(method, f"{self.emulator.url}{path}", content=content, headers=headers)


@contextmanager
def deployment(folder: Path, tenant: str = TENANT) -> Iterator[Deployed]:
    """A fresh emulator with the built template (the fixture `built`) deployed into it.

    folder: for certificate and log.
    """
    own = ROOT / ".tools" / "awscli" / "bin" / "aws"
    aws = str(own) if own.exists() else shutil.which("aws")
    if aws is None:
        absent("no AWS command line: run `make tools`")
    port = free_port()
    try:
        emulator = Emulator(folder, port, scratch())
    except (StartError, sam.Missing) as error:
        absent(str(error))
    try:
        emulator.wait()
        values = f"Stage=local Tenant={tenant} ConsentBasis=asserted KFloor=2 AwsEndpointUrl={emulator.url}"
        values += " Exploration=0 Rotation=0"
        command = [str(sam.cli()), "deploy", "--config-env=local", f"--parameter-overrides={values}"]
        environment = emulator.environment() | {"SAM_CLI_TELEMETRY": "0"}
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        seconds = time.monotonic() - start
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        result = Deployed(emulator, folder / "cert.pem", aws, seconds, {})
        (stack,) = result.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        result.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        yield result
    finally:
        emulator.stop()


def scratch() -> Path | None:
    """A folder in memory where there is much: the layer is unpacked and deleted many times."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 8e9
    return memory / f"adtailor-test-{secrets.token_hex(4)}" if roomy else None


def until(what: str, seconds: float, found: Callable[[], Any]) -> Any:
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.3)
    return result
