"""What `template.yaml` makes, as far as it costs money: read from the template, with values for its parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
_NOTHING = {"Ref": "AWS::NoValue"}
# Types that cost something while nobody calls, and those that cost nothing then; a test knows of no others.
BILLED_WHILE_IDLE = frozenset(
    {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::DynamoDB::Table",
        "AWS::KMS::Key",
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
        "AWS::SageMaker::EndpointConfig",
        "AWS::SecretsManager::Secret",
        "AWS::Serverless::Function",
    }
)
FREE_WHILE_IDLE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::ApiMapping",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::DomainName",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::CloudFormation::Stack",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::Lambda::Permission",
        "AWS::Route53::RecordSet",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SageMaker::Endpoint",
        "AWS::SageMaker::Model",
        "AWS::Scheduler::Schedule",
        "AWS::Serverless::LayerVersion",
    }
)


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags: ``!Ref X`` as ``{"Ref": "X"}``, ``!Equals …`` as ``{"Fn::Equals": …}``."""


def _tagged(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", _tagged)


@cache
def _parsed(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader)  # noqa: S506  # nosec B506
    return loaded


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function. memory_mb: what its seconds are billed by. batches, at_once: messages of one call and the most
    calls at a time, by queue; a queue without a limit is not in `at_once`."""

    name: str
    memory_mb: int
    timeout: int
    snapstart: bool
    batches: Mapping[str, int]
    at_once: Mapping[str, int]

    @property
    def memory_gb(self) -> float:
        return self.memory_mb / 1024


class Stack:
    """A template with values for its parameters (their defaults where none is given)."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, Any] | None = None, root: Path = ROOT) -> None:
        """root: the folder that nested templates lie in.

        Raises:
            KeyError: the template has no such parameter.
        """
        self._template = template
        self._root = root
        declared = template.get("Parameters", {})
        for name in given or {}:
            declared[name]
        self.parameters = {name: one.get("Default") for name, one in declared.items()} | dict(given or {})

    @classmethod
    def load(cls, path: Path = TEMPLATE, given: Mapping[str, Any] | None = None) -> Stack:
        return cls(_parsed(path), given, path.parent)

    @cached_property
    def resources(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """(type, properties) of what is made, by name; of nested stacks too, as ``Nested.Name``."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for name, one in self._template["Resources"].items():
            if "Condition" in one and not self._holds(one["Condition"]):
                continue
            properties = self.value(one.get("Properties", {}))
            found[name] = (one["Type"], properties)
            if one["Type"] == "AWS::CloudFormation::Stack":
                nested = Stack.load(self._root / properties["TemplateURL"], properties["Parameters"])
                found |= {f"{name}.{inner}": resource for inner, resource in nested.resources.items()}
        return found

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: properties for name, (one, properties) in self.resources.items() if one == kind}

    @cached_property
    def functions(self) -> dict[str, Function]:
        shared = self.value(self._template.get("Globals", {}).get("Function", {}))
        found = {}
        for name, own in self.of_type("AWS::Serverless::Function").items():
            properties = shared | own
            events = [one["Properties"] for one in properties.get("Events", {}).values() if one["Type"] == "SQS"]
            polled = {_target(event["Queue"]): event for event in events}
            found[name] = Function(
                name=name,
                memory_mb=int(properties.get("MemorySize", 128)),
                timeout=int(properties.get("Timeout", 3)),
                snapstart=properties.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions",
                batches={queue: int(event.get("BatchSize", 10)) for queue, event in polled.items()},
                at_once={
                    queue: int(event["ScalingConfig"]["MaximumConcurrency"])
                    for queue, event in polled.items()
                    if "ScalingConfig" in event
                },
            )
        return found

    @property
    def queues_polled(self) -> int:
        """Queues that Lambda asks for messages all the time."""
        return sum(len(one.batches) for one in self.functions.values())

    @property
    def alarm_metrics(self) -> dict[str, int]:
        """Metrics that alarms watch, which is what is billed, by resolution; composite alarms by themselves."""
        counts = {"standard": 0, "high": 0, "composite": len(self.of_type("AWS::CloudWatch::CompositeAlarm"))}
        for one in self.of_type("AWS::CloudWatch::Alarm").values():
            watched = sum("MetricStat" in query for query in one.get("Metrics", [])) or 1
            counts["high" if int(one.get("Period", 60)) < 60 else "standard"] += watched
        return counts

    @property
    def dashboards(self) -> int:
        return len(self.of_type("AWS::CloudWatch::Dashboard"))

    @property
    def secrets(self) -> int:
        return len(self.of_type("AWS::SecretsManager::Secret"))

    @property
    def keys(self) -> int:
        return len(self.of_type("AWS::KMS::Key"))

    @property
    def log_days(self) -> int:
        """The longest retention of the log groups; 0 where one keeps its lines for ever."""
        days = [int(one.get("RetentionInDays", 0)) for one in self.of_type("AWS::Logs::LogGroup").values()]
        return 0 if 0 in days else max(days, default=0)

    @property
    def table(self) -> dict[str, Any]:
        """Properties of the one table."""
        (found,) = self.of_type("AWS::DynamoDB::Table").values()
        return found

    @property
    def recovers_to_a_point_in_time(self) -> bool:
        return bool(self.table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled", False))

    @property
    def throttle(self) -> tuple[float, float]:
        """Requests a second and burst that the API lets in."""
        for one in self.of_type("AWS::ApiGatewayV2::Stage").values():
            settings = one.get("DefaultRouteSettings", {})
            return float(settings["ThrottlingRateLimit"]), float(settings["ThrottlingBurstLimit"])
        return 0.0, 0.0

    @property
    def traced(self) -> bool:
        return self._template.get("Globals", {}).get("Function", {}).get("Tracing") == "Active"

    @property
    def endpoint_instances(self) -> list[str]:
        """Instance types of the SageMaker endpoints that the stack makes, one for each."""
        configurations = self.of_type("AWS::SageMaker::EndpointConfig").values()
        return [variant["InstanceType"] for one in configurations for variant in one["ProductionVariants"]]

    # Functions of the template ------------------------------------------------------------------------------------

    def value(self, node: Any) -> Any:
        """`node` with parameters and conditions resolved; what else is computed stays as it stands."""
        if isinstance(node, list):
            return [one for one in map(self.value, node) if one != _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref" and argument in self.parameters:
                return self.parameters[argument]
            if name == "Fn::If":
                return self.value(argument[1 if self._holds(argument[0]) else 2])
        values = {name: self.value(one) for name, one in node.items()}
        return {name: one for name, one in values.items() if one != _NOTHING}

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self._holds(self._template["Conditions"][condition])
        ((name, argument),) = condition.items()
        if name == "Condition":
            return self._holds(argument)
        if name == "Fn::Equals":
            left, right = (str(self.value(one)) for one in argument)
            return left == right
        parts = [self._holds(one) for one in argument]
        return {"Fn::Not": not parts[0], "Fn::And": all(parts), "Fn::Or": any(parts)}[name]


def _target(reference: Any) -> str:
    """The resource that ``!GetAtt Queue.Arn`` or ``!Ref Queue`` points at."""
    ((_, name),) = reference.items()
    return str(name).partition(".")[0]


def custom_metrics(root: Path = ROOT) -> set[str]:
    """Names of the metrics that the code writes (``metrics.add_metric``)."""
    return {
        name for folder in ("shared", "functions") for path in (root / folder).rglob("*.py") for name in _names(path)
    }


def _names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_metric":
            given = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "name")]
            yield from (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
