"""template.yaml against the code that it deploys: routes, environment, roles, resources. cfn-lint checks its form."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from shared.settings import Settings
from tests import cloudformation
from tests.conftest import Aws
from tests.data import ROOT

FUNCTIONS = ("profile", "classify", "generate", "recommend")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return cloudformation.load(ROOT / "template.yaml")


@pytest.fixture(scope="module")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"]
    return found


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind}


def statements(resources: dict[str, Any], function: str) -> list[dict[str, Any]]:
    """The statements of a function's role, conditional ones included."""
    role = resources[f"{function.capitalize()}Role"]["Properties"]
    (policy,) = role["Policies"]
    return [one for given in policy["PolicyDocument"]["Statement"] for one in either(given)]


def either(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements that a conditional one may be."""
    if "If" in statement:
        for one in statement["If"][1:]:
            yield from either(one)
    elif statement != {"Ref": "AWS::NoValue"}:
        yield statement


def actions(resources: dict[str, Any], function: str) -> set[str]:
    found: set[str] = set()
    for statement in statements(resources, function):
        found |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return found


# Functions and routes -------------------------------------------------------------------------------------------------


def test_every_function_folder_is_deployed(resources: dict[str, Any]) -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    deployed = {one["CodeUri"] for one in of_type(resources, "AWS::Serverless::Function").values()}
    assert deployed == {f"functions/{folder}/" for folder in folders} and folders == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_routes_are_those_of_the_handler(resources: dict[str, Any], function: str) -> None:
    handler = importlib.import_module(f"functions.{function}.handler")
    served = {
        f"{method} {route.path_format}"
        for router in (handler.router,)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    target = {"Sub": f"integrations/${{{function.capitalize()}Integration}}"}
    routed = {
        route["RouteKey"]
        for route in of_type(resources, "AWS::ApiGatewayV2::Route").values()
        if route["Target"] == target
    }
    assert routed == served and served


def test_every_route_wants_an_authorizer(resources: dict[str, Any]) -> None:
    routes = of_type(resources, "AWS::ApiGatewayV2::Route")
    assert len(routes) == len({route["RouteKey"] for route in routes.values()})
    for name, route in routes.items():
        assert route["AuthorizationType"] == {"If": ["UseJwt", "JWT", "AWS_IAM"]}, name
        assert route["AuthorizerId"]["If"][:2] == ["UseJwt", {"Ref": "JwtAuthorizer"}], name


def test_plain_api_comes_before_sam_functions(resources: dict[str, Any]) -> None:
    # `sam local start-api` reads routes of the kind of the first resource that could carry any.
    kinds = [one["Type"] for one in resources.values()]
    assert kinds.index("AWS::ApiGatewayV2::Api") < kinds.index("AWS::Serverless::Function")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_integration_calls_the_published_alias(resources: dict[str, Any], function: str) -> None:
    name = function.capitalize()
    uri = resources[f"{name}Integration"]["Properties"]["IntegrationUri"]["Sub"]
    assert uri.endswith(f"/functions/${{{name}Function.Arn}}:live/invocations")
    assert resources[f"{name}Permission"]["Properties"]["FunctionName"] == {"Ref": f"{name}Function.Alias"}


# Environment ----------------------------------------------------------------------------------------------------------


def environment(template: dict[str, Any], function: str) -> dict[str, Any]:
    own = template["Resources"][f"{function.capitalize()}Function"]["Properties"].get("Environment", {})
    return {**template["Globals"]["Function"]["Environment"]["Variables"], **own.get("Variables", {})}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_environment_names_settings(template: dict[str, Any], function: str) -> None:
    known = {field.name.upper() for field in dataclasses.fields(Settings)}
    variables = environment(template, function)
    assert set(variables) - known == {"POWERTOOLS_SERVICE_NAME", "AWS_ENDPOINT_URL"}
    assert {"STAGE", "TABLE_NAME", "BUCKET_NAME", "CONSENT_BASIS", "K_FLOOR"} <= set(variables)


def test_who_touches_people_has_the_key_and_nobody_else(template: dict[str, Any]) -> None:
    for function in FUNCTIONS:
        may = "secretsmanager:GetSecretValue" in actions(template["Resources"], function)
        has = "PSEUDONYM_SECRET_ID" in environment(template, function)
        assert may == has == (function != "classify"), function


def test_consent_is_required_unless_said_otherwise(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]
    assert parameters["ConsentBasis"]["Default"] == "required"
    assert parameters["KFloor"]["Default"] == 50
    assert parameters["Stage"]["Default"] == "dev"


# Roles ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_grant_named_actions_on_named_resources(resources: dict[str, Any], function: str) -> None:
    name = function.capitalize()
    assert resources[f"{name}Function"]["Properties"]["Role"] == {"GetAtt": f"{name}Role.Arn"}
    for statement in statements(resources, function):
        names = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not any("*" in action for action in names), statement
        if statement["Resource"] == "*":
            assert all(action.startswith("xray:Put") for action in names), statement  # X-Ray knows no resources


def called(module: str) -> Iterator[str]:
    """Names of the boto3 operations that a module of shared/stores passes to its ``_call``."""
    for node in ast.walk(ast.parse((ROOT / "shared" / "stores" / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_call":
            first = node.args[0]
            assert isinstance(first, ast.Constant) and isinstance(first.value, str), ast.unparse(node)
            yield first.value


# What IAM asks for: a transaction is authorised as the writes within it, reads of an object's head as reads of it.
IAM = {
    "transact_write_items": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
    "head_object": {"s3:GetObject"},
    "list_objects_v2": {"s3:ListBucket"},
}


def asked(module: str, service: str) -> set[str]:
    operations = set(called(module))
    assert operations
    names = [IAM.get(op) or {f"{service}:{''.join(part.title() for part in op.split('_'))}"} for op in operations]
    return set().union(*names)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_cover_what_the_stores_call(resources: dict[str, Any], function: str) -> None:
    granted = actions(resources, function)
    assert asked("table", "dynamodb") == {action for action in granted if action.startswith("dynamodb:")}
    unused = {"s3:PutObject"} if function == "recommend" else set()
    assert asked("objects", "s3") - unused == {action for action in granted if action.startswith("s3:")}


# Data -----------------------------------------------------------------------------------------------------------------


def test_table_is_the_one_the_stores_are_tested_on(resources: dict[str, Any], aws: Aws) -> None:
    table = resources["Table"]["Properties"]
    tried = aws.dynamodb.describe_table(TableName=aws.table)["Table"]
    assert table["KeySchema"] == tried["KeySchema"]
    assert sorted(map(str, table["AttributeDefinitions"])) == sorted(map(str, tried["AttributeDefinitions"]))
    (index,) = table["LocalSecondaryIndexes"]
    (tried_index,) = tried["LocalSecondaryIndexes"]
    assert index.items() <= tried_index.items()
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_bucket_is_closed_and_forgets_raw_uploads(resources: dict[str, Any]) -> None:
    bucket = resources["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule.get("Prefix"): rule.get("ExpirationInDays") for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert {prefix: rules[prefix] for prefix in ("events/", "ads/", "rejected/")} == {
        "events/": 7,
        "ads/": 7,
        "rejected/": 7,
    }
    (statement,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_uploads_trigger_their_function(template: dict[str, Any]) -> None:
    for function, prefix in (("profile", "events/"), ("classify", "ads/")):
        upload = template["Resources"][f"{function.capitalize()}Function"]["Properties"]["Events"]["Upload"]
        assert upload["Type"] == "S3"
        assert upload["Properties"]["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": prefix}]
    # Not by reference: bucket, function and role would wait for each other.
    named = template["Globals"]["Function"]["Environment"]["Variables"]["BUCKET_NAME"]
    assert named == template["Resources"]["Bucket"]["Properties"]["BucketName"]


@pytest.mark.parametrize(
    ("function", "event", "queue", "dead"),
    [
        ("generate", "CopyJob", "CopyQueue", "CopyDeadLetters"),
        ("classify", "CatalogueTask", "CatalogueQueue", "CatalogueDeadLetters"),
    ],
)
def test_queues_repeat_failures_and_then_set_them_aside(
    resources: dict[str, Any], function: str, event: str, queue: str, dead: str
) -> None:
    consumer = resources[f"{function.capitalize()}Function"]["Properties"]
    source = consumer["Events"][event]["Properties"]
    assert source["Queue"] == {"GetAtt": f"{queue}.Arn"}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    properties = resources[queue]["Properties"]
    assert properties["VisibilityTimeout"] >= 6 * consumer["Timeout"]
    assert properties["RedrivePolicy"] == {"deadLetterTargetArn": {"GetAtt": f"{dead}.Arn"}, "maxReceiveCount": 3}
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} <= actions(resources, function)


def test_logs_are_kept_for_a_time(resources: dict[str, Any]) -> None:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    for function in FUNCTIONS:
        name = function.capitalize()
        logging = resources[f"{name}Function"]["Properties"]["LoggingConfig"]
        assert logging["LogGroup"] == {"Ref": f"{name}Log"} and f"{name}Log" in groups


def test_there_is_an_event_for_every_way_in() -> None:
    ways = {"profile": "api s3 direct", "classify": "api s3 sqs direct"}
    ways["generate"] = "api sqs direct reviews_api catalogue_direct catalogue_sqs"
    ways["recommend"] = "api direct"
    expected = {f"{function}_{way}.json" for function, many in ways.items() for way in many.split()}
    assert {path.name for path in (ROOT / "tests" / "events").glob("*.json")} == expected
