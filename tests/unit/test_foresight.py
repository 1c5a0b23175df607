"""What somebody would be answered at another time: as then, and without a trace."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from functions.classify import handler as classify
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from infra.answers import ANSWERS
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.two_tenants import Answer, ad, call, jwt

pytestmark = pytest.mark.slow
DAY = 86_400


def ahead(user_id: str, query: str = "seconds=3600&n=3", tenant: str = TENANT, **claims: Any) -> Answer:
    who = {"jwt": {"claims": {"tenant": tenant, **claims}}}
    return call(recommend, "GET", f"/v1/users/{user_id}/ahead", query=query, authorizer=who)


def rows(aws: Aws) -> list[str]:
    found: list[Any] = []
    arguments: dict[str, Any] = {"TableName": aws.table}
    while True:
        page = aws.dynamodb.scan(**arguments)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    objects = [one["Key"] for one in aws.s3.list_objects_v2(Bucket=aws.bucket).get("Contents", ())]
    return sorted(repr(sorted(row.items())) for row in found) + objects


@pytest.fixture
def served(built: System) -> System:
    who = jwt(TENANT)
    ads = [
        ad("phone-1", "A phone", bid_cpm=10.0, daily_budget=5.0, frequency_cap={"count": 1, "hours": 24}),
        ad("phone-2", "A phone with a case"),
        ad("watch-1", "A watch"),
        ad("later", "A phone to come", start=built.clock() + 10 * DAY),
        ad("over", "A phone for a day", end=built.clock() + DAY),
    ]
    assert call(classify, "PUT", "/v1/ads", {"ads": ads}, authorizer=who).status == 200
    classify.lambda_handler({"action": "publish", "tenant": TENANT}, None)
    at = built.clock() - 600
    rows_ = [{"user_id": "ann", "event": "view", "timestamp": at + n, "item_id": f"phone-{n}"} for n in (1, 2)]
    assert call(profile, "POST", "/v1/events", {"events": rows_}, authorizer=who).body["accepted"] == 2
    return built


def test_it_answers_as_then_and_keeps_nothing(served: System, aws: Aws) -> None:
    before = rows(aws)
    answers = [ahead("ann", f"seconds={seconds}&n=20") for seconds in (0, 20 * DAY)]
    for answer in answers:
        assert answer.status == 200, answer.body
        TypeAdapter(ANSWERS["GET /v1/users/{user_id}/ahead"][200]).validate_python(answer.body)
        assert answer.body["twin"] is not None and answer.body["profile"]["interests"]
    shown = [{one["ad_id"] for one in answer.body["ads"]} for answer in answers]
    assert "over" in shown[0] and "later" not in shown[0]
    assert "later" in shown[1] and "over" not in shown[1]
    assert answers[0].body["profile"]["updated_at"] < answers[1].body["profile"]["updated_at"]
    assert rows(aws) == before  # no profile, no decision, no reservation, no count of who holds what
    told = {"decision_id": answers[0].body["decision_id"], "ad_id": "phone-2", "type": "click", "timestamp": 1.79e9}
    counted = call(recommend, "POST", "/v1/feedback", {"feedback": [told]}, authorizer=jwt(TENANT))
    assert counted.body["results"][0]["result"] == "refused"


def test_asking_ahead_takes_nothing_of_a_cap_or_a_budget(served: System) -> None:
    for _ in range(3):
        assert ahead("ann", "n=20").status == 200
    found = call(recommend, "POST", "/v1/recommendations", {"user_id": "ann", "n": 20}, authorizer=jwt(TENANT))
    assert "phone-1" in {one["ad_id"] for one in found.body["ads"]}  # its cap of one is free
    assert served.stores.delivery.spent(TENANT, ["phone-1"], served.clock() + 5) == {"phone-1": 0.01}


def test_somebody_unknown_erased_or_of_another_tenant_has_no_profile(served: System, aws: Aws) -> None:
    unknown = ahead("nobody")
    assert unknown.status == 200 and unknown.body["profile"] is None and not unknown.body["personalised"]
    call(recommend, "POST", "/v1/recommendations", {"user_id": "ann"}, authorizer=jwt(TENANT))
    assert call(profile, "DELETE", "/v1/users/ann", authorizer=jwt(TENANT)).status == 202
    before = rows(aws)
    erased = ahead("ann")
    assert erased.status == 200 and erased.body["profile"] is None and not erased.body["personalised"]
    assert rows(aws) == before
    classify.lambda_handler({"action": "publish", "tenant": "other"}, None)
    assert ahead("ann", tenant="other").status in (200, 404)


def test_who_refused_is_served_as_anybody_and_stays_as_they_are(served: System, aws: Aws) -> None:
    said = {"personalisation": False, "source": "banner", "at": served.clock()}
    assert call(profile, "PUT", "/v1/users/ann/consent", said, authorizer=jwt(TENANT)).status == 200
    before = rows(aws)
    answer = ahead("ann")
    assert answer.status == 200 and not answer.body["personalised"]
    assert answer.body["profile"]["interests"] == [] and not answer.body["profile"]["consent"]["personalisation"]
    assert rows(aws) == before


def test_it_needs_the_scope_of_who_may_see_people(served: System) -> None:
    for scope in ("adtailor/serve", "adtailor/read", "adtailor/write"):
        assert ahead("ann", scope=scope).status == 403
    assert ahead("ann", scope="adtailor/people").status == 200


@pytest.mark.parametrize(
    "query",
    ["seconds=-1", "seconds=1e12", "seconds=nan", "seconds=inf", "seconds=x", "n=0", "n=99", "domain=x", "language=fr"],
)
def test_the_clock_moves_forward_and_within_bounds(served: System, query: str) -> None:
    answer = ahead("ann", query)
    assert (answer.status, answer.body["field"]) == (422, query.partition("=")[0])


def test_without_a_catalogue_there_is_nothing_to_answer(built: System) -> None:
    assert ahead("ann").status == 404
