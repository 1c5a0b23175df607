"""The published contract is the one that the code serves."""

from __future__ import annotations

import json

from infra.openapi import CONTRACT, contract


def test_the_published_contract_is_what_is_served() -> None:
    assert json.loads(CONTRACT.read_text(encoding="utf-8")) == json.loads(json.dumps(contract())), (
        "the API changed: run `python -m infra.openapi` and look at the difference"
    )


def test_every_route_of_the_template_is_in_the_contract() -> None:
    paths = contract()["paths"]
    assert {
        "/v1/events",
        "/v1/users/{user_id}/profile",
        "/v1/users/{user_id}/interests",
        "/v1/users/{user_id}/consent",
        "/v1/users/{user_id}/identities",
        "/v1/users/{user_id}",
        "/v1/users/{user_id}/export",
        "/v1/users/{user_id}/ahead",
        "/v1/uploads",
        "/v1/uploads/{kind}/{name}",
        "/v1/erasures/{erasure_id}",
        "/v1/classify",
        "/v1/ads",
        "/v1/ads/{ad_id}",
        "/v1/ads/{ad_id}/variants",
        "/v1/campaigns",
        "/v1/heads",
        "/v1/heads/{name}",
        "/v1/ranker",
        "/v1/copy",
        "/v1/copy/reviews",
        "/v1/copy/{job_id}",
        "/v1/recommendations",
        "/v1/feedback",
        "/openrtb2/auction",
        "/openrtb2/win",
        "/openrtb2/billing",
        "/openrtb2/loss",
        "/openrtb2/click",
        "/openrtb2/visit",
    } == set(paths)
