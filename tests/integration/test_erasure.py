"""Fifty people among two hundred others leave traces of every kind, by every way in, and are erased; then a scan that
knows nothing of the stores reads the whole table and every object."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from infra.local import resources
from shared.settings import Settings
from shared.stores import Stores
from shared.wiring import System
from tests.conftest import REGION, TENANT, Aws, make_resources, stores_on
from tests.contract.conftest import emulator
from tests.contract.test_erasing import marks, of_others, stats
from tests.fakes.models import TopicClassifier, TopicEncoder
from tests.fakes.planted import Person, World
from tests.fakes.system import Clock
from tests.fakes.traces import bucket_objects, kept_holders, recounted_holders, table_rows, traces
from tests.integration.conftest import LocalSystem

__all__ = ["emulator"]  # a fixture of the stores' contract
pytestmark = [pytest.mark.slow, pytest.mark.emulator]

PLANTED, OTHERS = 50, 200
HANDLERS = (profile, classify, generate, recommend)
FILES = ("morning.jsonl", "noon.jsonl.gz", "evening.csv", "night.csv.gz")


@pytest.fixture
def aws(emulator: str) -> Aws:
    session = boto3.Session("testing", "testing", region_name=REGION)
    dynamodb, s3, sqs = (session.client(name, endpoint_url=emulator) for name in ("dynamodb", "s3", "sqs"))
    return make_resources(dynamodb, s3, sqs, f"erasure-{time.time_ns()}")


@pytest.fixture
def built(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> System:
    """The whole system behind its handlers, with models that a test can foresee and a clock that it moves."""
    stores: Stores = stores_on(aws)
    settings = Settings(
        tenant=TENANT,
        table_name=aws.table,
        bucket_name=aws.bucket,
        consent_basis="asserted",
        k_floor=2,
        exploration=0.0,
        rotation=0.0,
    )
    made = System(settings, stores, Clock(float(int(time.time()))))
    classifier = TopicClassifier()
    made.__dict__ |= {
        "encoder": TopicEncoder(),
        "classifiers": {"adproduct": classifier, "content": classifier},
        "versions": {"encoder": "topics"},
    }
    for handler in HANDLERS:
        monkeypatch.setattr(handler, "system", lambda: made)
        monkeypatch.setitem(handler.app.state._state, "system", lambda: made)  # as an attribute it would not come back
    return made


def ask(handler: Any, method: str, path: str, body: Any = None, key: str = "") -> Any:
    with TestClient(handler.app, raise_server_exceptions=False) as client:
        answer = client.request(method, path, json=body, headers={"idempotency-key": key} if key else {})
    assert answer.status_code < 300, (path, answer.text)
    return answer


def by_the_api(person: Person) -> None:
    """What goes through the front doors alone: answers that are kept for second copies, copy, an export."""
    web = person.ids[0]
    shown = ask(recommend, "POST", "/v1/recommendations", {"user_id": web, "n": 2}, key=f"{person.name}-key").json()
    person.decisions.append(shown["decision_id"])
    ask(generate, "POST", "/v1/copy", {"ad_id": "phone-0", "user_id": web}, key=f"{person.name}-key")
    ask(generate, "POST", "/v1/copy", {"ad_id": "phone-1", "user_id": web, "async": True}, key=f"{person.name}-async")
    ask(profile, "PATCH", f"/v1/users/{web}/interests", {"disable": ["content:239"]}, key=f"{person.name}-key")
    assert person.name in ask(profile, "GET", f"/v1/users/{web}/export").text


def test_fifty_among_two_hundred(built: System, aws: Aws) -> None:
    began = time.monotonic()
    world = World(built)
    planted = [Person(f"planted{n}x", n) for n in range(PLANTED)]
    others = [Person(f"other{n}x", n) for n in range(OTHERS)]
    for person in planted:
        world.live(person, decisions=2 if person.number % 5 else 0, linked=person.number % 3 > 0)
    for person in others:
        world.live(person, decisions=int(person.number % 4 == 0), linked=person.number % 3 > 0)
    for person in planted:
        by_the_api(person)
    mixed = [person for pair in zip(planted, others, strict=False) for person in pair]
    for place, name in enumerate(FILES):
        world.upload(mixed[place::2], name)
    world.export_log()
    seconds_planting = time.monotonic() - began

    def scan(people: list[Person]) -> Counter[tuple[str, str]]:
        needles = {needle for person in people for needle in person.needles}
        return traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, needles)

    def left() -> dict[str, bytes]:
        return {key: body for key, (body, _) in bucket_objects(aws.s3, aws.bucket).items()}

    before = scan(planted)
    assert {name for _, name in before} >= {person.name for person in planted}
    places = {place for place, _ in before}
    assert places >= {"events", "logs", "t/p:e/", "t/p:c/", "t/p:a/", "t/d:" + planted[1].decisions[0][:2]}, places
    of_the_others, theirs = of_others(table_rows(aws.dynamodb, aws.table), others), scan(others)
    assert len(of_the_others) > 2000

    began = time.monotonic()
    begun = [ask(profile, "DELETE", f"/v1/users/{person.ids[0]}").json() for person in planted]
    begun += [ask(profile, "DELETE", f"/v1/users/{one.ids[1]}").json() for one in planted if one.number % 3 == 0]
    receipts = [world.finish(one["erasure_id"]) for one in begun]
    seconds = time.monotonic() - began

    assert {(one["state"], str(one["second_scan"]["found"])) for one in receipts} == {("done", "{}")}
    after = scan(planted)
    assert after == {}, after
    rows = table_rows(aws.dynamodb, aws.table)
    assert of_others(rows, others) == of_the_others
    changed = scan(others) - theirs | theirs - scan(others)
    assert changed == {}, changed
    assert kept_holders(rows, TENANT) == recounted_holders(rows, TENANT) != {}
    assert marks(rows) == stats(rows) != {}
    assert all(left().values())
    print(
        f"\n{PLANTED} of {PLANTED + OTHERS} people erased: {sum(before.values())} traces in {len(places)} places, then "
        f"{sum(after.values())}; {len(receipts)} erasures in {seconds:.0f} s, planting took {seconds_planting:.0f} s"
    )


def test_on_the_running_system_it_ends_verified(new_system: LocalSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """By HTTP, queues and notifications alone, with uploads before and after."""
    monkeypatch.setenv("ERASURE_DELAY_SECONDS", "2")
    system = new_system.start()
    now = time.time()
    rows = [
        {"user_id": user, "event": "view", "timestamp": now - n, "text": f"{user} looks at a phone {n}"}
        for user in ("planted-e2e", "other-e2e")
        for n in range(5)
    ]
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    assert system.upload(f"events/{TENANT}/e2e.jsonl", body)["accepted"] == 10
    assert system.http.get("/v1/users/planted-e2e/profile").json()["events"] == 5
    answer = system.http.delete("/v1/users/planted-e2e")
    assert (answer.status_code, answer.json()["removed"]["table"]["events"]) == (202, 5)
    assert system.http.get("/v1/users/planted-e2e/profile").status_code == 404
    deadline = time.monotonic() + 90
    while (told := system.http.get(answer.headers["location"]).json())["state"] != "done":
        assert time.monotonic() < deadline, told
        time.sleep(0.5)
    assert told["removed"]["objects"] == {"uploads": 5} and told["second_scan"]["found"] == {}
    report = system.upload(f"events/{TENANT}/again.jsonl", body)
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (0, 5, 5)
    assert system.http.get("/v1/users/planted-e2e/profile").status_code == 404
    clients = system.client("dynamodb"), resources.NAME, system.client("s3"), resources.NAME
    assert {place for place, _ in traces(*clients, ["planted-e2e"])} == {"events"}  # of the file that came since
