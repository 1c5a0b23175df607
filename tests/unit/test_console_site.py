"""The console as a static page: what is uploaded, what the page is told, and what its host sends along."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from infra import sam
from infra.console_site import FILES, SCOPES, Site, files, origin, policy
from infra.console_site import __main__ as command
from shared.scopes import SCOPES as KNOWN_SCOPES
from tests import cloudformation
from tests.cloudformation import Stack
from tests.conftest import Aws
from tests.data import ROOT

pytestmark = pytest.mark.slow

TEMPLATE = ROOT / "infra" / "console_site" / "template.yaml"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0123"
MAIN = {"ApiUrl": "https://a1.execute-api.eu-central-1.amazonaws.com", "BucketName": "adtailor-data-1"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return cloudformation.load(TEMPLATE)


def made(template: dict[str, Any], **given: str) -> dict[str, dict[str, Any]]:
    stack = Stack(template, {"ConnectSources": "https://a.example https://b.example:8443"} | given)
    assert stack.refused() == []
    return {name: one["Properties"] for name, one in stack.resources().items()}


# What is written -----------------------------------------------------------------------------------------------------


def test_every_file_goes_with_a_type_that_a_browser_takes() -> None:
    found = {name: kind for name, _, kind in files({"api": "https://a.example"})}
    assert found["index.html"] == "text/html; charset=utf-8"
    assert found["css/console.css"] == "text/css; charset=utf-8"
    assert {kind for name, kind in found.items() if name.endswith(".js")} == {"text/javascript; charset=utf-8"}
    assert {kind for name, kind in found.items() if "LICENSE" in name} == {"text/plain; charset=utf-8"}
    assert list(found)[-1] == "config.json"  # by then all that it speaks of is there


def test_nobodys_id_is_published() -> None:
    bodies = {name: body for name, body, _ in files({})}
    assert json.loads(bodies["people.json"]) == []


def test_a_page_of_the_repository_is_told_nothing() -> None:
    assert json.loads((FILES / "config.json").read_text()) == {}


def test_all_that_the_page_asks_for_is_uploaded() -> None:
    names = {name for name, _, _ in files({})}
    page = (FILES / "index.html").read_text()
    wanted = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    for script in FILES.glob("js/*.js"):
        wanted |= {f"js/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    wanted |= set(re.findall(r'"(vendor/[^"]+)"', (FILES / "js" / "session.js").read_text()))
    assert wanted <= names


def test_without_an_issuer_the_page_knows_of_none() -> None:
    assert Site("https://a.example", client_id="x").config() == {"api": "https://a.example"}


def test_with_an_issuer_it_asks_for_every_scope_that_there_is() -> None:
    config = Site("https://a.example", issuer="https://i.example/pool", client_id="x").config()
    assert config["issuer"] == "https://i.example/pool"
    assert set(config["scope"].split()) == {"openid", *KNOWN_SCOPES}


def test_it_may_speak_to_the_api_the_bucket_and_wherever_the_issuer_sends_it() -> None:
    site = Site(
        "https://a.example/", issuer="https://i.example/pool", uploads=("https://b.example", "https://b.example")
    )
    discovered = {"token_endpoint": "https://login.example/oauth2/token", "jwks_uri": "https://i.example/pool/jwks"}
    expected = ["https://a.example", "https://b.example", "https://i.example", "https://login.example"]
    assert site.connects(discovered) == expected


def test_an_origin_is_one_of_the_web() -> None:
    assert origin("https://a.example:8443/x?y") == "https://a.example:8443"
    for wrong in ("a.example", "ftp://a.example", "javascript:alert(1)", ""):
        with pytest.raises(ValueError, match="no URL"):
            origin(wrong)


# Where it lies -------------------------------------------------------------------------------------------------------


def test_there_the_page_has_the_policy_that_it_has_here(template: dict[str, Any]) -> None:
    headers = made(template)["Headers"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    there = headers["ContentSecurityPolicy"]["ContentSecurityPolicy"].strip()
    assert there == policy(["https://a.example", "https://b.example:8443"])


def test_only_this_distribution_reads_the_bucket(template: dict[str, Any]) -> None:
    found = made(template)
    assert set(found["Bucket"]["PublicAccessBlockConfiguration"].values()) == {True}
    tls, reads = found["BucketPolicy"]["PolicyDocument"]["Statement"]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert (reads["Principal"], reads["Action"]) == ({"Service": "cloudfront.amazonaws.com"}, "s3:GetObject")
    source = reads["Condition"]["StringEquals"]["AWS:SourceArn"]
    assert source == "arn:aws:cloudfront::123456789012:distribution/<Distribution>"
    assert found["AccessControl"]["OriginAccessControlConfig"]["SigningBehavior"] == "always"


def test_it_is_read_over_https_and_by_nothing_else(template: dict[str, Any]) -> None:
    behaviour = made(template)["Distribution"]["DistributionConfig"]["DefaultCacheBehavior"]
    assert (behaviour["ViewerProtocolPolicy"], behaviour["AllowedMethods"]) == ("redirect-to-https", ["GET", "HEAD"])
    own = made(template, DomainName="ads.example.com", CertificateArn=CERTIFICATE)["Distribution"]
    assert own["DistributionConfig"]["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert own["DistributionConfig"]["Aliases"] == ["ads.example.com"]


@pytest.mark.parametrize(
    "given",
    [
        {"ConnectSources": "http://a.example"},
        {"ConnectSources": "https://a.example; script-src *"},
        {"ConnectSources": "https://a.example/path"},
        {"DomainName": "ads.example.com"},
        {"CertificateArn": CERTIFICATE},
    ],
)
def test_what_would_open_the_policy_or_is_half_given_is_refused(
    template: dict[str, Any], given: dict[str, str]
) -> None:
    assert Stack(template, {"ConnectSources": "https://a.example"} | given).refused()


# The command ---------------------------------------------------------------------------------------------------------


class FakeCloudFormation:
    """Stacks with outputs and parameters; those that are not there are answered as the service does."""

    def __init__(self) -> None:
        self.stacks: dict[str, dict[str, Any]] = {}

    def put(self, name: str, outputs: dict[str, str], **parameters: str) -> None:
        self.stacks[name] = {
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        }

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - the service's own name
        if StackName not in self.stacks:
            said = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": said}, "DescribeStacks")
        return {"Stacks": [self.stacks[StackName]]}


@pytest.fixture
def formed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> FakeCloudFormation:
    """An account with the main stack's resources, and no issuer."""
    fake = FakeCloudFormation()
    fake.put("adtailor", MAIN)
    real = boto3.client
    monkeypatch.setattr(boto3, "client", lambda name: fake if name == "cloudformation" else real(name))
    return fake


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command.app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def answering(body: object, status: int = 200) -> httpx2.Client:
    """A client whose every request is answered so."""
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(status, json=body)))


def test_an_issuer_is_asked_where_its_endpoints_are() -> None:
    known = {"token_endpoint": "https://login.example/oauth2/token"}
    assert command.discovered("https://i.example/pool/", answering(known)) == known
    assert command.discovered("", answering({}, 500)) == {}
    with pytest.raises(command.Failed, match="does not say where its endpoints are"):
        command.discovered("https://i.example", answering({}, 404))
    unfit: list[object] = [{}, [], "x"]
    for wrong in unfit:
        with pytest.raises(command.Failed, match="no token_endpoint"):
            command.discovered("https://i.example", answering(wrong))


def test_the_files_go_into_a_bucket_that_is_there(
    aws: Aws, formed: FakeCloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    formed.put("adtailor", MAIN, JwtIssuer="https://i.example/pool", JwtAudience="client-1,other")
    known = {"token_endpoint": "https://login.example/oauth2/token"}
    monkeypatch.setattr(command, "discovered", lambda issuer, _: known if issuer else {})
    status, said = run("--bucket", aws.bucket)
    assert status == 0, said
    config = json.loads(aws.s3.get_object(Bucket=aws.bucket, Key="config.json")["Body"].read())
    told = {"api": MAIN["ApiUrl"], "issuer": "https://i.example/pool", "client_id": "client-1", "scope": SCOPES}
    assert config == told
    page = aws.s3.get_object(Bucket=aws.bucket, Key="index.html")
    assert page["Body"].read() == (FILES / "index.html").read_bytes()
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    assert MAIN["ApiUrl"] in said and "https://login.example" in said  # in the header that the host must send


def test_the_files_go_into_a_folder(formed: FakeCloudFormation, tmp_path: Path) -> None:
    status, said = run("--folder", str(tmp_path / "site"), "--connect", "https://more.example/x")
    assert status == 0, said
    assert json.loads((tmp_path / "site" / "config.json").read_text()) == {"api": MAIN["ApiUrl"]}
    assert (tmp_path / "site" / "js" / "app.js").read_bytes() == (FILES / "js" / "app.js").read_bytes()
    assert "no JwtIssuer" in said and "content-security-policy: default-src 'self'" in said
    assert f"https://{MAIN['BucketName']}.s3." in said and " https://more.example;" in said


def test_a_stack_of_its_own_is_made_and_filled(
    aws: Aws, formed: FakeCloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def deployed(arguments: list[str]) -> int:
        asked.extend(arguments)
        formed.put("adtailor-console", {"BucketName": aws.bucket, "Origin": "https://d1.cloudfront.net"})
        return 0

    monkeypatch.setattr(sam, "main", deployed)
    status, said = run()
    assert status == 0, said
    assert asked[:3] == ["deploy", "--stack-name", "adtailor-console"]
    sources = asked[-1].removeprefix("ConnectSources=").strip("'")
    pattern = cloudformation.load(TEMPLATE)["Parameters"]["ConnectSources"]["AllowedPattern"]
    assert re.fullmatch(pattern, sources) and sources.startswith(MAIN["ApiUrl"])
    assert "https://d1.cloudfront.net/" in said and "CorsOrigin=https://d1.cloudfront.net" in said
    assert aws.s3.head_object(Bucket=aws.bucket, Key="config.json")


def test_the_next_step_names_the_stack() -> None:
    made = Site("https://a.example", issuer="https://i.example", client_id="c")
    said = "\n".join(command.advice(made, ["https://a.example"], "https://d1.cloudfront.net", "mine"))
    assert "deploy --stack-name mine --parameter-overrides CorsOrigin=https://d1.cloudfront.net" in said
    assert "header" not in said
    own = "\n".join(command.advice(made, ["https://a.example"], "https://ads.example.com", "mine"))
    assert "header" not in own  # CloudFront sends them under any name


def test_of_a_host_that_is_not_known_nothing_is_made_up() -> None:
    made = Site("https://a.example", issuer="https://i.example", client_id="c")
    said = "\n".join(command.advice(made, ["https://a.example"], "", "mine"))
    assert "CorsOrigin=" not in said and "CorsOrigin" in said and "infra.sam" not in said
    assert "client c" in said and "content-security-policy" in said


def test_it_says_what_is_missing(formed: FakeCloudFormation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, expected in (
        (("--stack", "nowhere"), "no stack 'nowhere'"),
        (("--bucket", "x", "--folder", str(tmp_path)), "one of them"),
        (("--folder", str(tmp_path), "--connect", "more.example"), "is no URL"),
    ):
        status, said = run(*arguments)
        assert status == 1 and expected in said
    formed.put("other", {"TopicArn": "x"})
    status, said = run("--stack", "other")
    assert status == 1 and "no output ApiUrl, BucketName" in said
    monkeypatch.setattr(sam, "main", lambda _: 1)
    status, said = run()
    assert status == 1 and "adtailor-console was not made" in said
    assert list(tmp_path.iterdir()) == []  # nothing half done
