"""`python -m infra.console_site` against the local AWS services: the stack of the page is made, and filled."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore.config import Config

from infra import layer, sam
from infra.console_site import FILES, policy
from infra.emulator import Emulator
from infra.local.processes import StartError, free_port
from tests.data import ROOT
from tests.sam.conftest import absent

pytestmark = pytest.mark.slow

REGION = sam.MADE_UP["AWS_DEFAULT_REGION"]
API = "https://a1.execute-api.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """With a stack that has the outputs of the main one; what the page needs of it is no more."""
    try:
        running = Emulator(tmp_path_factory.mktemp("site"), free_port())
    except (StartError, sam.Missing, layer.BuildError) as error:
        absent(str(error))
    try:
        running.wait()
        outputs = {"ApiUrl": API, "BucketName": "adtailor-data-1"}
        main = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
        main["Outputs"] = {name: {"Value": value} for name, value in outputs.items()}
        client(running, "cloudformation").create_stack(StackName="adtailor", TemplateBody=json.dumps(main))
        yield running
    finally:
        running.stop()


def client(emulator: Emulator, service: str) -> Any:
    keys = (sam.MADE_UP["AWS_ACCESS_KEY_ID"], sam.MADE_UP["AWS_SECRET_ACCESS_KEY"])
    config = Config(retries={"max_attempts": 1}, proxies={"https": ""})
    trusted = emulator.environment()["AWS_CA_BUNDLE"]
    session = boto3.Session(*keys, region_name=REGION)
    return session.client(service, endpoint_url=emulator.url, verify=trusted, config=config)


def site(emulator: Emulator, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "infra.console_site", *arguments],
        cwd=ROOT,
        env=emulator.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outputs(emulator: Emulator) -> dict[str, str]:
    [stack] = client(emulator, "cloudformation").describe_stacks(StackName="adtailor-console")["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def test_the_page_is_made_and_made_again(emulator: Emulator) -> None:
    said = site(emulator)
    first = outputs(emulator)
    assert first["Origin"].endswith(".cloudfront.net") and f"CorsOrigin={first['Origin']}" in said
    s3 = client(emulator, "s3")
    names = {one["Key"] for one in s3.list_objects_v2(Bucket=first["BucketName"])["Contents"]}
    assert names == {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()} | {
        "people.json"
    }
    config = s3.get_object(Bucket=first["BucketName"], Key="config.json")
    assert json.loads(config["Body"].read()) == {"api": API}
    assert (config["ContentType"], config["CacheControl"]) == ("application/json", "no-cache")
    headers = client(emulator, "cloudfront").list_response_headers_policies(Type="custom")
    [made] = headers["ResponseHeadersPolicyList"]["Items"]
    security = made["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert security["ContentSecurityPolicy"]["ContentSecurityPolicy"] == policy([API, emulator.url])

    site(emulator, "--connect", "https://more.example")  # another policy, the same bucket and address
    assert outputs(emulator) == first


def test_nobody_reads_the_bucket_but_by_the_distribution(emulator: Emulator, tmp_path: Path) -> None:
    site(emulator)
    url = f"{emulator.url}/{outputs(emulator)['BucketName']}/index.html"
    trusted = ssl.create_default_context(cafile=emulator.environment()["AWS_CA_BUNDLE"])
    with httpx2.Client(verify=trusted, trust_env=False) as stranger:
        assert stranger.get(url).status_code == 403
