"""template.yaml against the code that it deploys: routes, environment, roles, resources.

cfn-lint checks its form, test_template_expanded.py what SAM makes of it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.idempotency.persistence import dynamodb as powertools
from fastapi.routing import APIRoute

from shared.erasing import DELAY_SECONDS
from shared.settings import Settings
from shared.stores.identities import TOMBSTONE_DAYS
from shared.tenants import Tenants
from tests import cloudformation
from tests.cloudformation import listed
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
    return {action for statement in statements(resources, function) for action in listed(statement["Action"])}


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
    opened = {"PostAuction": "OpensAuction", "GetWin": "TakesNotices", "GetBilling": "TakesNotices"}
    opened |= dict.fromkeys(("GetLoss", "PostWin", "PostBilling", "PostLoss"), "TakesNotices")
    opened |= dict.fromkeys(("GetClick", "PostClick", "GetVisit"), "TakesNotices")
    for name, route in routes.items():
        kind, authorizer = route["AuthorizationType"], route["AuthorizerId"]
        if name in opened:  # where a parameter says so: see tests/unit/test_openrtb_open.py
            condition, none, kind = kind["If"]
            assert (condition, none) == (opened[name], "NONE")
            assert authorizer["If"][:2] == [opened[name], {"Ref": "AWS::NoValue"}]
            authorizer = authorizer["If"][2]
        assert kind == {"If": ["UseJwt", "JWT", "AWS_IAM"]}, name
        assert authorizer["If"][:2] == ["UseJwt", {"Ref": "JwtAuthorizer"}], name


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
    assert set(variables) - known == {"POWERTOOLS_SERVICE_NAME", "AWS_ENDPOINT_URL", "ORT_DISABLE_TELEMETRY"}
    assert {"STAGE", "TABLE_NAME", "BUCKET_NAME", "CONSENT_BASIS", "K_FLOOR"} <= set(variables)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_know_the_queues_that_they_may_send_to(template: dict[str, Any], function: str) -> None:
    known = {name["Ref"] for key, name in environment(template, function).items() if key.endswith("_QUEUE_URL")}
    allowed = {
        resource["GetAtt"].removesuffix(".Arn")
        for statement in statements(template["Resources"], function)
        if "sqs:SendMessage" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert known == allowed - {"FailedUploads"}  # Lambda itself sends to that one, in the function's name
    uploads = {"profile": {"EventQueue"}, "classify": {"AdQueue", "CatalogueQueue"}}
    assert uploads.get(function, known) == known


def test_who_touches_people_has_the_key_and_nobody_else(template: dict[str, Any]) -> None:
    for function in FUNCTIONS:
        may = "secretsmanager:GetSecretValue" in actions(template["Resources"], function)
        has = "PSEUDONYM_SECRET_ID" in environment(template, function)
        assert may == has == (function != "classify"), function


def test_tenants_terms_reach_every_function_as_they_are_given(template: dict[str, Any]) -> None:
    parameter = template["Parameters"]["Tenants"]
    (example,) = re.findall(r"e\.g\. (\{.*\}) with", " ".join(parameter["Description"].split()))
    assert (
        Tenants.parse(example, basis="required").of_role("arn:aws:sts::111122223333:assumed-role/acme-web/s") == "acme"
    )
    pattern = re.compile(parameter["AllowedPattern"])
    assert parameter["MaxLength"] == 2400
    role = '"arn:aws:iam::111122223333:role/'
    for given in (example, "", "{}", '{"*": {}}', '{ "a" : {"limits": {}, "roles": []} ,"b":{"limits":{"ads":null}}}'):
        assert pattern.fullmatch(given), given
        Tenants.parse(given, basis="required")
    for given in (
        *("acme", "{acme: {}}", "{'acme': {}}", '{"acme": }', '{"acme": {}', '{"acme": {},}', '{"a/b": {}}', "[]"),
        *('{"a": {"limit": {}}}', '{"a": {"limits": {"ad": 1}}}', '{"a": {"limits": {"ads": 1.5}}}'),
        *('{"a": {"limits": {"ads": -1}}}', '{"a": {"limits": {"ads": "5"}}}', '{"a": {"consent_basis": "maybe"}}'),
        *('{"a": {"limits": {"ads": 1,}}}', '{"a": {"roles": ["acme"]}}', f'{{"a": {{"roles": [{role}team/x"]}}}}'),
    ):
        assert not pattern.fullmatch(given), given
    for function in FUNCTIONS:
        assert environment(template, function)["TENANTS"] == {"Ref": "Tenants"}
        assert environment(template, function)["TENANT_CLAIM"] == {"Ref": "TenantClaim"}
    assert template["Parameters"]["TenantClaim"]["Default"] == Settings.from_env({}).tenant_claim


def test_consent_is_required_unless_said_otherwise(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]
    assert parameters["ConsentBasis"]["Default"] == "required"
    assert parameters["KFloor"]["Default"] == 50
    assert parameters["Stage"]["Default"] == "dev"
    assert parameters["TcfVendorId"]["Default"] == 0
    assert environment(template, "profile")["TCF_VENDOR_ID"] == {"Ref": "TcfVendorId"}


def test_an_erasure_waits_longer_than_any_function_runs_and_knows_how_long_the_log_is_kept(
    template: dict[str, Any], resources: dict[str, Any]
) -> None:
    longest = max(resources[f"{name.capitalize()}Function"]["Properties"]["Timeout"] for name in FUNCTIONS)
    assert longest < DELAY_SECONDS == Settings.from_env({}).erasure_delay_seconds
    assert environment(template, "profile")["DECISION_LOG_DAYS"] == {"Ref": "DecisionLogDays"}
    assert template["Parameters"]["DecisionLogDays"]["Default"] == Settings.from_env({}).decision_log_days


# Roles ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_grant_named_actions_on_named_resources(resources: dict[str, Any], function: str) -> None:
    name = function.capitalize()
    assert resources[f"{name}Function"]["Properties"]["Role"] == {"GetAtt": f"{name}Role.Arn"}
    for statement in statements(resources, function):
        names = listed(statement["Action"])
        assert not any("*" in action for action in names), statement
        if statement["Resource"] == "*":
            assert all(action.startswith("xray:Put") for action in names), statement  # X-Ray knows no resources


def called(module: str, by: str = "_call") -> Iterator[str]:
    """Names of the boto3 operations that a module of shared/stores passes to its ``_call``, or what it has for that."""
    for node in ast.walk(ast.parse((ROOT / "shared" / "stores" / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == by:
            first = node.args[0]
            assert isinstance(first, ast.Constant) and isinstance(first.value, str), ast.unparse(node)
            yield first.value


# What IAM asks for: a transaction is authorised as the writes within it, reads of an object's head as reads of it, and
# what boto3 uploads in parts it must be able to give up.
IAM = {
    "transact_write_items": {
        f"dynamodb:{part}" for part in ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem")
    },
    "head_object": {"s3:GetObject"},
    "list_objects_v2": {"s3:ListBucket"},
    "delete_objects": {"s3:DeleteObject"},
    "upload_fileobj": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "complete_multipart_upload": {"s3:PutObject"},
    "list_parts": {"s3:ListMultipartUploadParts"},
}
ONLY = {  # what only some functions do
    "dynamodb:Scan": {"profile"},  # the rebuild of every profile
    "s3:PutObject": {"profile", "classify", "generate", "recommend"},
    "s3:DeleteObject": {"profile", "classify"},  # chunks that are done, the rejected lines of an earlier upload
    "s3:AbortMultipartUpload": {"profile", "classify"},  # the rejected lines of all chunks together
    "s3:ListMultipartUploadParts": {"profile"},  # an upload without somebody who was erased
}


def asked(service: str, operations: set[str]) -> set[str]:
    assert operations
    names = [IAM.get(op) or {f"{service}:{''.join(part.title() for part in op.split('_'))}"} for op in operations]
    return set().union(*names)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_cover_what_the_stores_call_and_nothing_else(resources: dict[str, Any], function: str) -> None:
    granted = actions(resources, function)
    idempotency = set(re.findall(r"client\.(\w+)\(", inspect.getsource(powertools)))
    wanted = asked("dynamodb", set(called("table")) | idempotency) | asked("s3", set(called("objects")))
    wanted |= asked("s3", set(called("rewriting", by="_do")))
    wanted -= {action for action, functions in ONLY.items() if function not in functions}
    assert {action for action in granted if action.startswith(("dynamodb:", "s3:"))} == wanted


@pytest.mark.parametrize("function", ["profile", "classify"])
def test_uploads_and_their_chunks_are_read_chunks_and_rejected_lines_written(
    resources: dict[str, Any], function: str
) -> None:
    folders: dict[str, set[str]] = {}
    for statement in statements(resources, function):
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                if action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
                    folders.setdefault(action[3:], set()).add(resource["Sub"].split("/", 1)[1])
    own = {"profile": {"events/*"}, "classify": {"ads/*", "labels/*", "artifacts/*", "catalogue/*"}}[function]
    trains = {"candidates/*"} if function == "classify" else set()
    judged = {"artifacts/*/ranker/*"} if trains else set()  # what the gate let out
    # Who erases people takes them out of all these.
    people = {"events/*", "rejected/*", "logs/*", "exports/*", "erasures/*"} if function == "profile" else set()
    signs = {"ads/*", "labels/*"} if function == "profile" else set()  # addresses of uploads, with those of events
    assert folders["GetObject"] == own | {"chunks/*"} | trains | ({"logs/*"} if trains else set()) | people | signs
    written = (own & {"catalogue/*"}) | {"chunks/*", "rejected/*"} | trains | judged | people | signs
    assert folders["PutObject"] == written
    assert folders["DeleteObject"] == {"chunks/*", "rejected/*"} | (people & {"exports/*"})


def test_training_lists_what_it_reads_and_grants_keys_to_aws_alone(resources: dict[str, Any]) -> None:
    found = statements(resources, "training")
    listing = [one["Condition"]["StringLike"]["s3:prefix"] for one in found if "s3:ListBucket" in listed(one["Action"])]
    read = ["labels/*", "logs/*", "candidates/*", "artifacts/*/ranker/*", "checkpoints/*"]
    assert listing == [read, "*/source.tar.gz"]
    (granting,) = (one for one in found if "kms:CreateGrant" in listed(one["Action"]))
    assert granting["Action"] == "kms:CreateGrant"
    assert granting["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


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
    assert {rules[prefix] for prefix in ("events/", "ads/", "rejected/")} == {7}
    assert rules["checkpoints/"] == 7 and "labels/" not in rules  # a schedule trains again on the labels that lie there
    assert rules["erasures/"] == TOMBSTONE_DAYS
    assert rules["exports/"] == 1  # the address of one holds for a quarter of an hour
    assert rules["chunks/"] == 15  # a dead letter, which waits 14 days, may still ask for one
    (statement,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_pages_of_the_one_origin_send_uploads_and_nobody_else(resources: dict[str, Any]) -> None:
    condition, cors, nothing = resources["Bucket"]["Properties"]["CorsConfiguration"]["If"]
    assert (condition, nothing) == ("HasCors", {"Ref": "AWS::NoValue"})
    (rule,) = cors["CorsRules"]
    assert rule["AllowedOrigins"] == [{"Ref": "CorsOrigin"}]
    assert rule["AllowedMethods"] == ["PUT", "GET"] and rule["AllowedHeaders"] == ["content-type"]


def test_uploads_trigger_their_function(template: dict[str, Any]) -> None:
    uploads = (("profile", "Upload", "events/"), ("classify", "Upload", "ads/"), ("classify", "Labels", "labels/"))
    for function, event, prefix in uploads:
        upload = template["Resources"][f"{function.capitalize()}Function"]["Properties"]["Events"][event]
        assert upload["Type"] == "S3"
        assert upload["Properties"]["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": prefix}]
    # Not by reference: bucket, function and role would wait for each other.
    named = template["Globals"]["Function"]["Environment"]["Variables"]["BUCKET_NAME"]
    assert named == template["Resources"]["Bucket"]["Properties"]["BucketName"]


def test_there_is_an_event_for_every_way_in() -> None:
    ways = {"profile": "api s3 sqs direct", "classify": "api s3 sqs direct labels_s3"}
    ways["profile"] += " erase_api erase_sqs"
    ways["classify"] += " train_direct trained_direct train_ranker_direct ranker_trained_direct"
    ways["generate"] = "api sqs direct reviews_api catalogue_direct catalogue_sqs"
    ways["recommend"] = "api direct log_direct"
    expected = {f"{function}_{way}.json" for function, many in ways.items() for way in many.split()}
    assert {path.name for path in (ROOT / "tests" / "events").glob("*.json")} == expected
