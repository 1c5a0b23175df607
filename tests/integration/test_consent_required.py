"""Where consent is required and absent, nothing is written about anybody, whichever route they come by.

What is written is recorded at botocore's own door, not by our stores: every call of every service that changes
something. It is searched, packed contents too, for the people's ids, their HMACs, their uids and what they wrote.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.client import BaseClient

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.entry import rfc3339
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.unit.conftest import built as built  # the process's system on an in-process AWS

READING = ("Get", "BatchGet", "Query", "Scan", "Head", "List", "Describe", "Receive")
MANY = (14, 4, 10, 12)  # silent; known from when consent was asserted, and silent; who refused; who withdrew
FEW = (5, 1, 3, 2)
ROUTES = ["events", "events", "events-once", "upload", "direct", "profile", "interests", "identities", "refusal"]
ROUTES += ["recommend", "recommend", "recommend-once", "feedback", "copy"]
WORDS = "phone quixotically engraved"
CONTEXT = SimpleNamespace(
    get_remaining_time_in_millis=lambda: 20_000, aws_request_id="r", function_name="f", memory_limit_in_mb=1
)


@dataclass
class Recorder:
    """Calls that change something, while `route` says what for."""

    route: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def take(self, operation: str, parameters: dict[str, Any]) -> None:
        if self.route and not operation.startswith(READING):
            body = parameters.get("Body")
            if body is not None and hasattr(body, "read"):
                place = body.tell()
                parameters = parameters | {"Body": body.read()}
                body.seek(place)
            self.calls.append((self.route, operation, parameters))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made, call = Recorder(), BaseClient._make_api_call

    def recorded(client: Any, operation: str, parameters: Any) -> Any:
        made.take(operation, parameters)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    return made


@pytest.fixture
def required(built: System) -> System:
    built.settings = replace(built.settings, consent_basis="required")
    return built


def api(handler: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    event = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "api", **headers},
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "stage": "$default",
        },
        "isBase64Encoded": False,
        "body": json.dumps(body) if body is not None else None,
    }
    answer = handler.lambda_handler(event, CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def texts(value: Any) -> Iterator[str]:
    """Every text in a call's parameters, those in packed and encoded ones too."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from texts(name)
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value
        if len(value) > 7:
            with contextlib.suppress(binascii.Error, ValueError):
                yield from texts(base64.b64decode(value, validate=True))
    elif isinstance(value, bytes | bytearray):
        yield value.decode("utf-8", "replace")
        with contextlib.suppress(zlib.error):
            yield from texts(zlib.decompress(value, wbits=47))  # zlib's and gzip's frames


def statement_only(operation: str, parameters: Any, own: set[str]) -> bool:
    """Whether the call keeps a statement on consent and what it needs, and nothing else: the pseudonym and its first
    row, the statement, what holds."""
    if operation == "UpdateItem":
        parts = [{"Update": parameters}]
    elif operation == "TransactWriteItems":
        parts = parameters["TransactItems"]
    else:
        return False
    for part in parts:
        ((kind, one),) = part.items()
        key = one.get("Item") or one["Key"]
        pk, sk = key["pk"]["S"], key["sk"]["S"]
        if kind == "ConditionCheck" or (kind == "Delete" and sk.startswith("c/")):
            continue
        mapping = kind == "Put" and pk.startswith(f"t/{TENANT}/id/") and set(one["Item"]) == {"pk", "sk", "uid"}
        first = kind == "Put" and sk == "meta" and set(one["Item"]) == {"pk", "sk", "id", "head"}
        told = {"personalisation", "sensitive", "purposes", "source", "at", "recorded_at"}
        statement = kind == "Put" and sk.startswith("c/") and set(one["Item"]) == told | {"pk", "sk"}
        values = set(one.get("ExpressionAttributeValues", ()))
        holds = kind == "Update" and sk == "meta" and values <= {":consent", ":said", ":before", ":changes"}
        if not (mapping or first or statement or holds):
            return False
        if sk == "meta" and pk.removeprefix(f"t/{TENANT}/p/") not in own | _uids(parts):
            return False
    return True


def _uids(parts: Any) -> set[str]:
    return {part["Put"]["Item"]["uid"]["S"] for part in parts if "uid" in part.get("Put", {}).get("Item", {})}


class World:
    """Requests of everything that a caller can ask for about a person."""

    def __init__(self, system: System, aws: Aws, recorder: Recorder, people: tuple[int, int, int, int] = FEW) -> None:
        self.system, self.aws, self.recorder = system, aws, recorder
        self.rng = random.Random(7)
        names = ("silent", "known", "refusing", "leaving")
        named = [[f"{kind}-person-{n:02}@mail" for n in range(many)] for kind, many in zip(names, people, strict=True)]
        self.silent, self.known, self.refused, self.withdrawn = named
        self.people = [person for some in named for person in some]
        self.decisions: list[tuple[str, list[str]]] = []
        self.uploads = 0
        self.statuses: Counter[tuple[str, int]] = Counter()

    def prepare(self) -> None:
        """A catalogue; people who had consented, were known and shown ads, and have withdrawn."""
        ads = [
            {
                "ad_id": f"ad-{n}",
                "title": f"A {topic} for the road",
                "landing_url": f"https://example.com/{n}",
                "language": "en",
                "domain": "ecommerce",
                "bid_cpm": 2.0,
                "daily_budget": 1000.0,
                "frequency_cap": {"count": 3, "hours": 1},
            }
            for n, topic in enumerate(["phone", "shoe", "watch"] * 4)
        ]
        assert api(classify, "PUT", "/v1/ads", {"ads": ads})[0] == 200
        queue = self.aws.catalogue_queue_url
        for message in self.aws.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]:
            record = {"eventSource": "aws:sqs", "messageId": "m", "body": message["Body"]}
            assert classify.lambda_handler({"Records": [record]}, None) == {"batchItemFailures": []}
        self.basis("asserted")
        for person in self.known:
            assert self.events(person)[1]["accepted"] == 2
            assert api(profile, "GET", f"/v1/users/{person}/profile")[1]["interests"]
        self.basis("required")
        for person in self.known:  # takes away what was inferred
            assert not api(profile, "GET", f"/v1/users/{person}/profile")[1]["interests"]
        for person in self.withdrawn:
            assert self.consent(person, True, ago=500)[0] == 200
            assert self.events(person)[1]["accepted"] == 2
            assert api(profile, "GET", f"/v1/users/{person}/profile")[1]["interests"]
            assert self.recommend(person) == 200
        for decision, shown in self.decisions:
            assert self.feedback(decision, shown, "impression")[0] == 200
        for person in (*self.withdrawn, *self.refused):
            assert self.consent(person, False, ago=400)[1]["personalisation"] is False

    def basis(self, basis: str) -> None:
        self.system.settings = replace(self.system.settings, consent_basis=basis)
        self.system.renew()

    def ask(self) -> None:
        """One request, of a route and a person that chance picks."""
        person = self.rng.choice(self.people)
        route = self.rng.choice(ROUTES)
        self.recorder.route = route
        status = getattr(self, f"_{route.replace('-', '_')}")(person)
        self.recorder.route = ""
        self.statuses[route, status] += 1

    def now(self, ago: float = 0.0) -> str:
        return rfc3339(self.system.clock() - ago)

    def rows(self, person: str, others: int = 0) -> list[dict[str, Any]]:
        row = {"event": "purchase", "timestamp": self.now(60), "text": WORDS, "tags": ["engraved"], "item_id": "new"}
        also = [{"user_id": self.rng.choice(self.people)} | row for _ in range(others)]
        return [{"user_id": person} | row, {"user_id": person} | row | {"item_id": "ad-1"}, *also]

    def events(self, person: str) -> tuple[int, Any]:
        return api(profile, "POST", "/v1/events", {"events": self.rows(person)})

    def consent(self, person: str, yes: bool, ago: float = 0.0) -> tuple[int, Any]:
        body = {"personalisation": yes, "source": "banner", "at": self.now(ago)}
        return api(profile, "PUT", f"/v1/users/{person}/consent", body)

    def recommend(self, person: str, **headers: str) -> int:
        status, answer = api(recommend, "POST", "/v1/recommendations", {"user_id": person, "n": 3}, **headers)
        if status == 200:
            self.decisions.append((answer["decision_id"], [ad["ad_id"] for ad in answer["ads"]]))
        return status

    def feedback(self, decision: str, shown: list[str], kind: str) -> tuple[int, Any]:
        one = {"decision_id": decision, "type": kind, "timestamp": self.now()}
        return api(recommend, "POST", "/v1/feedback", {"feedback": [one | {"ad_id": ad_id} for ad_id in shown]})

    def _events(self, person: str) -> int:
        status, answer = self.events(person)
        assert answer["accepted"] == 0 and len(answer["rejected"]) == 2
        return status

    def _events_once(self, person: str) -> int:
        key = {"idempotency-key": f"k{self.rng.random()}"}
        status, answer = api(profile, "POST", "/v1/events", {"events": self.rows(person)}, **key)
        assert answer["accepted"] == 0
        return status

    def _upload(self, person: str) -> int:
        self.uploads += 1
        key = f"events/{TENANT}/{self.uploads}.jsonl"
        lines = "\n".join(json.dumps(row) for row in self.rows(person, others=3))
        route, self.recorder.route = self.recorder.route, ""  # that is the advertiser's own
        etag = self.aws.s3.put_object(Bucket=self.aws.bucket, Key=key, Body=lines.encode())["ETag"]
        self.recorder.route = route
        entity = {"key": key, "eTag": etag.strip('"')}
        record = {"eventSource": "aws:s3", "s3": {"object": entity}}
        (answer,) = profile.lambda_handler({"Records": [record]}, CONTEXT)["uploads"]
        assert (answer["accepted"], answer["rejected_count"]) == (0, 5)
        return 200

    def _profile(self, person: str) -> int:
        status, answer = api(profile, "GET", f"/v1/users/{person}/profile")
        assert status == 404 or (answer["interests"], answer["segments"]) == ([], [])
        return status

    def _interests(self, person: str) -> int:
        return api(profile, "PATCH", f"/v1/users/{person}/interests", {"disable": ["adproduct:1118"]})[0]

    def _identities(self, person: str) -> int:
        other = self.rng.choice([one for one in self.people if one != person])
        return api(profile, "PUT", f"/v1/users/{person}/identities", {"link": [{"id": other, "platform": "app"}]})[0]

    def _recommend(self, person: str) -> int:
        return self.recommend(person)

    def _recommend_once(self, person: str) -> int:
        return self.recommend(person, **{"idempotency-key": f"k{self.rng.random()}"})

    def _feedback(self, person: str) -> int:
        decision, shown = self.rng.choice(self.decisions)
        return self.feedback(decision, shown, self.rng.choice(["impression", "click", "conversion", "dismiss"]))[0]

    def _copy(self, person: str) -> int:
        ad_id = f"ad-{self.rng.randrange(12)}"
        return api(generate, "POST", "/v1/copy", {"ad_id": ad_id, "user_id": person, "async": self.rng.random() < 0.3})[
            0
        ]

    def _refusal(self, person: str) -> int:
        if person in self.known or (person in self.silent and self.rng.random() < 0.7):  # else nobody stays silent
            self.recorder.route = "events"
            return self._events(person)
        return self.consent(person, False)[0]

    def _direct(self, person: str) -> int:
        call = {"action": "events", "tenant": TENANT, "events": self.rows(person)}
        assert profile.lambda_handler(call, CONTEXT)["accepted"] == 0
        answer = recommend.lambda_handler({"action": "recommend", "tenant": TENANT, "user_id": person, "n": 2}, CONTEXT)
        assert answer["personalised"] is False
        return 200


@pytest.mark.parametrize(("people", "requests"), [(FEW, 80), pytest.param(MANY, 1000, marks=pytest.mark.slow)])
def test_nothing_is_written_about_anybody_without_consent(
    required: System,
    aws: Aws,
    recorder: Recorder,
    people: tuple[int, int, int, int],
    requests: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    world = World(required, aws, recorder, people)
    world.prepare()
    before = {person: uid for person in world.people if (uid := required.stores.people.uid(TENANT, person)) is not None}
    capfd.readouterr()
    for _ in range(requests):
        world.ask()
    assert not [one for one in world.statuses if one[1] >= 500], world.statuses
    assert {route for route, status in world.statuses if status == 200} >= {"recommend", "feedback", "refusal", "copy"}

    key = Path(required.settings.pseudonym_key_file).read_bytes()
    uids = before | {p: uid for p in world.people if (uid := required.stores.people.uid(TENANT, p)) is not None}
    for person in world.people:  # the HMAC is worked out here, by the format that is documented
        digest = hmac.new(key, f"{TENANT}\x00{person}".encode(), hashlib.sha256).hexdigest()
        assert (required.stores.people.digest(TENANT, person)) == digest
    traces = dict.fromkeys(world.people, "external id")
    # An HMAC begins with the reference: that finds both.
    traces |= {required.stores.people.ref(TENANT, person): "HMAC" for person in world.people}
    traces |= dict.fromkeys(uids.values(), "uid")
    traces |= dict.fromkeys(("quixotically", "engraved"), "text")
    found: Counter[tuple[str, str, str]] = Counter()
    for route, operation, parameters in recorder.calls:
        told = {kind for text in texts(parameters) for trace, kind in traces.items() if trace in text}
        if told and route == "refusal" and statement_only(operation, parameters, set(uids.values())):
            told -= {"HMAC", "uid"}  # who refused: that is kept, since it must hold
        found.update((route, operation, kind) for kind in told)
    assert not found
    assert recorder.calls and any(route == "refusal" for route, _, _ in recorder.calls)
    rows = aws.dynamodb.scan(TableName=aws.table)["Items"]
    own = {f"t/{TENANT}/p/{uid}" for person, uid in uids.items() if person not in world.known}
    left = {row["sk"]["S"].partition("/")[0] for row in rows if row["pk"]["S"] in own}
    assert left == {"meta", "c", "profile", "state"}  # of those who withdrew too; their profile is an empty one
    said = "".join(capfd.readouterr())
    assert not [person for person in world.people if person in said] and "quixotically" not in said
    for person in world.silent:  # who has still said nothing has not even a pseudonym
        uid = uids.get(person)
        assert uid is None or required.stores.people.statements(TENANT, uid)


def test_the_recorder_sees_what_is_written_with_consent(required: System, aws: Aws, recorder: Recorder) -> None:
    """Else the test above could not fail."""
    world = World(required, aws, recorder)
    world.prepare()
    person = world.withdrawn[0]
    recorder.route = "consent"
    assert world.consent(person, True)[1]["personalisation"] is True
    assert world.events(person)[1]["accepted"] == 2
    assert world.recommend(person, **{"idempotency-key": "once"}) == 200
    uid = required.stores.people.uid(TENANT, person)
    assert uid is not None
    seen = {
        kind
        for _, _, parameters in recorder.calls
        for text in texts(parameters)
        for trace, kind in {uid: "uid", "quixotically": "text", '"decision_id"': "packed answer"}.items()
        if trace in text
    }
    assert seen == {"uid", "text", "packed answer"}
