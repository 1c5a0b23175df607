"""AWS fails, under every route: a clear 503 within bounds where it fails for good, the right answer where it does not.

The real boto3 clients, as `wiring` makes them, talk to the emulator through a proxy that fails as AWS does.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError
from botocore.loaders import create_loader
from botocore.retries.standard import ExponentialBackoff
from fastapi.testclient import TestClient

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from infra.local import resources
from shared.errors import Unavailable
from shared.openrtb.notices import Notice, address
from shared.stores.faults import patience
from shared.stores.table import Table
from shared.wiring import System, system
from tests.contract.conftest import emulator
from tests.fakes.faulty import (
    Act,
    FaultyAws,
    answer_lost,
    broken_off,
    cancelled,
    error,
    faulty_aws,
    half_done,
    silent,
    slow,
    throttled,
)
from tests.fakes.models import TopicClassifier, TopicEncoder

__all__ = ["emulator"]  # a fixture of the stores' contract

APPS = {"profile": profile.app, "classify": classify.app, "generate": generate.app, "recommend": recommend.app}
ATTEMPTS = 4  # botocore's, at one call
NOW = "2026-11-20T10:00:00Z"
AD = {
    "ad_id": "p1",
    "title": "A phone for the road",
    "landing_url": "https://example.com/p1",
    "language": "en",
    "domain": "ecommerce",
    "bid_cpm": 10,
    "daily_budget": 100,
    "frequency_cap": {"count": 50, "hours": 1},
}


@pytest.fixture(scope="module")
def aws(emulator: str) -> Iterator[FaultyAws]:
    with faulty_aws(emulator) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def made(aws: FaultyAws) -> resources.Resources:
    return resources.create(aws.url, f"faults-{secrets.token_hex(5)}")


@pytest.fixture(scope="module")
def descriptions() -> Any:
    """Of AWS's services, read once: they take longer to read than most tests last."""
    return create_loader()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long between attempts; how many there are stays."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    monkeypatch.setattr("random.uniform", lambda *_: 0.001)


@dataclass
class Deployment:
    """A tenant of a test's own, behind the proxy, and the process's system."""

    aws: FaultyAws
    tenant: str
    environment: dict[str, str]
    descriptions: Any

    def start(self) -> System:
        """A system that has just started: nothing is held, and its clients have all their repeats left."""
        system.cache_clear()
        built = system()
        built.__dict__["descriptions"] = self.descriptions
        classifier = TopicClassifier()
        built.__dict__["encoder"] = TopicEncoder()
        built.__dict__["classifiers"] = {"adproduct": classifier, "content": classifier}
        built.__dict__["versions"] = {"encoder": "topics"}
        return built

    def seed(self) -> dict[str, str]:
        """An ad that is published, a person who looked at it, a decision and a job: what paths and bodies need."""
        assert call("classify", "PUT", "/v1/ads", {"ads": [AD]}).status_code == 200
        system().classifying.publish(self.tenant)
        call("profile", "POST", "/v1/events", {"events": [event("seed")]})
        shown = call("recommend", "POST", "/v1/recommendations", {"user_id": "ann"}).json()
        (bid,) = call("recommend", "POST", "/openrtb2/auction", AUCTION).json()["seatbid"][0]["bid"]
        job = call("generate", "POST", "/v1/copy", {"ad_id": "p1", "async": True}).json()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        erased = call("profile", "DELETE", "/v1/users/gone").json()
        return {
            "decision": shown["decision_id"],
            "job": job["job_id"],
            "erasure": erased["erasure_id"],
            "now": now,
            **{name: bid[name].partition("?")[2] for name in ("nurl", "burl", "lurl")},
            **{
                kind: address(system().stores.people, "", Notice(kind, self.tenant, bid["id"], "p1")).partition("?")[2]
                for kind in ("click", "visit")
            },
        }


@pytest.fixture
def deployment(
    aws: FaultyAws,
    made: resources.Resources,
    descriptions: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> Iterator[Deployment]:
    aws.heal()
    tenant = f"t{secrets.token_hex(4)}"
    environment = made.environment() | {
        "STAGE": "local",
        "TENANT": tenant,
        "CONSENT_BASIS": "asserted",
        "EXPLORATION": "0",
        "ROTATION": "0",
        "K_FLOOR": "2",
        "PSEUDONYM_KEY_FILE": str(tmp_path / "key"),
        "LLM_URL": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    built = Deployment(aws, tenant, environment, descriptions)
    built.start()
    yield built
    aws.heal()
    system.cache_clear()


@pytest.fixture
def logs() -> Iterator[list[str]]:
    """What is logged, with tracebacks."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    logging.getLogger("adtailor").addHandler(handler)
    yield lines
    logging.getLogger("adtailor").removeHandler(handler)


def call(function: str, method: str, path: str, body: Any = None) -> Any:
    with TestClient(APPS[function], raise_server_exceptions=False) as client:
        return client.request(method, path, json=body)


def event(event_id: str, user_id: str = "ann") -> dict[str, Any]:
    return {"user_id": user_id, "event": "view", "timestamp": NOW, "text": "a phone", "event_id": event_id}


@dataclass(frozen=True)
class Route:
    """One way to ask: which services it needs, and how (`{decision}` and `{job}` are what was seeded)."""

    function: str
    method: str
    path: str
    needs: frozenset[str]
    body: Any = None
    template: str = ""

    def ask(self, seeded: dict[str, str]) -> Any:
        filled = json.dumps(self.body)
        path = self.path
        for name, value in seeded.items():
            filled, path = filled.replace(f"<{name}>", value), path.replace(f"<{name}>", value)
        return call(self.function, self.method, path, json.loads(filled))


TABLE, TABLE_AND_QUEUE = frozenset({"dynamodb"}), frozenset({"dynamodb", "sqs"})
AUCTION = {"id": "1", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}]}
FEEDBACK = {"decision_id": "<decision>", "ad_id": "p1", "type": "impression"}
ROUTES = [
    Route("profile", "POST", "/v1/events", TABLE, {"events": [event("e1"), event("e2", "bob")]}),
    Route("profile", "GET", "/v1/users/ann/profile", TABLE, template="/v1/users/{user_id}/profile"),
    Route(
        "profile",
        "PATCH",
        "/v1/users/ann/interests",
        TABLE,
        {"disable": ["adproduct:1"]},
        "/v1/users/{user_id}/interests",
    ),
    Route(
        "profile",
        "PUT",
        "/v1/users/ann/consent",
        TABLE,
        {"personalisation": True, "source": "banner", "at": NOW},
        "/v1/users/{user_id}/consent",
    ),
    Route(
        "profile",
        "PUT",
        "/v1/users/ann/identities",
        TABLE,
        {"link": [{"platform": "wechat", "id": "<fresh>"}]},
        "/v1/users/{user_id}/identities",
    ),
    Route("profile", "DELETE", "/v1/users/<fresh>", TABLE_AND_QUEUE, template="/v1/users/{user_id}"),
    Route(
        "profile",
        "GET",
        "/v1/users/ann/export",
        frozenset({"dynamodb", "s3"}),
        template="/v1/users/{user_id}/export",
    ),
    Route("profile", "GET", "/v1/erasures/<erasure>", TABLE, template="/v1/erasures/{erasure_id}"),
    Route("profile", "POST", "/v1/uploads", frozenset(), {"kind": "events", "name": "a.csv"}),
    Route(
        "profile",
        "GET",
        "/v1/uploads/events/a.csv",
        frozenset({"dynamodb", "s3"}),
        template="/v1/uploads/{kind}/{name}",
    ),
    Route(
        "recommend",
        "GET",
        "/v1/users/ann/ahead",
        frozenset({"dynamodb", "s3"}),
        template="/v1/users/{user_id}/ahead",
    ),
    Route("recommend", "GET", "/v1/campaigns", TABLE),
    Route("recommend", "GET", "/v1/ads/p1/variants", TABLE, template="/v1/ads/{ad_id}/variants"),
    Route("classify", "GET", "/v1/ads", TABLE),
    Route("classify", "POST", "/v1/classify", frozenset(), {"texts": ["a phone"]}),
    Route("classify", "POST", "/v1/classify", frozenset({"s3"}), {"texts": ["a phone"], "head": "mine"}),
    Route("classify", "PUT", "/v1/ads", TABLE_AND_QUEUE, {"ads": [AD | {"ad_id": "<fresh>"}]}),
    Route("classify", "GET", "/v1/ads/p1", TABLE, template="/v1/ads/{ad_id}"),
    Route("classify", "GET", "/v1/heads", frozenset({"dynamodb", "s3"})),
    Route("classify", "GET", "/v1/heads/mine", frozenset({"dynamodb", "s3"}), template="/v1/heads/{name}"),
    Route("classify", "GET", "/v1/ranker", frozenset({"dynamodb", "s3"})),
    Route("generate", "POST", "/v1/copy", TABLE, {"ad_id": "p1"}),
    Route("generate", "POST", "/v1/copy", TABLE, {"ad_id": "p1", "user_id": "ann"}),
    Route("generate", "POST", "/v1/copy", TABLE_AND_QUEUE, {"ad_id": "p1", "async": True}),
    Route("generate", "POST", "/v1/copy", TABLE_AND_QUEUE, {"filter": {"domain": "ecommerce"}}),
    Route(
        "generate",
        "POST",
        "/v1/copy/reviews",
        TABLE,
        {"reviews": [{"ad_id": "p1", "text": "A phone for the road", "state": "approved"}]},
    ),
    Route("generate", "GET", "/v1/copy/<job>", TABLE, template="/v1/copy/{job_id}"),
    Route("recommend", "POST", "/v1/recommendations", frozenset({"dynamodb", "s3"}), {"user_id": "ann"}),
    Route("recommend", "POST", "/v1/feedback", TABLE, {"feedback": [FEEDBACK | {"timestamp": "<now>"}]}),
    Route("recommend", "POST", "/openrtb2/auction", frozenset({"dynamodb", "s3"}), AUCTION),
    Route("recommend", "GET", "/openrtb2/win?<nurl>", frozenset(), template="/openrtb2/win"),
    Route("recommend", "GET", "/openrtb2/billing?<burl>", TABLE, template="/openrtb2/billing"),
    Route("recommend", "GET", "/openrtb2/loss?<lurl>", TABLE, template="/openrtb2/loss"),
    Route("recommend", "GET", "/openrtb2/click?<click>", TABLE, template="/openrtb2/click"),
    Route("recommend", "GET", "/openrtb2/visit?<visit>", TABLE, template="/openrtb2/visit"),
    Route("recommend", "POST", "/openrtb2/win?<nurl>", frozenset(), template="/openrtb2/win"),
    Route("recommend", "POST", "/openrtb2/billing?<burl>", TABLE, template="/openrtb2/billing"),
    Route("recommend", "POST", "/openrtb2/loss?<lurl>", TABLE, template="/openrtb2/loss"),
    Route("recommend", "POST", "/openrtb2/click?<click>", TABLE, template="/openrtb2/click"),
    Route("recommend", "GET", "/healthz", TABLE),
]


def test_every_route_is_among_those_that_are_tried() -> None:
    served = {
        (function, method.upper(), path)
        for function, app in APPS.items()
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert served <= {(route.function, route.method, route.template or route.path) for route in ROUTES}


FOR_GOOD: dict[str, tuple[str, Act]] = {
    "dynamodb-throttling": ("dynamodb", throttled()),
    "dynamodb-500": ("dynamodb", error(500, "InternalServerError")),
    "dynamodb-reset": ("dynamodb", broken_off),
    "s3-slow-down": ("s3", throttled()),
    "s3-reset": ("s3", broken_off),
    "sqs-503": ("sqs", throttled()),
}


def is_a_clear_503(answer: Any) -> bool:
    document = answer.json()
    return (
        answer.status_code == document["status"] == 503
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) >= 1
        and bool(document["detail"])
    )


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", FOR_GOOD)
def test_a_service_that_fails_for_good_is_a_503_after_few_calls(deployment: Deployment, fault: str) -> None:
    seeded = deployment.seed()
    service, act = FOR_GOOD[fault]
    for place, route in enumerate(ROUTES):
        deployment.aws.heal()
        if service in route.needs:
            deployment.start()
        deployment.aws.fail(service, act)
        answer = route.ask(seeded | {"fresh": f"{fault}-{place}"})
        what = (fault, route.method, route.path, route.body, answer.text[:300])
        if service in route.needs:
            assert is_a_clear_503(answer), what
            # One call that fails may be followed by a second that says so, as that of a job that was not queued.
            assert 1 <= deployment.aws.tried(service) <= 2 * ATTEMPTS, (what, deployment.aws.calls)
        else:
            assert answer.status_code in (200, 201, 202, 204, 404), what


IN_PART: dict[str, tuple[str, Act]] = {
    "transaction-throttled": ("TransactWriteItems", cancelled("ThrottlingError")),
    "transaction-in-part": ("TransactWriteItems", cancelled("None", "ProvisionedThroughputExceeded")),
    "keys-unprocessed": ("BatchGetItem", half_done),
    "items-unprocessed": ("BatchWriteItem", half_done),
    "conflict": ("PutItem", error(400, "TransactionConflictException")),
    "throughput": ("GetItem", error(400, "ProvisionedThroughputExceededException")),
    "limit": ("Query", error(400, "RequestLimitExceeded")),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", IN_PART)
def test_an_operation_that_is_throttled_for_good_is_a_503(deployment: Deployment, fault: str) -> None:
    seeded = deployment.seed()
    operation, act = IN_PART[fault]
    failed = 0
    for place, route in enumerate(ROUTES):
        deployment.aws.heal()
        deployment.aws.fail("dynamodb", act, operation)
        answer = route.ask(seeded | {"fresh": f"{fault}-{place}"})
        if answer.status_code == 503:
            assert is_a_clear_503(answer)
            assert deployment.aws.calls["dynamodb", operation] <= 12
            failed += 1
        else:
            assert answer.status_code in (200, 201, 202, 204, 404), (route, answer.text[:300])
    assert failed


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_what_no_repeat_can_mend_is_a_500_and_logged(deployment: Deployment, logs: list[str], code: str) -> None:
    deployment.aws.fail("dynamodb", error(400, code))
    answer = call("profile", "GET", "/v1/users/ann/profile")
    assert answer.status_code == answer.json()["status"] == 500
    assert "retry-after" not in answer.headers
    assert deployment.aws.tried("dynamodb") == 1  # nothing is repeated in vain
    assert any(code in line for line in logs)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "act",
    [throttled(), error(500, "InternalServerError"), broken_off, answer_lost],
    ids=["throttled", "500", "reset", "answer-lost"],
)
def test_failures_that_end_in_time_leave_no_trace(deployment: Deployment, act: Act) -> None:
    """Every third call fails once or twice, whatever it is; also after it was done."""

    def disturb() -> None:
        deployment.aws.heal()
        for operation in ("TransactWriteItems", "PutItem", "UpdateItem", "BatchGetItem", "GetItem", "Query"):
            deployment.aws.fail("dynamodb", act, operation, times=2)
        deployment.aws.fail("s3", act, times=2)
        deployment.aws.fail("sqs", act, times=2)

    disturb()
    assert call("classify", "PUT", "/v1/ads", {"ads": [AD]}).status_code == 200
    disturb()
    system().classifying.publish(deployment.tenant)
    disturb()
    report = call("profile", "POST", "/v1/events", {"events": [event(f"e{n}") for n in range(5)]}).json()
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (5, 0, [])
    disturb()
    assert call("profile", "GET", "/v1/users/ann/profile").json()["events"] == 5
    if (
        system().stores.catalogue.pointer(deployment.tenant) is None
    ):  # the lease's answer was lost: it holds until it is over
        deployment.aws.heal()
        built = system()
        built.clock = lambda: time.time() + 121
        del built.__dict__["classifying"]
        built.classifying.publish(deployment.tenant)
    disturb()
    shown = call("recommend", "POST", "/v1/recommendations", {"user_id": "ann"}).json()
    assert [ad["ad_id"] for ad in shown["ads"]] == ["p1"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    acts = [
        FEEDBACK | {"decision_id": shown["decision_id"], "timestamp": now, "type": t} for t in ("impression", "click")
    ]
    disturb()
    results = call("recommend", "POST", "/v1/feedback", {"feedback": acts}).json()["results"]
    assert [one["result"] for one in results] == ["counted", "counted"]
    deployment.aws.heal()
    stores = system().stores
    uid = stores.people.uid(deployment.tenant, "ann") or ""
    assert stores.delivery.stats(deployment.tenant)["p1"] == {
        "impressions": 1,
        "clicks": 1,
        "conversions": 0,
        "dismissals": 0,
    }
    assert len(stores.delivery.impressions(deployment.tenant, uid)["p1"]) == 1
    assert stores.delivery.spent(deployment.tenant, ["p1"], time.time()) == {"p1": pytest.approx(0.01)}
    assert stores.people.load(deployment.tenant, uid, "ann").head == 6  # five views and the click
    assert stores.catalogue.head(deployment.tenant) == 1


@pytest.mark.usefixtures("hasty")
def test_a_request_that_failed_after_it_was_done_can_be_sent_again(deployment: Deployment) -> None:
    deployment.aws.fail("dynamodb", answer_lost, "TransactWriteItems", skip=1, times=ATTEMPTS)
    body = {"events": [event(f"e{n}") for n in range(5)]}
    assert is_a_clear_503(call("profile", "POST", "/v1/events", body))
    again = call("profile", "POST", "/v1/events", body).json()
    assert again["accepted"] + again["duplicates"] == 5
    assert call("profile", "GET", "/v1/users/ann/profile").json()["events"] == 5


@pytest.mark.usefixtures("hasty")
def test_a_batch_that_is_done_in_parts_ends_whole(deployment: Deployment) -> None:
    table = system().stores.table
    deployment.aws.fail("dynamodb", half_done, times=4)
    table.put_many({"pk": "x", "sk": str(n), "n": n} for n in range(40))
    deployment.aws.heal()
    assert len(list(table.query("x"))) == 40
    deployment.aws.fail("dynamodb", half_done, times=3)
    assert len(table.get_many([("x", str(n)) for n in range(40)])) == 40


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("reason", ["ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict"])
def test_a_transaction_that_is_cancelled_for_a_moment_is_made_again(deployment: Deployment, reason: str) -> None:
    deployment.aws.fail("dynamodb", cancelled("None", reason), times=3)
    report = call("profile", "POST", "/v1/events", {"events": [event("e1")]})
    assert (report.status_code, report.json().get("accepted")) == (200, 1)


def test_a_queue_that_nobody_has_made_is_a_503_with_a_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.seed()
    monkeypatch.setenv("COPY_QUEUE_URL", "")
    deployment.start()
    assert is_a_clear_503(call("generate", "POST", "/v1/copy", {"ad_id": "p1", "async": True}))


@pytest.mark.usefixtures("hasty")
def test_failures_by_chance_do_not_change_a_count(deployment: Deployment) -> None:
    deployment.aws.fail("dynamodb", throttled(), probability=0.15)
    deployment.aws.fail("dynamodb", answer_lost, probability=0.1)
    accepted = 0
    for start in range(0, 60, 10):
        report = call("profile", "POST", "/v1/events", {"events": [event(f"e{n}") for n in range(start, start + 10)]})
        accepted += report.json()["accepted"]
    deployment.aws.heal()
    assert accepted == call("profile", "GET", "/v1/users/ann/profile").json()["events"] == 60


# Time ---------------------------------------------------------------------------------------------------------------


def test_a_service_that_says_nothing_is_given_up_when_the_time_is_over(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.stores.table.CALL_SECONDS", 0.8)
    for act in (silent, slow(30)):
        deployment.aws.heal()
        deployment.aws.fail("dynamodb", act)
        began = time.monotonic()
        assert is_a_clear_503(call("profile", "GET", "/v1/users/ann/profile"))
        assert time.monotonic() - began < 2.5
        assert deployment.aws.tried("dynamodb") <= ATTEMPTS


def test_nothing_is_begun_beyond_the_time_of_the_request(deployment: Deployment) -> None:
    table = system().stores.table
    deployment.aws.fail("dynamodb", silent)
    began = time.monotonic()
    with patience(0.6):
        with pytest.raises(Unavailable):
            table.get("a", "b")
        tried = deployment.aws.tried("dynamodb")
        for _ in range(20):  # a use case that goes on all the same
            with pytest.raises(Unavailable):
                table.get("a", "b")
    assert time.monotonic() - began < 2
    assert deployment.aws.tried("dynamodb") == tried


def test_repeats_of_all_loops_come_out_of_one_budget(deployment: Deployment, hasty: None) -> None:
    table = system().stores.table
    deployment.aws.fail("dynamodb", error(400, "TransactionConflictException"), "UpdateItem")
    with patience(20, repeats=7) as held:
        for _ in range(5):
            with pytest.raises(Unavailable):
                table.update(("a", "b"), "SET x = :x", {":x": 1})
        assert held.repeats == 0
    assert deployment.aws.tried("dynamodb") == 7 + 5  # every call has its first attempt


def test_a_table_that_is_not_there_is_no_503(deployment: Deployment) -> None:
    missing = Table(system().stores.table.client, "no-such-table")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        missing.get("a", "b")


# Through HTTP -------------------------------------------------------------------------------------------------------


def test_a_server_answers_503_and_recovers(deployment: Deployment) -> None:
    """The real server in a process of its own, with botocore's own waits."""
    import os
    import subprocess
    import sys

    from infra.local.processes import free_port
    from tests.data import ROOT

    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "functions.profile.handler:app", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--log-level", "warning", "--lifespan", "off"],
        cwd=ROOT,
        env=os.environ | deployment.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
                deadline = time.monotonic() + 30
                while True:
                    try:
                        assert http.get("/v1/users/nobody/profile").status_code == 404
                        break
                    except httpx2.TransportError:
                        assert time.monotonic() < deadline and server.poll() is None
                        time.sleep(0.1)
                deployment.aws.fail("dynamodb", error(500, "InternalServerError"))
                assert is_a_clear_503(http.get("/v1/users/nobody/profile"))
                deployment.aws.heal()
                assert http.get("/v1/users/nobody/profile").status_code == 404
        finally:
            server.terminate()
