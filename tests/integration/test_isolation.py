"""One tenant tries to reach another's data, by every route and every way in: nothing is read, inferred or changed.

Whether something can be inferred is measured: what a caller is answered about another tenant's id must be what it is
answered about an id that nobody has.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import orjson
import pytest
from fastapi.routing import APIRoute

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.domain import Copy
from shared.stores.copies import ANYONE, gate_stamp
from shared.stores.table import Table
from shared.wiring import system
from tests.conftest import Aws
from tests.fakes.models import TopicClassifier, TopicEncoder
from tests.fakes.two_tenants import AT, OURS, SECRET, TENANTS, THEIRS, Answer, World, ad, call, event, jwt, signed

pytestmark = pytest.mark.slow
FRONTS = (profile, classify, generate, recommend)
NOBODY = {  # ids like theirs that nobody has
    "ad": "none-k9m2",
    "campaign": "c-nobody",
    "person": "none-p3w8",
    "decision": None,  # one of theirs with its last figure changed
    "job": None,
    "head": "noneh4",
    "run": "0d" * 12,
    "segment": "adproduct:1119",
    "erasure": None,
    "upload": "bag.jsonl",
}


@pytest.fixture
def world(aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[World]:
    environment = {
        "STAGE": "prod",
        "TENANT": "main",
        "TENANTS": json.dumps(TENANTS),
        "TABLE_NAME": aws.table,
        "BUCKET_NAME": aws.bucket,
        "COPY_QUEUE_URL": aws.copy_queue_url,
        "CATALOGUE_QUEUE_URL": aws.catalogue_queue_url,
        "EVENT_QUEUE_URL": aws.event_queue_url,
        "AD_QUEUE_URL": aws.ad_queue_url,
        "LLM_ADAPTERS": f"{THEIRS}/voice",
        "CONSENT_BASIS": "asserted",
        "K_FLOOR": "2",
        "EXPLORATION": "0",
        "ROTATION": "0",
        "PSEUDONYM_KEY_FILE": str(tmp_path / "key"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    system.cache_clear()
    made = system()
    classifier = TopicClassifier()
    made.__dict__["encoder"] = TopicEncoder()
    made.__dict__["classifiers"] = {"adproduct": classifier, "content": classifier}
    made.__dict__["versions"] = {"encoder": "topics"}
    world = World(made, aws)
    world.plant()
    yield world
    system.cache_clear()


TRICKS: dict[str, Callable[[str], str]] = {
    "as it is": lambda one: one,
    "in a folder": lambda one: f"{THEIRS}/{one}",
    "up and over": lambda one: f"../{THEIRS}/{one}",
    "up and over, encoded": lambda one: f"%2e%2e%2f{THEIRS}%2f{one}",
    "its key": lambda one: f"t/{THEIRS}/ads/{one}",
    "its key, joined": lambda one: f"x/../../t/{THEIRS}/id/{one}",
    "hash": lambda one: f"{THEIRS}#{one}",
    "NUL": lambda one: f"{one}\x00",
    "NUL between": lambda one: f"{THEIRS}\x00{one}",
    "line feed": lambda one: f"{one}\n",
    "wide": lambda one: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in one),
    "upper case": str.upper,
    "blank before": lambda one: f" {one}",
    "a tenant in the query": lambda one: f"{one}?tenant={THEIRS}",
    "cyrillic": lambda one: one.replace("o", "о").replace("e", "е"),
}
PARAMETERS = {
    "user_id": "person",
    "ad_id": "ad",
    "name": "head",
    "job_id": "job",
    "erasure_id": "erasure",
    "file": "upload",
}
BODIES: dict[str, Callable[[str], Any]] = {  # of routes whose path holds an id
    "PATCH /v1/users/{user_id}/interests": lambda one: {"disable": ["adproduct:1118"]},
    "PUT /v1/users/{user_id}/consent": lambda one: {"personalisation": False, "source": "x", "at": AT},
    "PUT /v1/users/{user_id}/identities": lambda one: {"link": [], "unlink": [{"id": "globex-linked"}]},
}


def _no_body(one: str) -> None:
    """Most routes whose path holds an id take none."""


SENT: list[tuple[Any, str, str, str, Callable[[str], Any]]] = [  # front, kind, method, path, body
    (recommend, "person", "POST", "/v1/recommendations", lambda one: {"user_id": one}),
    (generate, "ad", "POST", "/v1/copy", lambda one: {"ad_id": one}),
    (generate, "ad", "POST", "/v1/copy", lambda one: {"filter": {"ad_ids": [one]}, "async": True}),
    (generate, "person", "POST", "/v1/copy", lambda one: {"ad_id": "only-acme", "user_id": one}),
    (generate, "segment", "POST", "/v1/copy", lambda one: {"ad_id": "only-acme", "segment": one}),
    (
        generate,
        "ad",
        "POST",
        "/v1/copy/reviews",
        lambda one: {"reviews": [{"ad_id": one, "text": "A phone", "language": "en", "state": "approved"}]},
    ),
    (classify, "head", "POST", "/v1/classify", lambda one: {"texts": ["a phone"], "head": one}),
    (classify, "ad", "PUT", "/v1/ads", lambda one: {"ads": [ad(one, "A shoe")]}),
    (profile, "person", "POST", "/v1/events", lambda one: {"events": [event(one, "common", event="view")]}),
    (profile, "ad", "POST", "/v1/events", lambda one: {"events": [event("ann", one, event="view")]}),
    (profile, "person", "PUT", "/v1/users/acme-person/identities", lambda one: {"unlink": [{"id": one}]}),
]
OVERRIDES: list[dict[str, Any]] = [
    {"query": f"tenant={THEIRS}"},
    {"query": f"tenant={OURS}&tenant={THEIRS}"},
    *(
        {"headers": {name: THEIRS}}
        for name in ("x-tenant", "tenant", "x-tenant-id", "x-amzn-tenant", "x-forwarded-user", "x-original-url")
    ),
    {"headers": {"authorization": f"Bearer {THEIRS}"}},
    {"headers": {"x-amzn-request-context": json.dumps({"authorizer": jwt(THEIRS)})}},
]
CLAIMS: list[Any] = [
    [THEIRS],
    [OURS, THEIRS],
    f"[{THEIRS}]",
    f"[{OURS} {THEIRS}]",
    f"{OURS} {THEIRS}",
    f"{OURS},{THEIRS}",
    f" {THEIRS}",
    f"{THEIRS} ",
    f"{THEIRS}\n",
    f"{THEIRS}\x00",
    f"{THEIRS}/",
    f"../{THEIRS}",
    f"{OURS}/../{THEIRS}",
    f"t/{THEIRS}",
    f"{THEIRS}/ads",
    f"{THEIRS}#",
    "%67lobex",
    "ｇｌｏｂｅｘ",
    "glоbex",
    THEIRS.upper(),
    THEIRS.title(),
    "*",
    "",
    None,
    True,
    0,
    {"name": THEIRS},
    THEIRS * 20,
]
CALLERS = [
    "",
    "arn:aws:sts::999988887777:assumed-role/globex-web/s",  # of another account
    "arn:aws:sts::111122223333:assumed-role/initech-web/globex-web",
    "arn:aws:sts::111122223333:assumed-role/initech/x:role/globex-web",
    "arn:aws:sts::111122223333:assumed-role/Globex-web/s",
    "arn:aws:iam::111122223333:user/globex-web",
    "arn:aws:iam::111122223333:root",
    "arn:aws:sts::111122223333:federated-user/globex-web",
    "arn:aws:iam::111122223333:role/globex",
    "arn:aws:iam::111122223333:role/globex-web\n",
    "*",
    "arn:aws:iam::111122223333:role/*",
]


@dataclass
class Attempts:
    """Tries, counts, and notes what succeeded."""

    world: World
    made: int = 0
    succeeded: list[str] = field(default_factory=list)

    def judge(self, what: str, answer: Answer, like: Answer, *ids: str) -> None:
        """An attempt has failed where the answer tells no more than the one about nobody's id, and holds nothing of
        theirs."""
        self.made += 1
        if SECRET in json.dumps(answer.body) or answer.status >= 500:
            self.succeeded.append(f"{what}: {answer.status} {str(answer.body)[:200]}")
        elif answer.shape(*ids) != like.shape(*ids):
            self.succeeded.append(f"{what}: {answer.shape(*ids)} but of nobody's id {like.shape(*ids)}")

    def pair(self, what: str, kind: str, ask: Callable[[str], Answer], trick: Callable[[str], str]) -> None:
        """Theirs and nobody's id, under the same trick. `ask` leaves no trace in ours that the second would meet."""
        mine, nobody = self.world.theirs[kind], NOBODY[kind]
        if nobody is None:
            place = max(place for place, char in enumerate(mine) if char.isdigit())
            nobody = f"{mine[:place]}{(int(mine[place]) + 1) % 10}{mine[place + 1 :]}"
        theirs, none = trick(mine), trick(nobody)
        self.judge(
            f"{what} {theirs!r}", ask(theirs), ask(none), theirs, none, mine, nobody, mine.upper(), nobody.upper()
        )


def routes() -> Iterator[tuple[Any, str, str, str]]:
    """Front, method, path and the kind of id of every route whose path holds one."""
    for front in FRONTS:
        for route in front.router.routes:
            if not isinstance(route, APIRoute):
                continue
            path = re.sub(r":path\}", "}", route.path).replace("{kind}/{name}", "events/{file}")
            if names := re.findall(r"\{(\w+)", path):
                for method in sorted(route.methods or ()):
                    yield front, method, path, PARAMETERS[names[0]]


def test_no_attempt_of_one_tenant_on_anothers_data_succeeds(world: World) -> None:
    before = world.kept()
    assert any(SECRET.encode().hex() in value or SECRET in value for value in before.values())
    tries = Attempts(world)

    for front, method, path, kind in routes():
        for name, trick in TRICKS.items():

            def in_path(one: str, front: Any = front, method: str = method, path: str = path) -> Answer:
                body = BODIES.get(f"{method} {path}", _no_body)(one)
                return call(front, method, re.sub(r"\{\w+\}", lambda _: quote(one, safe=""), path), body)

            tries.pair(f"{method} {path}, {name}", kind, in_path, trick)

    for front, kind, method, path, body in SENT:
        for name, trick in TRICKS.items():

            def in_body(
                one: str,
                front: Any = front,
                method: str = method,
                path: str = path,
                body: Callable[[str], Any] = body,
            ) -> Answer:
                return call(front, method, path, body(one))

            tries.pair(f"{method} {path}, {name}", kind, in_body, trick)

    for name, trick in TRICKS.items():

        def link(one: str) -> Answer:
            path = "/v1/users/acme-person/identities"
            linked = call(profile, "PUT", path, {"link": [{"id": one}]})
            call(profile, "PUT", path, {"unlink": [{"id": one}]})
            return linked

        tries.pair(f"link, {name}", "person", link, trick)

    for name, trick in TRICKS.items():

        def of_campaign(one: str) -> Answer:
            return call(classify, "GET", "/v1/ads", query=urlencode({"campaign_id": one, "limit": 500}))

        tries.pair(f"list by campaign, {name}", "campaign", of_campaign, trick)

    for front, path in ((classify, "/v1/ads"), (recommend, "/v1/campaigns")):
        own = call(front, "GET", path, query="limit=500")  # the ads that were written above under such ids among them
        for name, trick in TRICKS.items():
            after = trick("only-globex")
            behind = [one for one in own.body["ads"] if one["ad_id"] > after]
            got = call(front, "GET", path, query=urlencode({"after": after, "limit": 500}))
            tries.judge(f"{path} after {name}", got, Answer(200, own.body | {"ads": behind}, {}))

    for name, trick in TRICKS.items():

        def address(one: str) -> Answer:
            """Where a file of this name may go: in our folder, and nowhere else."""
            answer = call(profile, "POST", "/v1/uploads", {"kind": "events", "name": one})
            if answer.status == 201:
                path = unquote(urlsplit(answer.body["url"]).path)
                return Answer(201, {"ours": path == f"/events/{OURS}/{one}" and answer.body["key"] == path[1:]}, {})
            return answer

        tries.pair(f"upload, {name}", "upload", address, trick)
        if (found := address(trick("big.jsonl"))).status == 201 and not found.body["ours"]:
            tries.succeeded.append(f"upload, {name}: {found.body}")

    for kind in ("impression", "click", "conversion", "dismiss"):
        for ad_id in ("only-globex", "common"):

            def tell(one: str, kind: str = kind, ad_id: str = ad_id) -> Answer:
                item = {"decision_id": one, "ad_id": ad_id, "type": kind, "timestamp": AT}
                return call(recommend, "POST", "/v1/feedback", {"feedback": [item]})

            tries.pair(f"feedback {kind} {ad_id}", "decision", tell, lambda one: one)

    reads: tuple[tuple[Any, str, dict[str, str] | None], ...] = (
        (classify, "/v1/ads/only-globex", None),
        (profile, "/v1/users/globex-person/profile", None),
        (recommend, "/v1/recommendations", {"user_id": "ann"}),
        (generate, f"/v1/copy/{world.theirs['job']}", None),
    )
    for options in OVERRIDES:
        for front, path, sent in reads:
            method = "GET" if sent is None else "POST"
            named = None if sent is None else sent | {"tenant": THEIRS}
            plain = call(front, method, path, sent)
            tries.judge(f"{path} with {options}", call(front, method, path, named, **options), plain)

    refused = Answer(403, None, {})
    for claim in CLAIMS:
        for front, path in ((classify, "/v1/ads/only-globex"), (profile, "/v1/users/globex-person/profile")):
            got = call(front, "GET", path, authorizer=jwt(claim))
            like = call(front, "GET", path, authorizer=jwt("nobody-yet")) if got.status == 404 else refused
            tries.judge(f"claim {claim!r}", Answer(got.status, got.body if got.status != 403 else None, {}), like)
    for arn in CALLERS:
        got = call(classify, "GET", "/v1/ads/only-globex", authorizer=signed(arn))
        tries.judge(f"caller {arn!r}", Answer(got.status, None, {}), refused)
    ours = signed("arn:aws:sts::111122223333:assumed-role/acme-web/globex-web")
    tries.pair("signed", "ad", lambda one: call(classify, "GET", f"/v1/ads/{one}", authorizer=ours), lambda one: one)

    assert not tries.succeeded, "\n".join(tries.succeeded)
    assert world.kept() == before
    assert tries.made >= 300
    print(f"{tries.made} attempts by the API, none succeeded")


def test_no_answer_to_another_tenant_is_told_again(world: World) -> None:
    """Under the same Idempotency-Key and with the same body."""
    tries = Attempts(world)
    for n, (front, path, body) in enumerate(
        [
            (profile, "/v1/events", {"events": [event("globex-person", "common", text=SECRET, event_id="e")]}),
            (recommend, "/v1/recommendations", {"user_id": "ann"}),
            (generate, "/v1/copy", {"ad_id": "common"}),
            (classify, "/v1/classify", {"texts": ["a phone"]}),
        ]
    ):
        key = {"idempotency-key": f"key-{n}"}
        first = call(front, "POST", path, body, authorizer=jwt(THEIRS), headers=key)
        before = world.kept()
        assert first.status in (200, 202), first.body
        again = call(front, "POST", path, body, headers=key)
        fresh = json.loads(json.dumps(body).replace('"event_id": "e"', '"event_id": "f"'))
        like = call(front, "POST", path, fresh, headers={"idempotency-key": f"other-{n}"})
        assert "idempotency-replayed" in call(front, "POST", path, body, headers=key).headers  # of ours it is
        tries.judge(f"replay of {path}", again, like)
        if "idempotency-replayed" in again.headers:
            tries.succeeded.append(f"replay of {path}")
        assert world.kept() == before
    assert not tries.succeeded, "\n".join(tries.succeeded)


def test_no_upload_message_or_direct_call_reaches_another_tenant(world: World) -> None:
    before = world.kept()
    tries = Attempts(world)
    lines = orjson.dumps(event("globex-person", "item-globex", text="a shoe", event_id="planted"))
    for front, kind in ((profile, "events"), (classify, "ads"), (classify, "labels")):
        body = lines if kind == "events" else orjson.dumps(ad("only-globex", "A shoe"))
        for key in (
            f"{kind}/{OURS}/../{THEIRS}/x.jsonl",
            f"{kind}/{OURS}%2F..%2F{THEIRS}/x.jsonl",
            f"{kind}/{OURS}/./{THEIRS}/x.jsonl",
            f"{kind}//{THEIRS}/x.jsonl",
            f"{kind}/../{kind}/{THEIRS}/x.jsonl",
            f"{kind}/{OURS}#/{THEIRS}/x.jsonl",
            f"{kind}/{OURS} {THEIRS}/x.jsonl",
        ):
            tries.made += 1
            world.aws.s3.put_object(Bucket=world.aws.bucket, Key=key, Body=body)
            record = {"eventSource": "aws:s3", "s3": {"object": {"key": quote(key), "eTag": ""}}}
            told = front.lambda_handler({"Records": [record]}, None)
            if SECRET in json.dumps(told, default=str):
                tries.succeeded.append(f"upload {key}: {told}")

    for named in (
        f"{OURS}/../{THEIRS}",
        f"{THEIRS}/ads",
        f"{THEIRS}#x",
        f"{THEIRS}\x00",
        [THEIRS],
        {"S": THEIRS},
        f" {THEIRS}",
    ):
        for front, action, more in (
            (profile, "profile", {"user_id": "globex-person"}),
            (profile, "events", {"events": [event("globex-person", "common")]}),
            (profile, "run", {"run": world.theirs["run"]}),
            (classify, "publish", {}),
            (classify, "classify", {"texts": ["a phone"], "head": "secret"}),
            (generate, "copy", {"ad_id": "only-globex"}),
            (recommend, "recommend", {"user_id": "globex-person"}),
        ):
            tries.made += 1
            told = front.lambda_handler({"action": action, "tenant": named} | more, None)
            if told.get("error", {}).get("field") != "tenant":
                tries.succeeded.append(f"{action} as {named!r}: {told}")
    for message, front in (
        ({"action": "split", "tenant": OURS, "run": world.theirs["run"]}, profile),
        ({"action": "chunk", "tenant": OURS, "run": world.theirs["run"], "chunk": 0}, profile),
        ({"action": "split", "tenant": f"{OURS}/../{THEIRS}", "run": world.theirs["run"]}, profile),
        ({"action": "publish", "tenant": f"{THEIRS}/ads"}, classify),
        ({"action": "split", "tenant": OURS, "run": world.theirs["run"]}, classify),
    ):
        tries.made += 1
        attributes = {"ApproximateReceiveCount": "1"}
        sqs = {"messageId": "m", "eventSource": "aws:sqs", "body": json.dumps(message), "attributes": attributes}
        told = front.lambda_handler({"Records": [sqs]}, None)
        if told != {"batchItemFailures": [{"itemIdentifier": "m"}]}:
            tries.succeeded.append(f"message {message}: {told}")
    told = profile.lambda_handler({"action": "run", "tenant": OURS, "run": world.theirs["run"]}, None)
    tries.judge("run", Answer(told["error"]["status"], told["error"], {}), Answer(404, told["error"], {}))

    assert not tries.succeeded, "\n".join(tries.succeeded)
    assert world.kept() == before
    assert tries.made >= 60
    print(f"{tries.made} attempts by uploads, messages and direct calls, none succeeded")


def test_nothing_that_another_does_changes_what_a_tenant_is_answered(world: World) -> None:
    """Same ids, same people, same ads: clicks, reviews, refusals and deletions of theirs are none of ours."""
    path = "/v1/users/ann"
    snapshots: list[str] = []

    def answers() -> list[tuple[int, str]]:
        return [
            answer.shape()
            for answer in (
                call(recommend, "POST", "/v1/recommendations", {"user_id": "ann"}),
                call(recommend, "POST", "/v1/recommendations", {"user_id": "nobody-k3", "n": 50}),
                call(generate, "POST", "/v1/copy", {"ad_id": "common"}),
                call(generate, "POST", "/v1/copy", {"ad_id": "common", "user_id": "ann"}),
                call(profile, "GET", f"{path}/profile"),
                call(profile, "PUT", f"{path}/identities", {}),
                call(generate, "POST", "/v1/copy", {"ad_id": "twin", "n": 1}),
                call(classify, "GET", "/v1/ads/common"),
                call(classify, "GET", "/v1/heads"),
            )
        ]

    def publish(campaign: str) -> None:  # with the click rates as they are: a changed ad makes the catalogue dirty
        assert call(classify, "PUT", "/v1/ads", {"ads": [ad("x", "A course", campaign_id=campaign)]}).status == 200
        told = classify.lambda_handler({"action": "publish", "tenant": OURS}, None)
        assert told["snapshot"] not in snapshots
        snapshots.append(told["snapshot"])
        world.system.__dict__.pop("snapshots", None)
        world.system.__dict__.pop("recommending", None)

    them = jwt(THEIRS)
    twin = ad("twin", "A bright shoe")
    for who in (jwt(OURS), them):  # the same ad, so that what one has banked for it would fit the other's
        assert call(classify, "PUT", "/v1/ads", {"ads": [twin]}, authorizer=who).status == 200
    classify.lambda_handler({"action": "publish", "tenant": THEIRS}, None)
    publish("before")
    before = answers()
    assert all(status == 200 for status, _ in before), before
    for n in range(30):
        decided = call(recommend, "POST", "/v1/recommendations", {"user_id": f"fresh-{n}"}, authorizer=them)
        told = [
            {"decision_id": decided.body["decision_id"], "ad_id": one["ad_id"], "type": kind, "timestamp": time.time()}
            for one in decided.body["ads"]
            for kind in ("impression", "click", "conversion")
        ]
        counted = call(recommend, "POST", "/v1/feedback", {"feedback": told}, authorizer=them)
        assert counted.status == 200, (counted.body, decided.body)
        assert {one["result"] for one in counted.body["results"]} == {"counted"}, counted.body
    kept = world.system.stores.catalogue.get_ad(THEIRS, "twin")
    assert kept is not None
    banked = Copy("A bright shoe is here.", "en", "llm", provenance={"gate": gate_stamp(kept.ad)})
    world.system.stores.copies.bank_put(THEIRS, "twin", ANYONE, "en", [banked])
    shown = call(generate, "POST", "/v1/copy", {"ad_id": "twin", "n": 1}, authorizer=them)
    assert [one["text"] for one in shown.body["copies"]] == [banked.text], shown.body
    text = f"A {SECRET} phone is here."
    verdict = {"ad_id": "common", "text": text, "language": "en", "state": "approved"}
    assert call(generate, "POST", "/v1/copy/reviews", {"reviews": [verdict]}, authorizer=them).status == 200
    changed = ad("common", f"Quite another {SECRET} phone", bid_cpm=9.0)
    assert call(classify, "PUT", "/v1/ads", {"ads": [changed]}, authorizer=them).status == 200
    assert call(profile, "PATCH", f"{path}/interests", {"disable": ["adproduct:1118"]}, authorizer=them).status == 200
    linked = {"link": [{"id": "globex-person"}]}
    assert call(profile, "PUT", f"{path}/identities", linked, authorizer=them).status == 200
    said = {"personalisation": False, "source": "x", "at": AT}
    assert call(profile, "PUT", f"{path}/consent", said, authorizer=them).status == 200
    call(profile, "DELETE", path, authorizer=them)
    classify.lambda_handler({"action": "publish", "tenant": THEIRS}, None)
    publish("after")
    assert answers() == before


def test_what_a_tenant_does_stays_with_it_and_works(world: World) -> None:
    """The attempts above fail because of whose the data is: the owner's own requests, of the same form, succeed."""
    them = jwt(THEIRS)
    assert SECRET in json.dumps(call(classify, "GET", "/v1/ads/only-globex", authorizer=them).body)
    arn = "arn:aws:sts::111122223333:assumed-role/globex-web/session"
    assert SECRET in json.dumps(call(classify, "GET", "/v1/ads/only-globex", authorizer=signed(arn)).body)
    assert call(profile, "GET", "/v1/users/globex-person/profile", authorizer=them).status == 200
    assert call(generate, "GET", f"/v1/copy/{world.theirs['job']}", authorizer=them).status == 200
    theirs = call(profile, "GET", "/v1/users/ann/profile", authorizer=them)
    ours = call(profile, "GET", "/v1/users/ann/profile")
    assert {one["id"] for one in theirs.body["interests"]} != {one["id"] for one in ours.body["interests"]}
    run = profile.lambda_handler({"action": "run", "tenant": THEIRS, "run": world.theirs["run"]}, None)
    assert run["state"] == "splitting"
    item = {"decision_id": world.theirs["decision"], "ad_id": "common", "type": "impression", "timestamp": AT}
    told = call(recommend, "POST", "/v1/feedback", {"feedback": [item]}, authorizer=them)
    assert told.body["results"][0] != call(recommend, "POST", "/v1/feedback", {"feedback": [item]}).body["results"][0]


def test_figures_say_whose_they_are(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call(recommend, "POST", "/v1/recommendations", {"user_id": "ann"})
    call(recommend, "POST", "/v1/recommendations", {"user_id": "ann"}, authorizer=jwt(THEIRS))
    recommend.lambda_handler({"action": "export_log"}, None)  # of all: it has no tenant's label
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    decided = [line["tenant"] for line in lines if "Decisions" in line]
    assert decided == [OURS, THEIRS]
    for line in lines:
        for figures in line["_aws"]["CloudWatchMetrics"]:
            assert not any("tenant" in names for names in figures["Dimensions"])
    assert all("tenant" in line for line in lines if "Requests" in line)


def test_the_table_has_no_row_that_no_tenant_or_deployment_owns(world: World) -> None:
    assert isinstance(world.system.stores.table, Table)
    rows = world.aws.dynamodb.scan(TableName=world.aws.table)["Items"]
    owners = {row["pk"]["S"].split("/")[1] if row["pk"]["S"].startswith("t/") else row["pk"]["S"] for row in rows}
    assert {one for one in owners if not one.startswith("idem/")} == {OURS, THEIRS, "tenants"}
