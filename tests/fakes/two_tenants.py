"""Two tenants on one deployment, each with people, ads, decisions, jobs and whatever else the other might try to reach.

The second's data holds a word (`SECRET`) that must be in no answer to the first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.stores.runs import Run
from shared.wiring import System
from tests.conftest import Aws

OURS, THEIRS = "acme", "globex"
ACCOUNT = "arn:aws:iam::111122223333:role"
TENANTS = {name: {"roles": [f"{ACCOUNT}/{name}-*"]} for name in (OURS, THEIRS)}
SECRET = "Zyxowater"  # stands in whatever of theirs could be read
AT = "2026-11-20T10:00:00Z"


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    def shape(self, *ids: str) -> tuple[int, str]:
        """What a caller can tell from it: without the ids that it sent, and what no two answers share."""
        text = json.dumps(self.body, sort_keys=True, ensure_ascii=False)
        for one in sorted({form for given in ids for form in (given, given.strip(), quote(given, safe=""))}, key=len):
            if len(one) > 3:
                text = text.replace(one, "ID").replace(json.dumps(one)[1:-1], "ID")
        text = re.sub(
            r"\b\d{8}-[0-9a-f]{12}\b|[0-9a-f]{32}|[0-9a-f]{24}|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z", "#", text
        )
        return self.status, re.sub(r'("decision_id": )"[^"]*"', r'\1"#"', text)


def jwt(tenant: Any) -> dict[str, Any]:
    return {"jwt": {"claims": {"iss": "https://login.example.com/", "sub": "backend", "tenant": tenant}}}


def signed(arn: str) -> dict[str, Any]:
    return {"iam": {"accountId": "111122223333", "userArn": arn, "userId": "AROA:session"}}


def call(
    front: Any,
    method: str,
    path: str,
    body: Any = None,
    *,
    authorizer: dict[str, Any] | None = None,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    """A request as API Gateway hands it on, by our tenant where no other authorizer's context is given."""
    event = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json"} | (headers or {}),
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "stage": "$default",
            "authorizer": jwt(OURS) if authorizer is None else authorizer,
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
    answer = front.lambda_handler(event, None)
    return Answer(answer["statusCode"], json.loads(answer["body"] or "null"), dict(answer["headers"]))


def ad(ad_id: str, title: str, **more: Any) -> dict[str, Any]:
    landing = {"landing_url": "https://example.com/x", "language": "en", "domain": "ecommerce"}
    return {"ad_id": ad_id, "title": title, "description": "It is here."} | landing | more


def event(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "event": "purchase", "timestamp": AT, "item_id": item_id} | more


@dataclass
class World:
    """Two tenants on one deployment, and by kind the ids of theirs that ours tries."""

    system: System
    aws: Aws
    theirs: dict[str, str] = field(default_factory=dict)

    def plant(self) -> None:
        for tenant, word in ((OURS, "shoe"), (THEIRS, f"phone {SECRET}")):
            who = jwt(tenant)
            ads = [ad("common", f"A {word}"), ad(f"only-{tenant}", f"Another {word}", campaign_id=f"c-{tenant}")]
            assert call(classify, "PUT", "/v1/ads", {"ads": ads}, authorizer=who).status == 200
            classify.lambda_handler({"action": "publish", "tenant": tenant}, None)
            for person in ("ann", f"{tenant}-person", *(f"{tenant}-{n}" for n in range(3))):
                rows = [event(person, "common"), event(person, f"item-{tenant}", text=f"a {word}")]
                answer = call(profile, "POST", "/v1/events", {"events": rows}, authorizer=who)
                assert answer.body["accepted"] == 2, answer.body
                read = call(profile, "GET", f"/v1/users/{person}/profile", authorizer=who)
                assert read.status == 200 and read.body["interests"]
        them = jwt(THEIRS)
        decided = call(recommend, "POST", "/v1/recommendations", {"user_id": "globex-person"}, authorizer=them)
        assert decided.status == 200 and SECRET in json.dumps(decided.body)
        job = call(generate, "POST", "/v1/copy", {"ad_id": "only-globex", "async": True}, authorizer=them)
        assert job.status == 202, job.body
        links = {"link": [{"id": "globex-linked", "platform": "wechat"}]}
        assert call(profile, "PUT", "/v1/users/globex-person/identities", links, authorizer=them).status == 200
        stores = self.system.stores
        stores.runs.begin(Run(THEIRS, "ab" * 12, "upload", f"events/{THEIRS}/big.jsonl", "f", 1.0, 1.0))
        for name in ("artifacts/globex/heads/secret/latest", "labels/globex/secret.jsonl", "events/globex/big.jsonl"):
            stores.objects.put(name, SECRET.encode())
        self.theirs = {
            "ad": "only-globex",
            "person": "globex-person",
            "decision": decided.body["decision_id"],
            "job": job.body["job_id"],
            "head": "secret",
            "run": "ab" * 12,
            "segment": "adproduct:1118",
            "erasure": self._erasure(),
            "campaign": "c-globex",
            "upload": "big.jsonl",
        }
        # The same id in both tenants is two people.
        assert stores.people.uid(OURS, "ann") != stores.people.uid(THEIRS, "ann")

    def _erasure(self) -> str:
        erase = call(profile, "DELETE", "/v1/users/globex-0", authorizer=jwt(THEIRS))
        assert erase.status == 202, erase.body
        found = re.search(r"[0-9a-f]{24}", json.dumps(erase.body))
        assert found is not None
        assert call(profile, "GET", f"/v1/erasures/{found.group()}", authorizer=jwt(THEIRS)).status == 200
        return found.group()

    def kept(self) -> dict[str, str]:
        """Every row and object that is theirs."""
        found = {}
        arguments: dict[str, Any] = {"TableName": self.aws.table}
        while True:
            page = self.aws.dynamodb.scan(**arguments)
            for row in page["Items"]:
                if row["pk"]["S"].startswith(f"t/{THEIRS}/"):
                    found[f"{row['pk']['S']} {row['sk']['S']}"] = repr(sorted(row.items()))
            if "LastEvaluatedKey" not in page:
                break
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        for key in self.system.stores.objects.keys(""):
            if key.split("/")[1:2] == [THEIRS]:
                found[key] = self.system.stores.objects.get(key).hex()
        return found
