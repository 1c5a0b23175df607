"""The environment, and what of it is a mistake."""

from __future__ import annotations

import pytest

from shared.settings import Settings


@pytest.mark.parametrize(
    "environment", [{"STAGE": "prod"}, {"AWS_SAM_LOCAL": "true"}, {"AWS_ENDPOINT_URL": "http://emulator:4566"}]
)
def test_a_function_starts_where_callers_are_known_or_it_is_not_aws(environment: dict[str, str]) -> None:
    assert Settings.from_env({"AWS_LAMBDA_FUNCTION_NAME": "recommend"} | environment)


def test_a_function_on_aws_that_lets_everybody_in_does_not_start() -> None:
    with pytest.raises(ValueError, match="lets requests in without a caller"):
        Settings.from_env({"AWS_LAMBDA_FUNCTION_NAME": "recommend", "STAGE": "local"})


def test_tenants_are_read_at_the_start() -> None:
    with pytest.raises(ValueError, match="TENANTS is not JSON"):
        Settings.from_env({"TENANTS": "{"})
