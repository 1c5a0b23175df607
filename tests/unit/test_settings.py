"""The environment, and what of it is a mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.recommend import handler as recommend
from shared.errors import ModelUnavailable
from shared.models.openai import OpenAICompatible
from shared.settings import Settings
from shared.wiring import System, system


@pytest.mark.parametrize(
    "environment", [{"STAGE": "prod"}, {"AWS_SAM_LOCAL": "true"}, {"AWS_ENDPOINT_URL": "http://emulator:4566"}]
)
def test_a_function_starts_where_callers_are_known_or_it_is_not_aws(environment: dict[str, str]) -> None:
    assert Settings.from_env({"AWS_LAMBDA_FUNCTION_NAME": "recommend"} | environment)


def test_a_function_on_aws_that_lets_everybody_in_does_not_start() -> None:
    with pytest.raises(ValueError, match="lets requests in without a caller"):
        Settings.from_env({"AWS_LAMBDA_FUNCTION_NAME": "recommend", "STAGE": "local"})
    for own in ("https://vpce-1.execute-api.eu-central-1.vpce.amazonaws.com", "https://dynamodb.eu-west-1.api.aws/"):
        with pytest.raises(ValueError, match="lets requests in without a caller"):
            Settings.from_env({"AWS_LAMBDA_FUNCTION_NAME": "recommend", "AWS_ENDPOINT_URL": own})


class Secrets:
    """Secrets Manager, as botocore's client answers."""

    def __init__(self, **kept: str) -> None:
        self.kept = kept
        self.asked: list[str] = []

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - as AWS calls it
        self.asked.append(SecretId)
        if SecretId not in self.kept:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "GetSecretValue")
        return {"SecretString": self.kept[SecretId]}


def test_the_key_of_the_language_model_comes_from_its_secret_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets, url = Secrets(model="key-of-secret\n", pairs='{"key": "x"}'), "http://127.0.0.1:9/v1"
    monkeypatch.setattr(System, "_client", lambda self, service, **bounds: secrets)

    def key(**environment: str) -> str:
        generator = System(Settings.from_env({"LLM_URL": url} | environment))._generator()
        assert isinstance(generator, OpenAICompatible)
        return generator._key.current()

    assert key() == ""
    assert key(LLM_API_KEY="of-environment") == "of-environment"  # pragma: allowlist secret
    assert secrets.asked == []
    assert key(LLM_KEY_SECRET_ID="model", LLM_API_KEY="other") == "key-of-secret"
    for secret in ("away", "pairs"):
        with pytest.raises(ModelUnavailable, match="key of the language model"):
            key(LLM_KEY_SECRET_ID=secret)
    own = Settings.from_env({"LLM_API_KEY": "of-environment"})  # pragma: allowlist secret
    assert "of-environment" not in repr(own)


@pytest.mark.parametrize(
    ("key", "url", "message"),
    [
        ("sk-1\r", "", "LLM_API_KEY"),
        ("sk-\u2026", "", "LLM_API_KEY"),
        ("sk-1", "http://llm.example/v1", "http and has a key"),
        ("", "http://10.0.0.1/v1", "http and has a key"),
    ],
)
def test_a_key_that_cannot_be_sent_or_would_be_read_on_its_way_is_a_mistake(key: str, url: str, message: str) -> None:
    environment = {"LLM_API_KEY": key} if key else {"LLM_KEY_SECRET_ID": "arn"}  # pragma: allowlist secret
    with pytest.raises(ValueError, match=message) as error:
        Settings.from_env(environment | {"LLM_URL": url})
    assert "sk-" not in str(error.value)
    assert Settings.from_env({"LLM_URL": "http://llm.example/v1"})
    sent = {"LLM_API_KEY": "sk-1"}  # pragma: allowlist secret
    assert Settings.from_env({"LLM_URL": "https://llm.example/v1"} | sent)


def test_tenants_are_read_at_the_start() -> None:
    with pytest.raises(ValueError, match="TENANTS is not JSON"):
        Settings.from_env({"TENANTS": "{"})


def test_a_mistake_is_said_in_the_log_and_to_no_caller(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("TENANTS", '{"acme": {"limit": {}}}')
    system.cache_clear()
    http = {"method": "POST", "path": "/v1/recommendations", "sourceIp": "203.0.113.7"}
    claims = {"tenant": "acme", "scope": "adtailor/serve"}
    event = {
        "version": "2.0",
        "rawPath": http["path"],
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": http, "stage": "$default", "authorizer": {"jwt": {"claims": claims}}},
        "body": '{"user_id": "ann"}',
        "isBase64Encoded": False,
    }
    answer = recommend.lambda_handler(event, None)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["title"]) == (500, "Wrong settings")
    assert "settings of this deployment are wrong" in body["detail"] and "acme" not in answer["body"]
    assert "TENANTS.acme: an object of" in str([vars(line).get("reason") for line in caplog.records])
    told = recommend.lambda_handler({"action": "recommend", "tenant": "acme", "user_id": "ann"}, None)
    assert told["error"]["title"] == "Wrong settings"
    system.cache_clear()
