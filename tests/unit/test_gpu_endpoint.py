"""The GPU endpoint for each value of its parameter: what is made, who may do what, how it scales and warns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.gpu_endpoint import adapters
from shared.settings import Settings
from tests import cloudformation
from tests.cloudformation import ACCOUNT, PSEUDO, Stack, statements
from tests.data import ROOT

pytestmark = pytest.mark.slow

REGION = PSEUDO["AWS::Region"]
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/adtailor-vllm@sha256:{'0' * 64}"
MODEL = "Qwen/Qwen3-4B-Instruct-2507"
DATA = "s3://models/endpoint/0123456789ab/"
KINDS = ("none", "async", "realtime", "both")
ALARMS = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
MAIN = cloudformation.load(ROOT / "template.yaml")
NESTED = cloudformation.load(ROOT / "infra" / "gpu_endpoint" / "template.yaml")


def main_stack(kind: str, **given: str) -> Stack:
    whole = {"ImageUri": IMAGE, "ModelId": MODEL} if kind != "none" else {}
    return Stack(MAIN, {"GpuEndpoint": kind, **whole, **given})


def nested(kind: str, **given: str) -> Stack:
    """The endpoint's stack with the parameters that the main one passes."""
    passed = main_stack(kind, **given).resources()["GpuEndpointStack"]["Properties"]["Parameters"]
    names = {"AsyncConfig": "async-config", "RealtimeConfig": "realtime-config"}
    attributes = {
        "Role": "endpoint-role",
        "Role.Arn": f"arn:aws:iam::{ACCOUNT}:role/endpoint",
        "Model.ModelName": "model",
        **{f"{name}.EndpointConfigName": value for name, value in names.items()},
        "AsyncEndpoint.EndpointName": "adtailor-async",
        "RealtimeEndpoint.EndpointName": "adtailor-realtime",
    }
    values = passed | {
        "BucketName": f"adtailor-data-{ACCOUNT}",
        "NoticesTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:notices",
        "AlarmTopic": ALARMS,
    }
    return Stack(NESTED, values, attributes)


def made(stack: Stack, kind: str) -> dict[str, dict[str, Any]]:
    """Properties of the stack's resources of a type."""
    return {name: one["Properties"] for name, one in stack.resources().items() if one["Type"] == kind}


# What a deployment makes ----------------------------------------------------------------------------------------------


def test_by_default_there_is_no_endpoint_and_nothing_of_it() -> None:
    stack = Stack(MAIN)
    assert stack.refused() == []
    assert "GpuEndpointStack" not in stack.resources()
    environment = stack.resources()["GenerateFunction"]["Properties"]["Environment"]["Variables"]
    settings, usual = Settings.from_env(environment), Settings()
    for field in dataclasses.fields(Settings):
        if field.name.startswith(("llm_", "sagemaker_")):
            assert getattr(settings, field.name) == getattr(usual, field.name), field.name
    assert not any(
        "sagemaker" in action for one in statements(stack.resources()["GenerateRole"]) for action in one["Action"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_functions_call_the_endpoints_that_are_made(kind: str) -> None:
    stack = main_stack(kind)
    assert stack.refused() == []
    wanted = {"async": kind in ("async", "both"), "realtime": kind in ("realtime", "both")}
    environment = stack.resources()["GenerateFunction"]["Properties"]["Environment"]["Variables"]
    name = "<GpuEndpointStack.Outputs.{}>".format
    assert environment["SAGEMAKER_ENDPOINT"] == (name("RealtimeEndpoint") if wanted["realtime"] else "")
    assert environment["SAGEMAKER_ASYNC_ENDPOINT"] == (name("AsyncEndpoint") if wanted["async"] else "")
    assert environment["LLM_PROMPT"] == ("" if kind == "none" else "instruct")
    assert environment["LLM_ADAPTER_PROMPT"] == "tuned"
    granted = {
        action: one["Resource"]
        for one in statements(stack.resources()["GenerateRole"])
        for action in one["Action"]
        if action.startswith("sagemaker:")
    }
    expected: dict[str, list[str]] = {}
    if wanted["realtime"]:
        for action in ("sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"):
            expected[action] = [name("RealtimeEndpointArn")]
    if wanted["async"]:
        expected["sagemaker:InvokeEndpointAsync"] = [name("AsyncEndpointArn")]
    assert granted == expected


def test_an_endpoint_made_elsewhere_stands_beside_the_own_one() -> None:
    stack = main_stack("async", SageMakerEndpoint="elsewhere")
    assert stack.refused() == []
    environment = stack.resources()["GenerateFunction"]["Properties"]["Environment"]["Variables"]
    assert environment["SAGEMAKER_ENDPOINT"] == "elsewhere"
    granted = [
        one for one in statements(stack.resources()["GenerateRole"]) if "sagemaker:InvokeEndpoint" in one["Action"]
    ]
    assert granted[0]["Resource"] == [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/elsewhere"]


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        ("async", {"ImageUri": ""}, "GpuEndpoint needs ImageUri"),
        ("both", {"ModelId": ""}, "GpuEndpoint needs ModelId"),
        ("async", {"ModelSource": "s3"}, "ModelSource s3 needs ModelDataS3"),
        ("async", {"Adapters": "warm"}, "need ModelDataS3"),
        ("async", {"SageMakerAsyncEndpoint": "x"}, "SageMakerAsyncEndpoint names an endpoint made elsewhere"),
        ("both", {"SageMakerEndpoint": "x"}, "SageMakerEndpoint names an endpoint made elsewhere"),
        ("sometimes", {}, "GpuEndpoint"),
        ("async", {"ImageUri": "public.ecr.aws/deep-learning-containers/vllm:server-sagemaker-cuda-v2.5"}, "ImageUri"),
        ("async", {"ImageUri": IMAGE.partition("@")[0]}, "ImageUri"),
        ("async", {"ModelDataS3": "s3://models/endpoint"}, "ModelDataS3"),
        ("async", {"ModelDataS3": DATA, "Adapters": "warm, cool"}, "Adapters"),
        ("async", {"InstanceType": "ml.m5.large"}, "InstanceType"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(kind: str, given: dict[str, str], problem: str) -> None:
    (found,) = main_stack(kind, **given).refused()
    assert problem in found


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        f"763104351884.dkr.ecr.{REGION}.amazonaws.com/vllm:server-sagemaker-cuda-v2.5",
        f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/vllm:v1",
    ],
)
def test_private_registries_are_taken(image: str) -> None:
    assert main_stack("async", ImageUri=image).refused() == []


def test_the_main_stack_passes_every_parameter() -> None:
    passed = MAIN["Resources"]["GpuEndpointStack"]["Properties"]["Parameters"]
    assert set(passed) == set(NESTED["Parameters"])
    assert (ROOT / MAIN["Resources"]["GpuEndpointStack"]["Properties"]["TemplateURL"]).is_file()
    assert MAIN["Parameters"]["InstanceType"]["AllowedValues"] == list(NESTED["Mappings"]["Gpus"])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_each_kind_makes_its_own_endpoints_only(kind: str) -> None:
    wanted = {"async", "realtime"} if kind == "both" else {kind}
    stack = nested(kind)
    assert {one["EndpointName"] for one in made(stack, "AWS::SageMaker::Endpoint").values()} == {
        f"adtailor-{one}" for one in wanted
    }
    for name, one in stack.resources().items():
        prefix = next((one for one in ("Async", "Realtime") if name.startswith(one)), None)
        assert prefix is None or prefix.lower() in wanted, name
        assert one["Properties"] is not None
    assert set(stack.outputs()) == {f"{one.capitalize()}Endpoint{end}" for one in wanted for end in ("", "Arn")}


def test_what_cannot_change_has_no_name_so_that_it_is_replaced() -> None:
    for kind in ("AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::IAM::Role"):
        for properties in made(nested("both"), kind).values():
            assert not {"ModelName", "EndpointConfigName", "RoleName"} & set(properties)


# The real API accepts it ----------------------------------------------------------------------------------------------


@pytest.fixture
def cloud() -> Iterator[None]:
    with mock_aws():
        yield


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


def dropped(properties: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in names}


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    "given",
    [
        {"ModelRevision": "0123abcd", "HuggingFaceSecret": "hub-token"},
        {"ModelSource": "s3", "ModelDataS3": DATA, "Adapters": "warm,demo/sporty", "MaxInstances": "4"},
    ],
)
def test_aws_takes_every_resource(cloud: None, kind: str, given: dict[str, str]) -> None:
    """boto3 checks each property's name, type and bounds; moto keeps the endpoints, targets and alarms."""
    stack = nested(kind, **given)
    sagemaker, scaling, cloudwatch = client("sagemaker"), client("application-autoscaling"), client("cloudwatch")
    (model,) = made(stack, "AWS::SageMaker::Model").values()
    sagemaker.create_model(ModelName="model", **model)
    for name, properties in made(stack, "AWS::SageMaker::EndpointConfig").items():
        config = stack.attributes[f"{name}.EndpointConfigName"]
        properties["ProductionVariants"][0]["InstanceType"] = "ml.g4dn.xlarge"  # moto's list is of older instances
        sagemaker.create_endpoint_config(EndpointConfigName=config, **properties)
    for properties in made(stack, "AWS::SageMaker::Endpoint").values():
        sagemaker.create_endpoint(**dropped(properties, "RetainAllVariantProperties"))
    targets = {}
    for name, properties in made(stack, "AWS::ApplicationAutoScaling::ScalableTarget").items():
        targets[f"<{name}>"] = properties
        scaling.register_scalable_target(**properties | {"MaxCapacity": int(properties["MaxCapacity"])})
    for properties in made(stack, "AWS::ApplicationAutoScaling::ScalingPolicy").values():
        target = targets[properties["ScalingTargetId"]]
        place = {key: target[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        scaling.put_scaling_policy(**place, **dropped(properties, "ScalingTargetId"))
    for name, properties in made(stack, "AWS::CloudWatch::Alarm").items():
        cloudwatch.put_metric_alarm(AlarmName=name, **properties)
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    least = {one["ResourceId"]: (one["MinCapacity"], one["MaxCapacity"]) for one in found}
    most = int(given.get("MaxInstances", "1"))
    expected = {"async": (0, most), "realtime": (1, most)}
    assert least == {
        f"endpoint/adtailor-{one}/variant/AllTraffic": expected[one] for one in expected if kind in (one, "both")
    }
    assert {one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]} == {
        place.split("/")[1] for place in least
    }


# Scaling, alarms ------------------------------------------------------------------------------------------------------


def test_the_asynchronous_endpoint_sleeps_and_wakes_by_its_backlog() -> None:
    resources = nested("async").resources()
    tracking = resources["AsyncByBacklog"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    metric = tracking["CustomizedMetricSpecification"]
    assert metric["MetricName"] == "ApproximateBacklogSizePerInstance"
    assert metric["Dimensions"] == [{"Name": "EndpointName", "Value": "adtailor-async"}]
    at_once = resources["AsyncConfig"]["Properties"]["AsyncInferenceConfig"]["ClientConfig"]
    assert tracking["TargetValue"] == at_once["MaxConcurrentInvocationsPerInstance"]
    step = resources["AsyncWake"]["Properties"]["StepScalingPolicyConfiguration"]
    assert step["AdjustmentType"] == "ChangeInCapacity"
    assert step["StepAdjustments"] == [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]
    waiting = resources["AsyncWaiting"]["Properties"]
    assert waiting["MetricName"] == "HasBacklogWithoutCapacity"
    assert waiting["AlarmActions"] == ["<AsyncWake>"]
    assert (waiting["Threshold"], waiting["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")


def test_the_realtime_endpoint_keeps_an_instance_and_its_count_through_updates() -> None:
    resources = nested("realtime").resources()
    assert resources["RealtimeCapacity"]["Properties"]["MinCapacity"] == 1
    assert resources["RealtimeEndpoint"]["Properties"]["RetainAllVariantProperties"] is True
    policy = resources["RealtimeByRequests"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }


# Dimensions under which SageMaker publishes the metrics: the queue's of the endpoint, all others of the variant.
QUEUE = {"HasBacklogWithoutCapacity", "ApproximateAgeOfOldestRequest", "ApproximateBacklogSize"}


def test_alarms_reach_the_topic_and_watch_metrics_that_exist() -> None:
    alarms = made(nested("both"), "AWS::CloudWatch::Alarm")
    watched = set()
    for name, alarm in alarms.items():
        metric = alarm["MetricName"]
        watched.add(metric)
        dimensions = {one["Name"] for one in alarm["Dimensions"]}
        assert dimensions == ({"EndpointName"} if metric in QUEUE else {"EndpointName", "VariantName"}), name
        if name != "AsyncWaiting":
            assert alarm["AlarmActions"] == [ALARMS], name
            assert alarm["TreatMissingData"] == "notBreaching", name  # at zero instances there are no samples
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= (86400 if alarm["Period"] < 3600 else 604800)
    assert watched >= QUEUE | {
        "InvocationFailures",
        "ExpiredRequests",
        "Invocation5XXErrors",
        "Invocation4XXErrors",
        "ModelLatency",
        "CPUUtilization",
    }
    stuck = alarms["AsyncStuck"]
    assert stuck["Period"] * stuck["EvaluationPeriods"] == 30 * 60


def test_without_an_asynchronous_endpoint_no_alarm_is_about_one() -> None:
    only = made(nested("realtime"), "AWS::CloudWatch::Alarm")
    assert set(only) == {"RealtimeErrors", "RealtimeRefused", "RealtimeSlow"}


# Calls in and out -----------------------------------------------------------------------------------------------------


def test_answers_and_errors_lie_where_the_function_may_read_and_are_announced_to_its_queue() -> None:
    config = nested("async").resources()["AsyncConfig"]["Properties"]["AsyncInferenceConfig"]["OutputConfig"]
    bucket = f"s3://adtailor-data-{ACCOUNT}/"
    assert config["S3OutputPath"] == f"{bucket}jobs/output/"
    assert config["S3FailurePath"] == f"{bucket}jobs/failed/"
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:notices"
    assert config["NotificationConfig"] == {"SuccessTopic": topic, "ErrorTopic": topic}
    passed = MAIN["Resources"]["GpuEndpointStack"]["Properties"]["Parameters"]
    assert passed["NoticesTopic"] == {"Ref": "CopyNotices"} and passed["BucketName"] == {"Ref": "Bucket"}
    assert passed["AlarmTopic"] == {"Ref": "AlarmTopic"}
    readable = [
        resource
        for one in statements(main_stack("async").resources()["GenerateRole"])
        if "s3:GetObject" in one["Action"]
        for resource in one["Resource"]
    ]
    own = f"arn:aws:s3:::adtailor-data-{ACCOUNT}"
    assert readable == [f"{own}/jobs/*", f"{own}/artifacts/*"]  # the latter for click models of texts


# The role -------------------------------------------------------------------------------------------------------------

ANYWHERE = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}  # actions that know no resources


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("data", ["", DATA])
def test_the_role_may_do_what_the_endpoint_needs_and_no_more(kind: str, data: str) -> None:
    role = nested(kind, ModelDataS3=data).resources()["Role"]
    granted: dict[str, set[str]] = {}
    for one in statements(role):
        assert one["Effect"] == "Allow"
        if one["Resource"] == ["*"]:
            assert set(one["Action"]) <= ANYWHERE
        for action in one["Action"]:
            assert "*" not in action
            granted.setdefault(action, set()).update(one["Resource"])
    bucket = f"arn:aws:s3:::adtailor-data-{ACCOUNT}"
    assert granted["ecr:BatchGetImage"] == {f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/adtailor-vllm"}
    assert all("/aws/sagemaker/Endpoints/adtailor-" in one for one in granted["logs:PutLogEvents"])
    queued = kind != "realtime"
    written = {f"{bucket}/jobs/output/*", f"{bucket}/jobs/failed/*"} if queued else set()
    assert granted.get("s3:PutObject", set()) == written
    read = ({f"{bucket}/jobs/*"} if queued else set()) | ({f"arn:aws:s3:::{DATA[5:]}*"} if data else set())
    assert granted.get("s3:GetObject", set()) == read
    listed = ({bucket} if queued else set()) | ({"arn:aws:s3:::models"} if data else set())
    assert granted.get("s3:ListBucket", set()) == listed
    assert ("sns:Publish" in granted) == queued
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        (IMAGE, f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/adtailor-vllm"),
        (
            "763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:server-sagemaker-cuda-v2.5",
            "arn:aws:ecr:us-west-2:763104351884:repository/vllm",
        ),
    ],
)
def test_the_role_pulls_the_image_that_is_named(image: str, repository: str) -> None:
    (pull,) = (
        one
        for one in statements(nested("async", ImageUri=image).resources()["Role"])
        if "ecr:BatchGetImage" in one["Action"]
    )
    assert pull["Resource"] == [repository]


# What vLLM is started with --------------------------------------------------------------------------------------------


def arguments(environment: dict[str, str]) -> list[str]:
    """What the image makes of its environment: ``SM_VLLM_X_Y=value`` is ``--x-y value``, ``true`` only the flag."""
    found: list[str] = []
    for name, value in sorted(environment.items()):
        if name.startswith("SM_VLLM_") and value != "false":
            flag = "--" + name.removeprefix("SM_VLLM_").lower().replace("_", "-")
            found += [flag] if value == "true" else [flag, value]
    return found


def environment_of(kind: str, **given: str) -> dict[str, str]:
    (model,) = made(nested(kind, **given), "AWS::SageMaker::Model").values()
    environment: dict[str, str] = model["PrimaryContainer"]["Environment"]
    assert all(isinstance(value, str) for value in environment.values())
    return environment


COMMON = "--dtype auto --enable-prefix-caching --gpu-memory-utilization 0.9"


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (
            {},
            f"{COMMON} --max-model-len 2048 --model {MODEL} --served-model-name {MODEL} --tensor-parallel-size 1",
        ),
        (
            {"ModelRevision": "0123abcd", "InstanceType": "ml.g6e.12xlarge"},
            f"{COMMON} --max-model-len 2048 --model {MODEL} --revision 0123abcd --served-model-name {MODEL} "
            "--tensor-parallel-size 4",
        ),
        (
            {"ModelSource": "s3", "ModelDataS3": DATA, "ModelRevision": "ignored", "Adapters": "warm,demo/sporty"},
            "--config /opt/ml/model/adapters.yaml --dtype auto --enable-lora --enable-prefix-caching "
            "--gpu-memory-utilization 0.9 --max-loras 8 --max-lora-rank 32 --max-model-len 2048 "
            f"--model /opt/ml/model/base --served-model-name {MODEL} --tensor-parallel-size 1",
        ),
    ],
)
def test_environment_becomes_vllms_command(given: dict[str, str], command: str) -> None:
    assert arguments(environment_of("async", **given)) == command.split()


def test_the_hubs_token_comes_from_the_secret_and_only_for_the_hub() -> None:
    reference = "{{resolve:secretsmanager:hub-token}}"
    assert environment_of("async", HuggingFaceSecret="hub-token")["HF_TOKEN"] == reference
    from_s3 = {"ModelSource": "s3", "ModelDataS3": DATA, "HuggingFaceSecret": "hub-token"}
    assert "HF_TOKEN" not in environment_of("async", **from_s3)
    (model,) = made(nested("async", **from_s3), "AWS::SageMaker::Model").values()
    assert model["EnableNetworkIsolation"] is True
    assert model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"] == DATA


def test_the_publisher_knows_the_endpoints_limits() -> None:
    environment = environment_of("async", ModelDataS3=DATA, Adapters="warm")
    assert environment["SM_VLLM_MAX_LORA_RANK"] == str(adapters.MAX_RANK)
    assert environment["SM_VLLM_CONFIG"] == f"{adapters.MOUNT}/adapters.yaml"
    assert len(json.dumps(environment)) < 16 * 1024
