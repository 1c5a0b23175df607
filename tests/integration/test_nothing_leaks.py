"""Everything that a full run of the local system wrote, searched for planted people.

External ids may be nowhere but in the raw uploads, which expire after a week; contact data neither; words of texts and
names of interests in no log.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import pytest

from infra.local import resources
from tests.integration.conftest import TENANT, LocalSystem

PEOPLE = ("planted-person-7391", "planted/visitor 7392 ö", "planted.mail7393@example.com", "wechat:planted-7394")
UNKNOWN = "planted-stranger-7395"
UPLOADED = "planted-uploader-7396"
LATE = "planted-rejected-7397"
TELEPHONES = ("138-1726-4590", "13817264590", "(415) 555-0132")
E_MAILS = ("lin.mo7398@163.com", "rosie7399@example.org")
IDENTITY, CARD = "110105199405243670", "6222020562241549905"
NOBODY_ELSE_S = (*PEOPLE, UNKNOWN, UPLOADED, LATE, *TELEPHONES, *E_MAILS, IDENTITY, CARD)
WORDS = ("茉莉暗语", "暗语标签", "hushword7400", "悄悄查询", "暗号来源")


@dataclass
class Run:
    """Requests to a running system; which routes they were, and names of interests that its answers held."""

    system: LocalSystem
    asked: set[tuple[str, str]] = field(default_factory=set)
    interests: set[str] = field(default_factory=set)

    def ask(
        self, method: str, route: str, *, body: Any = None, raw: bytes | None = None, each: str = "", **names: str
    ) -> Any:
        """The answer's body. route: as the contract has it; its names are filled in, those not given with `each`."""
        path = re.sub(r"\{(\w+)\}", lambda name: quote(names.get(name[1], each), safe=""), route)
        content = raw if raw is not None else None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"content-type": "application/json", "idempotency-key": f"{method} {time.monotonic()}"}
        answer = self.system.http.request(method, path, content=content, headers=headers)
        self.asked.add((method, route))
        assert answer.status_code < 500, answer.text
        found = answer.json()
        if isinstance(found, dict):
            for interest in found.get("interests") or ():
                self.interests |= {name for name in interest["name"].values() if len(name) > 3}
        return found


def at(seconds_ago: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat()


def events(user_id: str, count: int = 3) -> list[dict[str, Any]]:
    texts = (
        f"{WORDS[0]} 智能手机，电话 {TELEPHONES[0]}，邮箱{E_MAILS[0]}",
        f"{WORDS[2]} running shoes, call {TELEPHONES[2]} or {E_MAILS[1]}",
        f"{WORDS[0]} 证件 {IDENTITY} 卡号 {CARD}",
    )
    return [
        {
            "user_id": user_id,
            "event": "purchase",
            "timestamp": at(60 * place + 60),
            "item_id": f"leak-item-{place}",
            "text": texts[place % 3],
            "tags": ["手机", WORDS[1], E_MAILS[0]],
            "event_id": f"{E_MAILS[1]}-{place}" if place % 2 else f"e{place}",
            "domain": "ecommerce",
        }
        for place in range(count)
    ]


def full_run(run: Run) -> None:
    """Every route with what it answers to good and to bad requests, and both kinds of upload."""
    ad = {"ad_id": "leak-ad", "title": "智能手机 远航 7", "landing_url": "https://shop.example.com/7", "language": "zh"}
    run.ask("PUT", "/v1/ads", body={"ads": [ad | {"domain": "ecommerce", "bid_cpm": 20}, {"ad_id": WORDS[0]}]})
    run.ask("GET", "/v1/ads/{ad_id}", ad_id="leak-ad")
    run.ask("GET", "/v1/ads/{ad_id}", ad_id=PEOPLE[0])
    run.ask("POST", "/v1/classify", body={"texts": [f"{WORDS[3]} {TELEPHONES[1]}", ""]})
    run.ask("POST", "/v1/classify", body={"texts": [7, E_MAILS[0]], "head": E_MAILS[1]})
    profiles(run)
    uploads(run)
    recommendations(run)


def profiles(run: Run) -> None:
    bad = [
        {"user_id": LATE, "event": E_MAILS[0], "timestamp": at(0)},
        {"user_id": LATE, "event": "view", "timestamp": f"tomorrow, {TELEPHONES[1]}"},
        {"user_id": LATE, "event": "view", "timestamp": at(-1e6), "text": WORDS[0]},
        {"user_id": f"{LATE}\u0000", "event": "view", "timestamp": at(0)},
        {"user_id": LATE, "event": "view", "timestamp": at(0), "value": CARD + "x"},
        {"user_id": LATE, "event": "view", "timestamp": at(0), "domain": IDENTITY},
    ]
    for person in PEOPLE[:3]:
        run.ask("POST", "/v1/events", body={"events": events(person) + bad})
    run.ask("POST", "/v1/events", body={"events": {PEOPLE[0]: WORDS[0]}})
    run.ask("POST", "/v1/events", raw=f'{{"events": [{{"user_id": "{LATE}"'.encode())
    users = "/v1/users/{user_id}"
    for person in (*PEOPLE, UNKNOWN):
        run.ask("GET", f"{users}/profile", user_id=person)
    run.ask("PATCH", f"{users}/interests", user_id=PEOPLE[0], body={"disable": ["adproduct:1118", WORDS[1]]})
    run.ask("PATCH", f"{users}/interests", user_id=UNKNOWN, body={"enable": 7})
    said = {"personalisation": True, "source": WORDS[4], "at": at(5)}
    run.ask("PUT", f"{users}/consent", user_id=PEOPLE[1], body=said)
    run.ask("PUT", f"{users}/consent", user_id=PEOPLE[2], body=said | {"personalisation": False, "tcf": E_MAILS[0]})
    run.ask("PUT", f"{users}/consent", user_id=PEOPLE[2], body=said | {"at": f"{TELEPHONES[1]} gestern"})
    link = [{"platform": "wechat", "id": PEOPLE[3]}]
    run.ask("PUT", f"{users}/identities", user_id=PEOPLE[0], body={"link": link})
    run.ask("PUT", f"{users}/identities", user_id=PEOPLE[0], body={"link": link, "unlink": link})
    run.ask("PUT", f"{users}/identities", user_id=UNKNOWN, body={"unlink": link})
    run.ask("GET", f"{users}/profile", user_id=PEOPLE[0])
    run.ask("GET", f"{users}/nothing", user_id=PEOPLE[0])
    run.ask("POST", f"{users}/profile", user_id=PEOPLE[0], body={"who": PEOPLE[1]})


def uploads(run: Run) -> None:
    system = run.system
    bad = [
        '{"user_id": "' + LATE,
        json.dumps({"user_id": LATE, "event": E_MAILS[0], "timestamp": at(0)}),
        f'["{LATE}"]',
    ]
    rows = [json.dumps(row, ensure_ascii=False) for row in events(UPLOADED, 1200)]  # more than one chunk
    system.upload(f"events/{TENANT}/leak.jsonl", "\n".join(rows + bad).encode())
    header = f"user_id,event,timestamp,text\n{UPLOADED},view,{at(9)},{WORDS[0]} {TELEPHONES[1]}\n{LATE},{CARD},x,\n"
    system.upload(f"events/{TENANT}/leak.csv", header.encode())
    torn = gzip.compress("\n".join(rows[:20]).encode())[:-40]
    system.upload(f"events/{TENANT}/torn.jsonl.gz", torn)
    system.client("s3").put_object(Bucket=resources.NAME, Key="events/nowhere.jsonl", Body=LATE.encode())


def recommendations(run: Run) -> None:
    deadline = time.monotonic() + 60
    while not (answer := run.ask("POST", "/v1/recommendations", body={"user_id": PEOPLE[0], "n": 2})).get("ads"):
        assert time.monotonic() < deadline, answer  # the catalogue is published by now
        time.sleep(0.5)
    shown = {"decision_id": answer["decision_id"], "ad_id": answer["ads"][0]["ad_id"]}
    run.ask("POST", "/v1/recommendations", body={"user_id": UPLOADED, "context": {"language": E_MAILS[0]}})
    run.ask("POST", "/v1/recommendations", body={"user_id": [PEOPLE[0]], "n": WORDS[0]})
    feedback = [shown | {"type": kind, "timestamp": at(0)} for kind in ("impression", "click")]
    lost = {"decision_id": PEOPLE[1], "ad_id": E_MAILS[0], "type": WORDS[0], "timestamp": at(0)}
    run.ask("POST", "/v1/feedback", body={"feedback": [*feedback, lost, lost | {"type": "click"}]})
    asked = {"ad_id": "leak-ad", "n": 1, "language": "zh"}
    run.ask("POST", "/v1/copy", body=asked | {"user_id": PEOPLE[0]})
    run.ask("POST", "/v1/copy", body=asked | {"user_id": UNKNOWN, "channel": E_MAILS[0]})
    run.ask("POST", "/v1/copy", body=asked | {"ad_id": PEOPLE[1]})
    run.ask("GET", "/v1/copy/{job_id}", job_id=PEOPLE[0])


def the_rest(run: Run) -> None:
    """Routes of the contract that no request went to, with a person's id wherever they take one."""
    paths = run.system.http.get("/openapi.json").raise_for_status().json()["paths"]
    contract = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    for method, path in sorted(contract - run.asked, key=lambda one: (one[0] == "DELETE", one)):
        for person in (PEOPLE[1], UNKNOWN):
            run.ask(method, path, body=None if method in ("GET", "DELETE") else {}, each=person)
    assert contract <= run.asked


# Searching ---------------------------------------------------------------------------------------------------------


def readings(data: bytes, depth: int = 4) -> Iterator[str]:
    """The bytes as text, and whatever is packed in them as far as anything here packs: zlib, gzip, base64, escapes."""
    text = data.decode("utf-8", "replace")
    yield text
    if "%" in text:
        yield unquote(text)
    if "\\u" in text:
        yield re.sub(r"\\+u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    if depth == 0:
        return
    for unpack in (gzip.decompress, inflated, lambda packed: base64.b64decode(packed, validate=True)):
        with contextlib.suppress(ValueError, OSError, EOFError, zlib.error, binascii.Error):
            plain = unpack(data)
            if plain and plain != data:
                yield from readings(plain, depth - 1)


def inflated(data: bytes) -> bytes:
    """What a zlib stream holds that begins within the first bytes: some have a stamp before it."""
    for place in range(min(len(data), 64)):
        if data[place] == 0x78:
            with contextlib.suppress(zlib.error):
                return zlib.decompress(data[place:])
    raise ValueError("not packed by zlib")


def values(wire: Any) -> Iterator[bytes]:
    """Every string and binary of a row, in DynamoDB's own form, the names of its attributes too."""
    if isinstance(wire, dict):
        for name, value in wire.items():
            yield name.encode()
            yield from values(value)
    elif isinstance(wire, list):
        for value in wire:
            yield from values(value)
    elif isinstance(wire, bytes):
        yield wire
    else:
        yield str(wire).encode()


def table(system: LocalSystem) -> Iterator[tuple[str, bytes]]:
    for page in system.client("dynamodb").get_paginator("scan").paginate(TableName=resources.NAME):
        for row in page["Items"]:
            for value in values(row):
                yield f"row {row['pk']['S']} {row['sk']['S'][:60]}", value


def objects(system: LocalSystem) -> Iterator[tuple[str, bytes]]:
    """All objects, their keys and metadata, but for the raw uploads."""
    s3 = system.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=resources.NAME):
        for entry in page.get("Contents", ()):
            if not entry["Key"].startswith("events/"):
                found = s3.get_object(Bucket=resources.NAME, Key=entry["Key"])
                yield f"object {entry['Key']}", found["Body"].read()
                yield f"its key and metadata {entry['Key']}", json.dumps([entry["Key"], found["Metadata"]]).encode()


def queues(system: LocalSystem) -> Iterator[tuple[str, bytes]]:
    """Messages that nobody has taken, the dead ones included."""
    sqs = system.client("sqs")
    for url in sqs.list_queues().get("QueueUrls", ()):
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        for message in answer.get("Messages", ()):
            yield f"message in {url}", json.dumps(message).encode()


def logs(system: LocalSystem) -> Iterator[tuple[str, bytes]]:
    for file in (*(system.state / "logs").iterdir(), system.state / "console.txt"):
        for line in file.read_bytes().splitlines():
            yield f"line of {file.name}", line


def found_in(places: Iterator[tuple[str, bytes]], planted: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for place, data in places:
        for text in readings(data):
            found |= dict.fromkeys(f"{one!r} in {place}" for one in planted if one in text)
    return list(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of everything, on a system of its own: what other tests plant is none of this."""
    system = LocalSystem(tmp_path_factory.mktemp("leaks") / "state").start()
    made = Run(system)
    try:
        full_run(made)
        the_rest(made)
        time.sleep(3)  # what it set off in queues comes to its end
        yield made
    finally:
        system.stop()


def test_the_search_finds_what_is_packed() -> None:
    packed = b"3:abc:" + zlib.compress(b"head" + json.dumps([PEOPLE[1]]).encode())
    for data in (packed, base64.b64encode(zlib.compress(PEOPLE[1].encode())), gzip.compress(quote(PEOPLE[1]).encode())):
        assert found_in(iter([("here", data)]), NOBODY_ELSE_S) == [f"{PEOPLE[1]!r} in here"]


def test_rows_know_nobody_by_name(run: Run) -> None:
    rows = list(table(run.system))
    assert found_in(iter(rows), WORDS[:2])  # what events say is kept, so that it would be found
    assert found_in(iter(rows), NOBODY_ELSE_S) == []


def test_objects_know_nobody_by_name(run: Run) -> None:
    assert any(place.startswith("object rejected/") for place, _ in objects(run.system))
    assert found_in(objects(run.system), NOBODY_ELSE_S) == []


def test_messages_know_nobody_by_name(run: Run) -> None:
    assert found_in(queues(run.system), NOBODY_ELSE_S) == []


def test_logs_tell_nothing(run: Run) -> None:
    assert run.interests
    assert any("upload taken in" in line.decode() for _, line in logs(run.system))
    assert found_in(logs(run.system), (*NOBODY_ELSE_S, *WORDS, *sorted(run.interests))) == []


def test_the_language_model_s_log_has_no_prompt(local_system_llm: LocalSystem) -> None:
    run = Run(local_system_llm)
    run.ask("POST", "/v1/events", body={"events": events(UNKNOWN)})
    run.ask("GET", "/v1/users/{user_id}/profile", user_id=UNKNOWN)
    ad = {"title": f"{WORDS[0]}牌智能手机", "landing_url": "https://shop.example.com/8", "language": "zh"}
    answer = run.ask("POST", "/v1/copy", body={"ad": ad | {"domain": "ecommerce"}, "user_id": UNKNOWN, "n": 2})
    shown = {one["served_by"] for one in answer["copies"]} - {"template", "advertiser"}
    assert shown or answer["rejected"], answer  # a model was asked, whatever became of what it wrote
    assert found_in(logs(local_system_llm), (*NOBODY_ELSE_S, *WORDS, *sorted(run.interests))) == []
