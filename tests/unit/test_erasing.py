"""Erasure through the API: the receipt, who may see it, and what is kept for second copies of requests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.classify import handler as classify
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.errors import Unavailable
from shared.profiling import ERASED
from shared.stores.queues import Queues
from shared.tenants import Tenants
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.data import ROOT
from tests.fakes.delivery import receive, sqs_event
from tests.fakes.traces import table_rows, traces
from tests.unit.test_api import AD, AT, event, post

pytestmark = pytest.mark.slow

ASK = {"user_id": "ann", "n": 2}


@pytest.fixture(autouse=True)
def _at_once(built: System) -> None:
    """Every step is due at once."""
    built.erasing._delay = 0.0


@pytest.fixture
def catalogue(built: System) -> None:
    assert post(classify.app, "/v1/ads", {"ads": [AD, AD | {"ad_id": "p2"}]}, "PUT").status_code == 200
    built.classifying.publish(TENANT)


def send(app: Any, method: str, path: str, body: Any = None, **headers: str) -> Any:
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.request(method, path, json=body, headers={n.replace("_", "-"): v for n, v in headers.items()})


def go_on(aws: Aws, rounds: int = 6) -> None:
    """Delivers what waits in the queue, as Lambda does."""
    for _ in range(rounds):
        for message in receive(aws.sqs, aws.event_queue_url):
            assert profile.lambda_handler(sqs_event(message), None) == {"batchItemFailures": []}


def known(person: str = "ann") -> int:
    return int(send(profile.app, "GET", f"/v1/users/{person}/profile").status_code)


def test_the_receipt_says_what_went_and_ends_verified(built: System, aws: Aws) -> None:
    post(profile.app, "/v1/events", {"events": [event(), event(user_id="bob")]})
    assert (known(), known("bob")) == (200, 200)
    answer = send(profile.app, "DELETE", "/v1/users/ann")
    told = answer.json()
    assert (answer.status_code, known(), known("bob")) == (202, 404, 200)
    assert answer.headers["location"] == f"/v1/erasures/{told['erasure_id']}"
    assert (told["state"], told["verified_at"], told["second_scan"]) == ("running", None, None)
    assert told["left"] == ["table", "objects", "second_scan"] and told["removed"]["table"]["events"] == 1
    second = send(profile.app, "DELETE", "/v1/users/ann").json()
    assert second["erasure_id"] == told["erasure_id"] and second["requested_at"] > told["requested_at"]
    go_on(aws, 8)
    report = post(profile.app, "/v1/events", {"events": [event(), event(user_id="bob")]}).json()
    assert [(one["index"], one["field"], one["reason"]) for one in report["rejected"]] == [(0, "user_id", ERASED)]
    done = send(profile.app, "GET", answer.headers["location"]).json()
    assert (done["state"], done["left"], done["second_scan"]["found"]) == ("done", [], {})
    assert done["verified_at"] >= done["requested_at"] == second["requested_at"] and done["could_not_be_read"] == 0
    assert set(done["kept"]) == {"tombstone", "spend", "items", "copy", "unlinked", "models", "backups"}
    (row,) = [r for r in aws.dynamodb.scan(TableName=aws.table)["Items"] if r["pk"]["S"] == f"t/{TENANT}/erasures"]
    assert "uids" not in row and len(row["digests"]["L"]) == 1  # what is left of the person
    again = send(profile.app, "DELETE", "/v1/users/ann").json()
    assert again["erasure_id"] != told["erasure_id"] and again["removed"] == {"table": {}, "objects": {}}


def test_a_receipt_is_of_its_tenant_and_an_id_is_one(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    erasure_id = send(profile.app, "DELETE", "/v1/users/ann").json()["erasure_id"]
    assert re.fullmatch("[0-9a-f]{24}", erasure_id)
    assert send(profile.app, "GET", f"/v1/erasures/{'0' * 24}").status_code == 404
    assert send(profile.app, "GET", "/v1/erasures/nothing").status_code == 422
    assert send(profile.app, "GET", f"/v1/erasures/{erasure_id}").status_code == 200
    built.__dict__["settings"] = type(built.settings)(tenant="other")
    assert send(profile.app, "GET", f"/v1/erasures/{erasure_id}").status_code == 404


def test_where_the_queue_is_down_nothing_begins(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("the events queue cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(Queues, "send", down)
        assert send(profile.app, "DELETE", "/v1/users/ann").status_code == 503
    assert known() == 200
    assert send(profile.app, "DELETE", "/v1/users/ann").status_code == 202


def test_the_events_of_both_ways_in_are_served(built: System, aws: Aws) -> None:
    asked = json.loads((ROOT / "tests" / "events" / "profile_erase_api.json").read_text())
    answer = profile.lambda_handler(asked, None)
    assert answer["statusCode"] == 202 and json.loads(answer["body"])["state"] == "running"
    message = json.loads((ROOT / "tests" / "events" / "profile_erase_sqs.json").read_text())
    assert profile.lambda_handler(message, None) == {"batchItemFailures": []}  # one that never began


def test_a_withdrawal_of_required_consent_erases_by_itself(built: System, aws: Aws) -> None:
    built.__dict__["tenants"] = Tenants.parse("", basis="required")
    said = {"personalisation": True, "source": "banner", "at": AT}
    assert send(profile.app, "PUT", "/v1/users/ann/consent", said).status_code == 200
    assert (
        post(profile.app, "/v1/events", {"events": [event(), event(timestamp=built.clock())]}).json()["accepted"] == 2
    )
    refusal = said | {"personalisation": False, "at": built.clock()}
    assert send(profile.app, "PUT", "/v1/users/ann/consent", refusal).status_code == 200
    left = {row["sk"]["S"][:2] for row in table_rows(aws.dynamodb, aws.table) if "/p/" in row["pk"]["S"]}
    assert "e/" not in left and "c/" in left
    go_on(aws)
    rows = [row for row in table_rows(aws.dynamodb, aws.table) if row["pk"]["S"] == f"t/{TENANT}/erasures"]
    assert [(row["kind"]["S"], row["step"]["S"]) for row in rows] == [("withdrawal", "done")]
    assert not traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, ["a phone"])


# Second copies of requests ------------------------------------------------------------------------------------------


def idempotent(aws: Aws) -> list[str]:
    return [r["sk"]["S"] for r in aws.dynamodb.scan(TableName=aws.table)["Items"] if r["pk"]["S"].startswith("idem/")]


@pytest.mark.usefixtures("catalogue")
def test_an_answer_for_a_person_lies_with_the_person_and_goes_with_them(built: System, aws: Aws) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    first = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    second = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    decision = first.json()["decision_id"]
    assert second.json() == first.json() and second.headers["idempotency-replayed"] == "true"
    places = {place for place, _ in traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, [decision])}
    assert "t/p:a/" in places and not any(place.startswith("idem") for place in places)
    receipt = send(profile.app, "DELETE", "/v1/users/ann").json()
    assert receipt["removed"]["table"]["answers"] == 1
    third = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    assert third.status_code == 200 and third.json()["decision_id"] != decision
    assert "idempotency-replayed" not in third.headers and third.json()["personalised"] is False
    go_on(aws)
    assert not traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, [decision])


@pytest.mark.usefixtures("catalogue")
def test_an_answer_for_nobody_known_is_kept_as_any_other(built: System, aws: Aws) -> None:
    first = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    second = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"
    assert len(idempotent(aws)) == 1
    assert not traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, ["ann"])


@pytest.mark.usefixtures("catalogue")
def test_of_a_request_for_a_minor_nothing_is_kept_whatever_key_it_came_with(built: System, aws: Aws) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    people = [row["sk"]["S"] for row in table_rows(aws.dynamodb, aws.table) if "/p/" in row["pk"]["S"]]
    answers = [
        send(recommend.app, "POST", "/v1/recommendations", ASK | {"minor": True}, idempotency_key="k") for _ in range(2)
    ]
    assert [(one.status_code, one.headers.get("idempotency-replayed")) for one in answers] == [(200, None)] * 2
    assert [row["sk"]["S"] for row in table_rows(aws.dynamodb, aws.table) if "/p/" in row["pk"]["S"]] == people
    assert idempotent(aws) == []


@pytest.mark.usefixtures("catalogue")
def test_the_second_copy_of_a_request_is_answered_anew_once_the_person_has_refused(built: System, aws: Aws) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    first = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    assert first.json()["personalised"]
    refusal = {"personalisation": False, "source": "banner", "at": built.clock()}
    assert send(profile.app, "PUT", "/v1/users/ann/consent", refusal).status_code == 200
    second = send(recommend.app, "POST", "/v1/recommendations", ASK, idempotency_key="k")
    assert (second.status_code, second.json()["personalised"]) == (200, False)
    assert "idempotency-replayed" not in second.headers


@pytest.mark.usefixtures("catalogue")
def test_what_names_decisions_or_quotes_from_events_is_not_kept(built: System, aws: Aws) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    decision = send(recommend.app, "POST", "/v1/recommendations", ASK).json()
    told = {"decision_id": decision["decision_id"], "ad_id": decision["ads"][0]["ad_id"], "type": "impression"}
    body = {"feedback": [told | {"timestamp": built.clock()}]}
    results = [send(recommend.app, "POST", "/v1/feedback", body, idempotency_key="k").json() for _ in range(2)]
    assert [one["results"][0]["result"] for one in results] == ["counted", "repeated"]
    wrong = {"events": [event(event="quixotically")]}
    for _ in range(2):
        answer = send(profile.app, "POST", "/v1/events", wrong, idempotency_key="k")
        assert "quixotically" in answer.text and "idempotency-replayed" not in answer.headers
    assert idempotent(aws) == []
    assert not traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, ["quixotically"])
