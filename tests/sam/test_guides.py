"""The guides' commands for AWS, as they stand, against a deployment to the local AWS services: by the command line,
signed by an IAM user who may do what the deploy guide lists and nothing else. The services check that user's signatures
and policy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documents import GUIDES, blocks
from tests.fakes.decided import make_ranker
from tests.sam.deployment import STACK, Deployed, deployment

pytestmark = pytest.mark.slow

OWNER = "main"  # the tenant that the guides speak of
CALLER = "caller"
_ERASES = "adtailor erase"


@dataclass
class Shell:
    """A terminal in a newcomer's folder. owner: the environment of who deployed; caller: of the user with the
    guide's policy."""

    deployed: Deployed
    folder: Path
    owner: dict[str, str]
    caller: dict[str, str]

    def run(self, command: str, env: dict[str, str], *, status: int | None = 0) -> str:
        """What it printed on both streams."""
        done = subprocess.run(
            ["sh", "-e", "-c", command],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if status is not None:
            assert done.returncode == status, f"{done.returncode}:\n{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def follow(self, guide: str, kind: str, env: dict[str, str]) -> str:
        """Every block of a kind, in its order, but for what erases somebody; what they printed."""
        found = [block for block in blocks(GUIDES / guide, kind) if _ERASES not in block]
        assert found
        return "".join(self.run(block.replace('PATH="$PWD/.venv/bin:$PATH"', 'PATH="$PATH"'), env) for block in found)


@pytest.fixture(scope="module")
def shell(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with deployment(tmp_path_factory.mktemp("emulator"), OWNER) as deployed:
        folder = tmp_path_factory.mktemp("newcomer")
        tools = os.pathsep.join((str(Path(sys.executable).parent), str(Path(deployed.aws).parent)))
        plain = {"COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        owner = deployed.emulator.environment() | plain | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        for name in ("ADTAILOR_URL", "ADTAILOR_AWS_URL", "ADTAILOR_TOKEN", "ADTAILOR_STACK"):
            owner.pop(name, None)
        (policy,) = blocks(GUIDES / "deploy.md", "json")
        names = {
            "arn:aws:cloudformation:REGION:ACCOUNT:stack/STACK/*": f"arn:aws:cloudformation:*:*:stack/{STACK}/*",
            "REGION:ACCOUNT:API": "*:*:*",
            "REGION:ACCOUNT": "*:*",
            "BUCKET": deployed.outputs["BucketName"],
            "TABLE": deployed.outputs["TableName"],
            "TENANT": OWNER,
        }
        for name, value in names.items():
            policy = policy.replace(name, value)
        (folder / "policy.json").write_text(policy, encoding="utf-8")
        deployed.cli("iam", "create-user", "--user-name", CALLER)
        document = f"file://{folder / 'policy.json'}"
        deployed.cli(
            "iam", "put-user-policy", f"--user-name={CALLER}", "--policy-name=a", f"--policy-document={document}"
        )
        key = json.loads(deployed.cli("iam", "create-access-key", "--user-name", CALLER, "--output", "json"))[
            "AccessKey"
        ]
        signing = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        yield Shell(deployed, folder, owner, owner | signing | {"ADTAILOR_STACK": STACK})


@pytest.fixture(scope="module")
def own_data(shell: Shell) -> str:
    """What the page `own-data.md` printed, followed on AWS by the caller."""
    return shell.follow("own-data.md", "sh", shell.caller) + shell.follow("own-data.md", "sh aws", shell.caller)


def test_own_data_goes_the_same_way_on_aws(shell: Shell, own_data: str) -> None:
    assert "behaviour.jsonl.gz: 10 in, 0 duplicates, 0 rejected" in own_data
    assert re.search(r"^1 +P30[01] ", own_data, re.MULTILINE)  # m001: coffee, and not what was bought
    assert "the very same file was in already" in own_data


def test_commands_of_the_deploy_guide(shell: Shell, own_data: str) -> None:
    said = shell.follow("deploy.md", "sh aws", shell.caller)
    assert "adproduct:1114" in said and "for somebody unknown" in said


def test_a_signature_by_another_secret_is_refused(shell: Shell) -> None:
    url = {"ADTAILOR_URL": shell.deployed.outputs["ApiUrl"], "ADTAILOR_STACK": ""}
    assert "adproduct:" in shell.run("adtailor classify phone", shell.caller | url)
    forged = shell.caller | url | {"AWS_SECRET_ACCESS_KEY": "x" * 40}
    assert "signature" in shell.run("adtailor classify phone", forged, status=1)
    assert "Traceback" not in shell.run(
        "adtailor classify phone", shell.caller | {"AWS_SECRET_ACCESS_KEY": "x"}, status=1
    )
    shell.run("adtailor classify phone --auth none", shell.caller | url, status=1)


def test_the_policy_of_the_guide_allows_nothing_else(shell: Shell) -> None:
    bucket = shell.deployed.outputs["BucketName"]
    for command in (
        f"aws s3 ls s3://{bucket}/events/",
        f"aws s3 cp policy.json s3://{bucket}/events/another/x.jsonl",
        f"aws dynamodb scan --table-name {shell.deployed.outputs['TableName']}",
        "python -m infra.redrive --stack adtailor",
    ):
        assert re.search("not authorized|AccessDenied|Forbidden", shell.run(f"{command} || true", shell.caller)), (
            command
        )


def test_commands_of_the_operate_guide(shell: Shell, own_data: str) -> None:
    _log(shell)
    said = shell.follow("operate.md", "sh aws", shell.owner)
    assert "EventDeadLetters" in said and "FailedUploads: 0 sent back" in said
    assert "every line is accounted for" in said
    assert re.search(r'"run": ?"\w+"', said)
    assert "campaign" in said


def _log(shell: Shell) -> None:
    """Has the decisions so far written to the log, as the schedule does."""
    (shell.folder / "log.json").write_text(json.dumps({"action": "export_log", "tenant": OWNER, "latest": True}))
    name = shell.deployed.function("RecommendFunction")
    call = f"aws lambda invoke --function-name {name} --qualifier live --payload fileb://log.json logged.json"
    shell.run(call, shell.owner)


def test_a_ranker_is_judged_by_the_stack_s_log(shell: Shell, own_data: str) -> None:
    """The deployment does not explore (`deployment`), so its log supports no other policy: refused, status 4."""
    decision = shell.deployed.request("POST", "/v1/recommendations", {"user_id": "m001", "n": 2}).json()
    seen = {"decision_id": decision["decision_id"], "type": "impression", "timestamp": time.time()}
    told = {"feedback": [seen | {"ad_id": ad["ad_id"]} for ad in decision["ads"]]}
    assert shell.deployed.request("POST", "/v1/feedback", told).status_code == 200
    _log(shell)
    folder = make_ranker(shell.folder / "ranker", 1.0)
    shell.run(f"adtailor promote {folder} --judge-only --window-hours 0 --stack {STACK}", shell.owner, status=4)
    found = json.loads((folder / "verdict.json").read_text())
    assert found["verdict"] == "refuse" and found["log"]["without_exploration"] == 1


def test_what_people_ask_for_is_done_on_aws_too(shell: Shell, own_data: str) -> None:
    (asked,) = [block for block in blocks(GUIDES / "own-data.md", "sh") if _ERASES in block]
    said = shell.run(asked, shell.caller)
    assert "m003: personalisation no" in said and "unknown from now on" in said
    assert json.loads((shell.folder / "mine" / "m004.json").read_text())["user_id"] == "m004"
