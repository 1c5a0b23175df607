"""template.yaml as CloudFormation gets it: after SAM's transform, for the values that its parameters may have."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from cfnlint import api, core
from moto import mock_aws

from tests import cloudformation
from tests.cloudformation import ACCOUNT, PSEUDO, Stack, expanded, statements
from tests.data import ROOT

pytestmark = pytest.mark.slow

PATH = ROOT / "template.yaml"
FUNCTIONS = ("ProfileFunction", "ClassifyFunction", "GenerateFunction", "RecommendFunction")
BUCKET = f"arn:aws:s3:::adtailor-data-{ACCOUNT}"
CERTIFICATE = f"arn:aws:acm:eu-central-1:{ACCOUNT}:certificate/0123"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0123"
IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
SOURCE = f"s3://adtailor-data-{ACCOUNT}/artifacts-source/0123456789ab/source.tar.gz"
TRAINS = {"TrainingImageUri": IMAGE, "TrainingSource": SOURCE}
DOMAIN = {"DomainName": "ads.example.com", "CertificateArn": CERTIFICATE}


@cache
def template() -> dict[str, Any]:
    return expanded(PATH)


def stack(**given: str) -> Stack:
    """With these parameters; queues' ARNs and names are real ones, so that they can be compared."""
    queues = {
        f"{name}.{attribute}": prefix + one["Properties"]["QueueName"]["Sub"].replace("${AWS::StackName}", "adtailor")
        for name, one in template()["Resources"].items()
        if one["Type"] == "AWS::SQS::Queue"
        for attribute, prefix in (("Arn", f"arn:aws:sqs:{PSEUDO['AWS::Region']}:{ACCOUNT}:"), ("QueueName", ""))
    }
    whole = Stack(template(), given, queues)
    assert whole.refused() == []
    return whole


def made(kind: str, of: Stack | None = None) -> dict[str, dict[str, Any]]:
    """Properties of the stack's resources of a type."""
    return {name: one["Properties"] for name, one in (of or stack()).resources().items() if one["Type"] == kind}


def sources(of: Stack | None = None) -> dict[str, list[dict[str, Any]]]:
    """Event source mappings by function."""
    found: dict[str, list[dict[str, Any]]] = {}
    for mapping in made("AWS::Lambda::EventSourceMapping", of).values():
        found.setdefault(mapping["FunctionName"].strip("<>").removesuffix("Aliaslive"), []).append(mapping)
    return found


def test_cfn_lint_takes_the_expanded_template() -> None:
    """References, circular waits, types: of what is deployed, where `make template` sees what is written."""
    text = json.dumps(expanded(PATH, short=False))
    found = api.lint(text, config=core.ManualArgs(regions=[PSEUDO["AWS::Region"]], ignore_checks=["W", "I"]))
    assert [str(one) for one in found] == []


# Roles ----------------------------------------------------------------------------------------------------------------


def test_every_function_has_a_role_of_its_own_for_lambda_alone() -> None:
    functions = made("AWS::Lambda::Function")
    assert set(functions) == set(FUNCTIONS)
    roles = {one["Role"].strip("<>").removesuffix(".Arn") for one in functions.values()}
    schedules = {"DecisionLogRole"}  # what may call a function when it is time
    assert roles == set(made("AWS::IAM::Role")) - schedules and len(roles) == len(functions)
    for name, role in made("AWS::IAM::Role").items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = "scheduler" if name in schedules else "lambda"
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"} and trust["Action"] == "sts:AssumeRole"
        assert "ManagedPolicyArns" not in role


def test_no_role_may_do_anything_to_everything() -> None:
    for name, role in stack(KmsKeyArn=KEY, SageMakerEndpoint="e", SageMakerAsyncEndpoint="a").resources().items():
        if role["Type"] != "AWS::IAM::Role":
            continue
        for statement in statements(role):
            assert statement["Effect"] == "Allow" and not any("*" in action for action in statement["Action"]), name
            if "*" in statement["Resource"]:
                assert set(statement["Action"]) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}, name


@pytest.mark.parametrize("path", [PATH, ROOT / "infra" / "gpu_endpoint" / "template.yaml"])
def test_every_star_has_its_reason_beside_it(path: Any) -> None:
    stars = [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r'Resource: "\*"', line)]
    assert stars and all("#" in line for line in stars), [line for line in stars if "#" not in line]


@pytest.mark.parametrize("path", [PATH, ROOT / "infra" / "gpu_endpoint" / "template.yaml"])
def test_every_waiver_names_its_check_and_its_reason(path: Any) -> None:
    skips = [
        one
        for resource in cloudformation.load(path)["Resources"].values()
        for one in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert skips
    for skip in skips:
        assert re.fullmatch(r"CKV2?_AWS_[0-9]+", skip["id"]) and len(skip["comment"]) > 40, skip


# Versions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_callers_reach_the_newest_version_and_the_one_before_is_deleted(function: str) -> None:
    resources = stack().resources()
    alias = resources[f"{function}Aliaslive"]["Properties"]
    version = resources[alias["FunctionVersion"].strip("<>").removesuffix(".Version")]
    assert version["Type"] == "AWS::Lambda::Version" and version["Properties"]["FunctionName"] == f"<{function}>"
    assert version["DeletionPolicy"] == "Delete" and version.get("UpdateReplacePolicy", "Delete") == "Delete"
    assert resources[function]["Properties"]["SnapStart"] == {"ApplyOn": "None"}
    snapped = stack(SnapStart="PublishedVersions").resources()[function]["Properties"]
    assert snapped["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    callers = [one["FunctionName"] for one in made("AWS::Lambda::Permission").values()]
    assert f"<{function}Aliaslive>" in callers and set(callers) <= {f"<{one}Aliaslive>" for one in FUNCTIONS}
    assert all(one["FunctionName"].endswith("Aliaslive>") for one in made("AWS::Lambda::EventSourceMapping").values())


def versions(found: dict[str, Any]) -> dict[str, str]:
    """Logical ids of the versions, by function: a new id publishes a new version."""
    return {
        one["Properties"]["FunctionName"]["Ref"]: name
        for name, one in found["Resources"].items()
        if one["Type"] == "AWS::Lambda::Version"
    }


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"ProfileFunction": {"CodeUri": "s3://packages/new"}}, {"ProfileFunction"}),
        ({"SharedLayer": {"ContentUri": "s3://packages/new"}}, set(FUNCTIONS)),
        ({"GenerateFunction": {"Timeout": 60}}, {"GenerateFunction"}),
        ({}, set()),
    ],
)
def test_whatever_changes_a_function_publishes_it(changes: dict[str, Any], published: set[str]) -> None:
    before, after = versions(template()), versions(expanded(PATH, **changes))
    assert {function for function in FUNCTIONS if before[function] != after[function]} == published


def test_the_key_of_a_language_model_is_read_where_copy_is_written_and_nowhere_else() -> None:
    arn = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:model-key-AbCdEf"
    name_alone = {"LlmKeySecret": "model-key"}  # pragma: allowlist secret
    assert Stack(template(), name_alone).refused(), "a role cannot be given it"
    for given in ("", arn):
        resources = stack(LlmKeySecret=given).resources()
        for function in FUNCTIONS:
            read = [
                one["Resource"]
                for one in statements(resources[function.replace("Function", "Role")])
                if "secretsmanager:GetSecretValue" in one["Action"]
            ]
            assert ([arn] in read) == (bool(given) and function == "GenerateFunction"), function
    variables = resources["GenerateFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["LLM_KEY_SECRET_ID"] == arn
    assert "LLM_API_KEY" not in variables, "a function's settings are no place for a key"


# What a function's settings and snapshot hang on, and too long for a version's description (256 characters).
LONG = {
    "LlmUrl",
    "LlmKeySecret",
    "LlmModel",
    "Adapters",
    "SageMakerEndpoint",
    "SageMakerAsyncEndpoint",
    "KmsKeyArn",
    "AwsEndpointUrl",
}
LONG |= {"OpenRtbOrigins", "OpenRtbSeat", "OpenRtbEidSource", "OpenRtbPixel"}
LONG |= {"Tenants", "TenantClaim", "TrainingImageUri", "TrainingSource", "TrainingSubnets", "TrainingSecurityGroups"}
DERIVED = {"OwnEndpoint": "GpuEndpoint", "OwnAsyncEndpoint": "GpuEndpoint", "InstructsModel": "GpuEndpoint"}


def named(node: Any) -> Iterator[str]:
    """Parameters on which a value hangs."""
    if isinstance(node, list):
        for one in node:
            yield from named(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "If":
                yield from ({DERIVED[value[0]]} if value[0] in DERIVED else set())
                yield from named(value[1:])
            elif key == "Sub":
                yield from (name for name in re.findall(r"\$\{(\w+)\}", value) if name in template()["Parameters"])
            elif key == "Ref":
                yield from {value} & set(template()["Parameters"])
            else:
                yield from named(value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_other_settings_make_another_version(function: str) -> None:
    properties = template()["Resources"][function]["Properties"]
    settings = set(named([properties["Environment"], properties["SnapStart"]]))
    version = template()["Resources"][versions(template())[function]]["Properties"]
    described = set(named(version["Description"]))
    assert settings - described <= LONG and "Release" in described and "KFloor" in described
    declared = template()["Parameters"]
    for name in settings - described - {"AwsEndpointUrl"}:
        assert name in declared["Release"]["Description"] or name.startswith("SageMaker"), name
    longest = {"Release": 32, "Stage": 16, "Tenant": 64, "KFloor": 12, "TcfVendorId": 5, "LlmPricePerHour": 12}
    longest |= {"OpenRtbTenant": 64, "OpenRtbCurrency": 3}
    longest |= {"TrainingMaxSeconds": 12, "Exploration": 8, "Rotation": 8, "DecisionLogDays": 12}
    for name in described:
        values = declared[name].get("AllowedValues", ["x" * longest.get(name, 0)])
        longest[name] = max(len(str(value)) for value in values)
        assert longest[name] > 0, f"{name} has no longest value"
    assert sum(longest[name] + 1 for name in described) <= 256


# Reserved concurrency -------------------------------------------------------------------------------------------------


def test_concurrency_is_reserved_where_asked_for() -> None:
    functions = made("AWS::Lambda::Function")
    assert not any("ReservedConcurrentExecutions" in one for one in functions.values())
    functions = made("AWS::Lambda::Function", stack(RecommendConcurrency="50", GenerateConcurrency="12"))
    reserved = {name: one.get("ReservedConcurrentExecutions") for name, one in functions.items()}
    assert reserved["RecommendFunction"] == "50" and reserved["GenerateFunction"] == "12"
    assert reserved["ProfileFunction"] is reserved["ClassifyFunction"] is None


# Events ---------------------------------------------------------------------------------------------------------------


def test_queues_feed_their_functions_and_take_back_what_fails() -> None:
    fed = {
        function: {
            one["EventSourceArn"].rpartition(":")[2]: (one["BatchSize"], one["ScalingConfig"]["MaximumConcurrency"])
            for one in mappings
        }
        for function, mappings in sources().items()
    }
    assert fed == {
        "ProfileFunction": {"adtailor-events": (1, 10)},
        "ClassifyFunction": {"adtailor-ads": (1, 2), "adtailor-catalogue": (10, 2)},
        "GenerateFunction": {"adtailor-copy": (1, 10)},
    }
    queues = {one["QueueName"]: one for one in made("AWS::SQS::Queue").values()}
    functions, roles = made("AWS::Lambda::Function"), stack().resources()
    for function, mappings in sources().items():
        granted: dict[str, set[str]] = {}
        for statement in statements(roles[function.replace("Function", "Role")]):
            for action in statement["Action"]:
                granted.setdefault(action, set()).update(statement["Resource"])
        for mapping in mappings:
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            queue = queues[mapping["EventSourceArn"].rpartition(":")[2]]
            assert queue["VisibilityTimeout"] == 6 * functions[function]["Timeout"]
            assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "SendMessage"):
                assert mapping["EventSourceArn"] in granted[f"sqs:{action}"], (function, action)
        # It sends to the queue that calls it: Lambda would take that for a loop without an end.
        assert functions[function]["RecursiveLoop"] == "Allow"
    assert "RecursiveLoop" not in functions["RecommendFunction"]


def test_uploads_call_functions_and_nothing_that_is_written_does() -> None:
    notifications = made("AWS::S3::Bucket")["Bucket"]["NotificationConfiguration"]
    assert set(notifications) == {"LambdaConfigurations"}
    called = {}
    for one in notifications["LambdaConfigurations"]:
        (rule,) = one["Filter"]["S3Key"]["Rules"]
        assert rule["Name"] == "prefix"
        called[rule["Value"]] = one["Function"]
    classify = "<ClassifyFunctionAliaslive>"
    assert called == {"events/": "<ProfileFunctionAliaslive>", "ads/": classify, "labels/": classify}
    written, signed = set(), set()
    for name, role in made("AWS::IAM::Role").items():
        for statement in statements({"Properties": role}):
            if "s3:PutObject" not in statement["Action"]:
                continue
            prefixes = {resource.removeprefix(f"{BUCKET}/").removesuffix("*") for resource in statement["Resource"]}
            if "Condition" in statement:  # by the addresses that it signs alone: the function's requests have a header
                assert statement["Condition"] == {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}
                assert name == "ProfileRole" and statement["Action"] == ["s3:PutObject"]
                signed |= prefixes
            else:
                written |= prefixes
    assert signed == {"ads/", "labels/"}
    assert {"chunks/", "rejected/", "catalogue/", "jobs/", "logs/", "events/", "exports/", "erasures/"} == written
    # An upload that an erasure writes anew is known for the one it was, and is not written by who takes it in again.
    for prefix in called:
        assert not any(one.startswith(prefix) or prefix.startswith(one) for one in written - {"events/"})


def test_uploads_that_fail_for_good_are_kept_with_their_error() -> None:
    found = {one["FunctionName"]: one for one in made("AWS::Lambda::EventInvokeConfig").values()}
    assert set(found) == {"<ProfileFunction>", "<ClassifyFunction>"}
    for one in found.values():
        assert one["Qualifier"] == "live" and one["MaximumRetryAttempts"] == 2
        assert one["DestinationConfig"]["OnFailure"]["Destination"].endswith(":adtailor-failed-uploads")


# Training -------------------------------------------------------------------------------------------------------------

JOBS = {f"arn:aws:sagemaker:eu-central-1:{ACCOUNT}:training-job/adtailor-{kind}-*" for kind in ("head", "ranker")}
NESTED = ROOT / "infra" / "training_job" / "template.yaml"


def granted(of: Stack, role: str) -> dict[str, set[str]]:
    """Resources by action of a role."""
    found: dict[str, set[str]] = {}
    for statement in statements(of.resources()[role]):
        for action in statement["Action"]:
            found.setdefault(action, set()).update(statement["Resource"])
    return found


def training(**given: str) -> Stack:
    """The stack of what tells of jobs, with the parameters that the main one passes."""
    passed = stack(**TRAINS, **given).resources()["TrainingStack"]["Properties"]["Parameters"]
    return Stack(cloudformation.load(NESTED), passed)


def test_by_default_nobody_trains_and_nothing_is_made_for_it() -> None:
    plain = stack().resources()
    assert not {"TrainingRole", "TrainingStack"} & set(plain)
    variables = plain["ClassifyFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["TRAINING_IMAGE"] == variables["TRAINING_ROLE"] == ""
    assert not any(action.startswith(("sagemaker:", "iam:")) for action in granted(stack(), "ClassifyRole"))


def test_the_function_may_start_jobs_of_its_name_and_hand_them_their_role() -> None:
    found = granted(stack(**TRAINS), "ClassifyRole")
    for action in ("CreateTrainingJob", "AddTags", "DescribeTrainingJob"):
        assert found[f"sagemaker:{action}"] == JOBS
    assert found["iam:PassRole"] == {"<TrainingRole.Arn>"}
    (passes,) = (
        one for one in statements(stack(**TRAINS).resources()["ClassifyRole"]) if "iam:PassRole" in one["Action"]
    )
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


@pytest.mark.parametrize("network", [{}, {"TrainingSubnets": "subnet-1a,subnet-2b", "TrainingSecurityGroups": "sg-1a"}])
def test_a_job_writes_heads_candidates_and_checkpoints_and_never_a_ranker_that_serves(network: dict[str, str]) -> None:
    whole = stack(**TRAINS, **network)
    found = granted(whole, "TrainingRole")
    read = ("labels", "logs", "candidates", "artifacts/*/ranker", "checkpoints")
    assert found["s3:GetObject"] == {*(f"{BUCKET}/{prefix}/*" for prefix in read), f"arn:aws:s3:::{SOURCE[5:]}"}
    written = ("artifacts/*/heads", "candidates", "checkpoints")
    assert found["s3:PutObject"] == {f"{BUCKET}/{prefix}/*" for prefix in written}
    assert found["s3:ListBucket"] == {BUCKET}
    assert found["ecr:BatchGetImage"] == {"arn:aws:ecr:eu-central-1:763104351884:repository/pytorch-training"}
    everywhere = {action for action, resources in found.items() if "*" in resources}
    described = {action for action in everywhere if action.startswith("ec2:Describe")}
    assert everywhere == {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"} | described
    assert bool(described) == bool(network) == any(action.startswith("ec2:") for action in found)
    (trust,) = whole.resources()["TrainingRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    own = granted(stack(**TRAINS, **network, KmsKeyArn=KEY), "TrainingRole")
    assert own["kms:Decrypt"] == own["kms:CreateGrant"] == {KEY}


def test_the_end_of_a_job_and_the_schedule_call_the_function() -> None:
    plain = training().resources()
    assert set(plain) == {"Ended", "EndedMayCall", "RankerEnded", "RankerEndedMayCall", "Failed"}
    rule = plain["Ended"]["Properties"]
    assert rule["EventPattern"]["detail"] == {
        "TrainingJobName": [{"prefix": "adtailor-head-"}],
        "TrainingJobStatus": ["Completed", "Failed", "Stopped"],
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == plain["EndedMayCall"]["Properties"]["FunctionName"] == "<ClassifyFunctionAliaslive>"
    assert plain["EndedMayCall"]["Properties"]["SourceArn"] == "<Ended.Arn>"
    detail = {"TrainingJobName": "adtailor-head-x", "HyperParameters": {"tenant": "demo", "head": "topics"}}
    told = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        value: Any = {"detail": detail}
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        told = told.replace(f"<{name}>", json.dumps(value))
    expected = json.loads((ROOT / "tests" / "events" / "classify_trained_direct.json").read_text(encoding="utf-8"))
    assert json.loads(told) == expected | {"tenant": "demo", "head": "topics", "job": "adtailor-head-x"}
    timed = training(TrainingSchedule="cron(0 3 ? * SUN *)").resources()
    schedule = timed["Retraining"]["Properties"]
    assert schedule["ScheduleExpression"] == "cron(0 3 ? * SUN *)"
    assert schedule["Target"]["Arn"] == "<ClassifyFunctionAliaslive>"
    assert json.loads(schedule["Target"]["Input"]) == {
        "action": "retrain",
        "asynchronous": True,
        "started_by": "schedule",
    }
    (calls,) = statements(timed["SchedulerRole"])
    assert (calls["Action"], calls["Resource"]) == (["lambda:InvokeFunction"], ["<ClassifyFunctionAliaslive>"])


def test_the_end_of_a_rankers_job_and_its_schedule_call_the_function() -> None:
    timed = training(RankerSchedule="rate(7 days)").resources()
    assert "Retraining" not in timed and "SchedulerRole" in timed
    rule = timed["RankerEnded"]["Properties"]
    assert rule["EventPattern"]["detail"]["TrainingJobName"] == [{"prefix": "adtailor-ranker-"}]
    (target,) = rule["Targets"]
    assert target["Arn"] == timed["RankerEndedMayCall"]["Properties"]["FunctionName"] == "<ClassifyFunctionAliaslive>"
    assert timed["RankerEndedMayCall"]["Properties"]["SourceArn"] == "<RankerEnded.Arn>"
    told = target["InputTransformer"]["InputTemplate"].replace("<tenant>", '"demo"')
    expected = json.loads((ROOT / "tests/events/classify_ranker_trained_direct.json").read_text(encoding="utf-8"))
    assert json.loads(told.replace("<job>", json.dumps(expected["job"]))) == expected
    schedule = timed["RankerTraining"]["Properties"]
    assert schedule["ScheduleExpression"] == "rate(7 days)"
    call = {"action": "train_ranker", "asynchronous": True, "started_by": "schedule"}
    assert json.loads(schedule["Target"]["Input"]) == call
    (calls,) = statements(timed["SchedulerRole"])
    assert (calls["Action"], calls["Resource"]) == (["lambda:InvokeFunction"], ["<ClassifyFunctionAliaslive>"])


def test_only_who_promotes_may_write_a_ranker_that_serves() -> None:
    serving = f"{BUCKET}/artifacts/*/ranker/*"
    whole = stack(**TRAINS)
    roles = [name for name, one in whole.resources().items() if one["Type"] == "AWS::IAM::Role"]
    writers = {role for role in roles if serving in granted(whole, role).get("s3:PutObject", set())}
    assert writers == {"ClassifyRole"}


def test_a_failed_training_raises_an_alarm_on_the_codes_own_figure() -> None:
    alarm = training().resources()["Failed"]["Properties"]
    assert alarm["MetricName"] in counted() and alarm["Namespace"] == "AdTailor"
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "adtailor"}]
    assert alarm["AlarmActions"] == ["<AlarmTopic>"] and alarm["TreatMissingData"] == "notBreaching"


# Queues, topics, logs, the bucket -------------------------------------------------------------------------------------


def test_every_queue_has_dead_letters_that_take_from_it_alone() -> None:
    queues = made("AWS::SQS::Queue")
    arns = {f"arn:aws:sqs:eu-central-1:{ACCOUNT}:{one['QueueName']}": one for one in queues.values()}
    dead = {arn: one["RedriveAllowPolicy"] for arn, one in arns.items() if "RedriveAllowPolicy" in one}
    seen = set()
    for arn, queue in arns.items():
        if arn in dead:
            assert "RedrivePolicy" not in queue and queue["MessageRetentionPeriod"] == 14 * 86400
            continue
        target = queue["RedrivePolicy"]["deadLetterTargetArn"]
        assert target.endswith(f":{queue['QueueName']}-dlq")
        assert dead[target] == {"redrivePermission": "byQueue", "sourceQueueArns": [arn]}
        seen.add(target)
    (other,) = set(dead) - seen
    assert other.endswith(":adtailor-failed-uploads") and dead[other] == {"redrivePermission": "denyAll"}


def test_queues_topics_and_bucket_are_reached_over_tls_only() -> None:
    def denies(document: dict[str, Any]) -> bool:
        return any(
            one["Effect"] == "Deny" and one["Principal"] == "*" and one["Condition"] == TLS
            for one in document["Statement"]
        )

    places = {"AWS::SQS::QueuePolicy": "Queues", "AWS::SNS::TopicPolicy": "Topics"}
    for policy, things in places.items():
        covered = [one for found in made(policy).values() for one in found[things]]
        kind = policy.removesuffix("Policy")
        assert sorted(covered) == sorted(f"<{name}>" for name in made(kind)), "a policy each, and one only"
        assert all(denies(one["PolicyDocument"]) for one in made(policy).values())
    assert denies(made("AWS::S3::BucketPolicy")["BucketPolicy"]["PolicyDocument"])


TLS = {"Bool": {"aws:SecureTransport": "false"}}


def test_nobody_outside_is_allowed_into_queues_and_topics() -> None:
    allowed = [
        (name, statement["Principal"], statement["Action"])
        for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for name, one in made(kind).items()
        for statement in one["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert allowed == [
        ("CopyQueuePolicy", {"Service": "sns.amazonaws.com"}, "sqs:SendMessage"),
        ("AlarmTopicPolicy", {"Service": "cloudwatch.amazonaws.com"}, "sns:Publish"),
    ]


def test_everything_is_encrypted_with_the_key_that_is_given() -> None:
    own = stack(KmsKeyArn=KEY)
    assert all(one["KmsMasterKeyId"] == KEY for one in made("AWS::SQS::Queue", own).values())
    assert not any("SqsManagedSseEnabled" in one for one in made("AWS::SQS::Queue", own).values())
    assert all(one["KmsMasterKeyId"] == KEY for one in made("AWS::SNS::Topic", own).values())
    assert all(one["KmsKeyId"] == KEY for one in made("AWS::Logs::LogGroup", own).values())
    assert all(one["KmsKeyArn"] == KEY for one in made("AWS::Lambda::Function", own).values())
    assert made("AWS::SecretsManager::Secret", own)["PseudonymKey"]["KmsKeyId"] == KEY
    table = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert made("AWS::DynamoDB::Table", own)["Table"]["SSESpecification"] == table
    assert KEY in str(made("AWS::S3::Bucket", own)["Bucket"]["BucketEncryption"])
    assert made("AWS::KMS::Key", own) == {}
    for role in own.resources().values():
        if role["Type"] == "AWS::IAM::Role":
            (use,) = (one for one in statements(role) if "kms:Decrypt" in one["Action"])
            assert use["Resource"] == [KEY] and set(use["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_without_a_key_aws_keeps_them_and_only_alarms_have_their_own() -> None:
    assert all(one["SqsManagedSseEnabled"] is True for one in made("AWS::SQS::Queue").values())
    topics = {name: one["KmsMasterKeyId"] for name, one in made("AWS::SNS::Topic").items()}
    assert topics == {"CopyNotices": "alias/aws/sns", "AlarmTopic": "<AlarmKey>"}
    (key,) = made("AWS::KMS::Key").values()
    assert key["EnableKeyRotation"] is True
    users = [one["Principal"] for one in key["KeyPolicy"]["Statement"]]
    assert users == [{"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, {"Service": "cloudwatch.amazonaws.com"}]
    assert "kms" not in str([list(statements(one)) for one in stack().resources().values() if "Role" in one["Type"]])


def test_logs_are_kept_for_a_time_and_functions_write_to_their_own() -> None:
    groups = made("AWS::Logs::LogGroup", stack(LogRetentionDays="7"))
    assert all(group["RetentionInDays"] == "7" for group in groups.values())
    used = {one["LoggingConfig"]["LogGroup"] for one in made("AWS::Lambda::Function").values()}
    stage = made("AWS::ApiGatewayV2::Stage")["ApiStage"]["AccessLogSettings"]["DestinationArn"]
    assert used | {stage.replace(".Arn", "")} == {f"<{name}>" for name in groups}
    for name in FUNCTIONS:
        role = stack().resources()[name.replace("Function", "Role")]
        (writes,) = (one["Resource"] for one in statements(role) if "logs:PutLogEvents" in one["Action"])
        assert writes == [f"<{name.replace('Function', 'Log')}.Arn>"]
    assert all(one["TracingConfig"] == {"Mode": "Active"} for one in made("AWS::Lambda::Function").values())


# The API --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"JwtIssuer": "https://id.example.com", "JwtAudience": "ads"}])
def test_nobody_gets_in_unasked(given: dict[str, str]) -> None:
    found = stack(**given)
    routes = made("AWS::ApiGatewayV2::Route", found)
    wanted = "JWT" if given else "AWS_IAM"
    assert routes and all(one["AuthorizationType"] == wanted for one in routes.values())
    assert all(one.get("AuthorizerId") == ("<JwtAuthorizer>" if given else None) for one in routes.values())
    keys = [one["RouteKey"] for one in routes.values()]
    assert not any(key.startswith(("$", "ANY", "OPTIONS")) or "+}" in key for key in keys)
    if given:
        jwt = made("AWS::ApiGatewayV2::Authorizer", found)["JwtAuthorizer"]["JwtConfiguration"]
        assert jwt == {"Issuer": "https://id.example.com", "Audience": ["ads"]}
    else:
        assert made("AWS::ApiGatewayV2::Authorizer", found) == {}


def test_throttling_follows_its_parameters() -> None:
    def limits(**given: str) -> tuple[int, int]:
        settings = made("AWS::ApiGatewayV2::Stage", stack(**given))["ApiStage"]["DefaultRouteSettings"]
        return int(settings["ThrottlingRateLimit"]), int(settings["ThrottlingBurstLimit"])

    assert limits() == (100, 200)
    assert limits(ThrottleRate="5", ThrottleBurst="7") == (5, 7)


def test_cors_is_off_until_an_origin_is_named() -> None:
    assert "CorsConfiguration" not in made("AWS::ApiGatewayV2::Api")["Api"]
    cors = made("AWS::ApiGatewayV2::Api", stack(CorsOrigin="https://shop.example.com"))["Api"]["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://shop.example.com"] and "AllowCredentials" not in cors
    methods = {one["RouteKey"].split()[0] for one in made("AWS::ApiGatewayV2::Route").values()}
    assert set(cors["AllowMethods"]) == methods
    assert {"authorization", "content-type", "idempotency-key"} <= set(cors["AllowHeaders"])


def test_a_domain_is_the_only_way_in_where_there_is_one() -> None:
    plain = stack()
    assert made("AWS::ApiGatewayV2::Api", plain)["Api"]["DisableExecuteApiEndpoint"] is False
    assert not made("AWS::ApiGatewayV2::DomainName", plain) and not made("AWS::Route53::RecordSet", plain)
    named_one = stack(**DOMAIN)
    assert made("AWS::ApiGatewayV2::Api", named_one)["Api"]["DisableExecuteApiEndpoint"] is True
    (domain,) = made("AWS::ApiGatewayV2::DomainName", named_one).values()
    (configuration,) = domain["DomainNameConfigurations"]
    assert configuration["SecurityPolicy"] == "TLS_1_2" and configuration["CertificateArn"] == CERTIFICATE
    (mapping,) = made("AWS::ApiGatewayV2::ApiMapping", named_one).values()
    assert mapping == {"ApiId": "<Api>", "DomainName": "<ApiDomain>", "Stage": "<ApiStage>"}
    assert named_one.outputs()["ApiUrl"] == "https://ads.example.com"
    assert not made("AWS::Route53::RecordSet", named_one)
    (record,) = made("AWS::Route53::RecordSet", stack(**DOMAIN, HostedZoneId="Z0123")).values()
    assert record["Name"] == "ads.example.com" and record["AliasTarget"]["DNSName"] == "<ApiDomain.RegionalDomainName>"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"JwtIssuer": "https://id.example.com"}, "JwtIssuer needs JwtAudience"),
        ({"JwtAudience": "ads"}, "JwtAudience needs JwtIssuer"),
        ({"DomainName": "ads.example.com"}, "DomainName needs CertificateArn"),
        ({"CertificateArn": CERTIFICATE}, "CertificateArn needs DomainName"),
        ({"HostedZoneId": "Z0123"}, "HostedZoneId needs DomainName"),
        ({"DomainName": "https://ads.example.com", "CertificateArn": CERTIFICATE}, "DomainName"),
        ({"DomainName": "*.example.com", "CertificateArn": CERTIFICATE}, "DomainName"),
        ({"CorsOrigin": "*"}, "CorsOrigin"),
        ({"CorsOrigin": "https://*.example.com"}, "CorsOrigin"),
        ({"CorsOrigin": "https://shop.example.com/"}, "CorsOrigin"),
        ({"CorsOrigin": "http://shop.example.com"}, "CorsOrigin"),
        ({"CorsOrigin": "https://a.example.com,https://b.example.com"}, "CorsOrigin"),
        ({"AlarmEmail": "somebody"}, "AlarmEmail"),
        ({"KmsKeyArn": "alias/mine"}, "KmsKeyArn"),
        ({"GenerateConcurrency": "5"}, "GenerateConcurrency"),
        ({"GenerateConcurrency": "10"}, "GenerateConcurrency"),
        ({"RecommendConcurrency": "-1"}, "RecommendConcurrency"),
        ({"TrainingImageUri": IMAGE}, "TrainingImageUri needs TrainingSource"),
        ({"TrainingSource": SOURCE}, "TrainingSource needs TrainingImageUri"),
        ({"TrainingSchedule": "rate(1 day)"}, "TrainingSchedule needs TrainingImageUri"),
        ({**TRAINS, "TrainingSchedule": "every day"}, "TrainingSchedule"),
        ({**TRAINS, "TrainingSubnets": "subnet-1a"}, "TrainingSubnets need TrainingSecurityGroups"),
        ({**TRAINS, "TrainingSecurityGroups": "sg-1a"}, "TrainingSecurityGroups need TrainingSubnets"),
        ({**TRAINS, "TrainingInstanceType": "ml.p4d.24xlarge"}, "TrainingInstanceType"),
        ({**TRAINS, "TrainingImageUri": "pytorch:2.8"}, "TrainingImageUri"),
        ({"LlmWording": "judged"}, "LlmWording judged needs a model that answers at once"),
        ({"LlmWording": "judged", "SageMakerAsyncEndpoint": "queue"}, "LlmWording judged needs"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, str], problem: str) -> None:
    assert any(one.startswith(problem) for one in Stack(template(), given).refused())


# Alarms and the dashboard ---------------------------------------------------------------------------------------------


def watched() -> set[tuple[str, str, str]]:
    """Namespace, metric and what it is of, of every alarm."""
    return {
        (one["Namespace"], one["MetricName"], dimension["Value"])
        for one in made("AWS::CloudWatch::Alarm").values()
        for dimension in one["Dimensions"]
    }


def test_alarms_watch_every_function_and_every_queue() -> None:
    found = watched()
    for function in FUNCTIONS:
        for metric in ("Errors", "Throttles"):
            assert ("AWS/Lambda", metric, f"<{function}>") in found, (function, metric)
    for name, queue in made("AWS::SQS::Queue").items():
        dead = "RedriveAllowPolicy" in queue
        metric = "ApproximateNumberOfMessagesVisible" if dead else "ApproximateAgeOfOldestMessage"
        assert ("AWS/SQS", metric, queue["QueueName"]) in found, name
    assert ("AWS/Lambda", "Duration", "<RecommendFunction>") in found
    assert ("AWS/ApiGateway", "5xx", "<Api>") in found
    for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
        assert ("AWS/DynamoDB", metric, "<Table>") in found


def test_alarms_reach_the_topic_and_cloudwatch_takes_them() -> None:
    with mock_aws():
        cloudwatch = boto3.client(
            "cloudwatch", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        for name, one in made("AWS::CloudWatch::Alarm").items():
            assert one["AlarmActions"] == ["<AlarmTopic>"] and one["TreatMissingData"] == "notBreaching", name
            assert len(one["AlarmDescription"]) > 20
            cloudwatch.put_metric_alarm(AlarmName=name, **one)
    assert made("AWS::SNS::Subscription", stack(AlarmEmail="on-call@example.com"))["AlarmMail"] == {
        "TopicArn": "<AlarmTopic>",
        "Protocol": "email",
        "Endpoint": "on-call@example.com",
    }
    assert "AlarmMail" not in made("AWS::SNS::Subscription")
    assert stack().outputs()["AlarmTopic"] == "<AlarmTopic>"


def widgets() -> list[dict[str, Any]]:
    (dashboard,) = made("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
    return found


def figures() -> Iterator[tuple[str, ...]]:
    """The dashboard's metrics: namespace, name, dimensions' names and values; what it abbreviates is written out."""
    for widget in widgets():
        before: list[str] = []
        for row in widget["properties"].get("metrics", ()):
            parts = [one for one in row if isinstance(one, str)]
            if not parts:
                continue  # an expression
            if parts[0] == "...":
                parts = before[: len(before) - len(parts) + 1] + parts[1:]
            parts = [before[place] if one == "." else one for place, one in enumerate(parts)]
            yield tuple(parts)
            before = parts


def test_the_dashboard_shows_what_there_is_and_only_that() -> None:
    """That what it refers to exists, `Stack` sees to while it fills the references in."""
    shown = set(figures())
    for function in FUNCTIONS:
        for metric in ("Errors", "Throttles", "Duration", "ConcurrentExecutions"):
            assert ("AWS/Lambda", metric, "FunctionName", f"<{function}>") in shown
    for queue in made("AWS::SQS::Queue").values():
        assert ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue["QueueName"]) in shown
        if "RedrivePolicy" in queue:
            assert ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue["QueueName"]) in shown
    for metric in ("Count", "4xx", "5xx", "Latency"):
        assert ("AWS/ApiGateway", metric, "ApiId", "<Api>") in shown
    for metric in (
        "ReadThrottleEvents",
        "WriteThrottleEvents",
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
    ):
        assert ("AWS/DynamoDB", metric, "TableName", "<Table>") in shown
    text = json.dumps(widgets())
    assert "SystemErrors" in text and '"p50"' in text and '"p99"' in text
    (alarms,) = (one["properties"]["alarms"] for one in widgets() if one["type"] == "alarm")
    assert sorted(alarms) == sorted(f"<{name}.Arn>" for name in made("AWS::CloudWatch::Alarm"))


def counted() -> set[str]:
    """Names of the metrics that the code counts."""
    return {
        argument.value
        for path in (ROOT / "shared").rglob("*.py")
        if "add_metric" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_metric"
        for argument in [*node.args[:1], *(one.value for one in node.keywords if one.arg == "name")]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_the_dashboard_shows_every_figure_of_the_code() -> None:
    shown = {one[1]: one[2:] for one in figures() if one[0] == "AdTailor"}
    assert set(shown) == counted()
    assert set(shown.values()) == {("service", "adtailor")}


def test_the_dashboard_is_laid_out_on_its_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for one in widgets():
        cells = {
            (x, y) for x in range(one["x"], one["x"] + one["width"]) for y in range(one["y"], one["y"] + one["height"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
        assert one["properties"]["title"]
        assert one["type"] == "alarm" or one["properties"]["region"] == PSEUDO["AWS::Region"]
    assert len(list(figures())) <= 500
