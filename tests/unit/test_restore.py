"""SnapStart: what is warmed before the snapshot, and that processes made of one snapshot share nothing but that."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from shared import restore, wiring
from shared.settings import Settings
from shared.stores.clients import Deferred
from shared.stores.faults import watch
from shared.wiring import System, system
from tests.conftest import REGION
from tests.data import ROOT

FUNCTIONS = {
    "classify": "/v1/classify",
    "generate": "/v1/copy",
    "profile": "/v1/events",
    "recommend": "/v1/recommendations",
}
pytestmark = pytest.mark.slow
# One process is warmed and stands for the snapshot. A fork is a copy of its memory, but Python gives it random numbers
# of its own, which a restored snapshot does not get: so its generators are put back to where the snapshot had them.
SNAPSHOT = """
import json, os, random, sys
import boto3, numpy
from awslambdaric import lambda_runtime_hooks_runner as runtime
from moto import mock_aws
from shared.stores import faults
from shared.wiring import system
from tests.conftest import make_resources
from tests.fakes.models import TopicClassifier, TopicEncoder

def used(**_):
    raise AssertionError("a client of before the snapshot was used after it")

def process(handler, hook, state):
    reader, writer = os.pipe()
    if os.fork() == 0:
        random.setstate(state[0]); numpy.random.set_state(state[1])
        if hook:
            runtime.run_after_restore()
        waits = []
        faults.time.sleep = waits.append
        faults.pause(5, "the table")
        answer = {"random": random.random(), "numpy": numpy.random.random(), "jitter": waits}
        event = {"action": "recommend", "tenant": "demo", "user_id": "u1", "n": 1}
        answer["decision"] = handler.lambda_handler(event, None)["decision_id"]
        with os.fdopen(writer, "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        answer = answers.read()
    os.wait()
    return json.loads(answer)

with mock_aws():
    session = boto3.Session()
    made = make_resources(session.client("dynamodb"), session.client("s3"), session.client("sqs"), "adtailor-test")
    os.environ |= {"CATALOGUE_QUEUE_URL": made.catalogue_queue_url}
    classifier = TopicClassifier()
    system().__dict__.update(
        encoder=TopicEncoder(), classifiers={"adproduct": classifier, "content": classifier}, versions={"encoder": "t"}
    )
    ad = {"ad_id": "a", "title": "running shoes", "landing_url": "https://example.com", "language": "en",
          "domain": "ecommerce"}
    system().classifying.put_ads("demo", [ad])
    system().classifying.publish("demo")
    from functions.recommend import handler
    warmed = sorted(set(system().__dict__) & {"stores", "recommending", "descriptions", "encoder"})

    assert handler.lambda_handler({"action": "recommend", "tenant": "demo", "user_id": "u1", "n": 1}, None)["ads"]
    before = system().stores.table.client
    before.meta.events.register_first("before-send.dynamodb", used)
    runtime.run_before_snapshot()
    state = random.getstate(), numpy.random.get_state()
    print(json.dumps({
        "warmed": warmed,
        "held": sorted(set(system().__dict__) & {"stores", "recommending", "snapshots", "descriptions", "encoder"}),
        "same": system().stores.table.client is before,
        "with": [process(handler, True, state) for _ in range(2)],
        "without": [process(handler, False, state) for _ in range(2)],
    }))
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What processes made of one snapshot did, with the hooks and without."""
    env = {
        "PATH": "/usr/bin",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "TABLE_NAME": "adtailor-test",
        "BUCKET_NAME": "adtailor-test",
        "CONSENT_BASIS": "asserted",
        "PSEUDONYM_KEY_FILE": str(tmp_path_factory.mktemp("snapshot") / "key"),
    }
    command = [sys.executable, "-c", SNAPSHOT]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("what", ["random", "numpy", "jitter", "decision"])
def test_restored_processes_differ(snapshot: dict[str, Any], what: str) -> None:
    one, other = snapshot["with"]
    assert one[what] != other[what]


@pytest.mark.parametrize("what", ["random", "numpy", "jitter"])
def test_without_the_hook_they_repeat_each_other(snapshot: dict[str, Any], what: str) -> None:
    one, other = snapshot["without"]
    assert one[what] == other[what]


def test_the_snapshot_holds_what_was_learned_and_no_client(snapshot: dict[str, Any]) -> None:
    assert snapshot["warmed"] == ["descriptions", "encoder"]
    assert snapshot["held"] == ["descriptions", "encoder"]  # though an event had been served before it
    assert snapshot["same"] is False


@pytest.mark.parametrize(
    ("kind", "warmed", "hooks"),
    [("", False, 0), ("on-demand", False, 0), ("provisioned-concurrency", True, 0), ("snap-start", True, 1)],
)
def test_only_what_is_made_ahead_is_warmed(
    kind: str, warmed: bool, hooks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = SimpleNamespace(before=[], after=[])
    module = SimpleNamespace(register_before_snapshot=hooked.before.append, register_after_restore=hooked.after.append)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", module)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    monkeypatch.setattr(restore, "rehearse", lambda app, path: 422)
    monkeypatch.setattr(System, "parse", lambda self: None)
    loaded: list[str] = []
    restore.prepare(FastAPI(), "/", lambda: loaded.append("model"))
    assert (loaded == ["model"], len(hooked.before), len(hooked.after)) == (warmed, hooks, hooks)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_rehearsal_goes_through_the_api_and_reaches_no_store(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "dev")
    system.cache_clear()
    try:
        assert restore.rehearse(importlib.import_module(f"functions.{name}.handler").app, FUNCTIONS[name]) == 422
        assert "stores" not in system().__dict__
    finally:
        system.cache_clear()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_prepares_itself(name: str) -> None:
    lines = (ROOT / "functions" / name / "handler.py").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == f'prepare(app, "{FUNCTIONS[name]}", warm)'


def test_what_is_kept_are_parts_of_the_system() -> None:
    assert all(isinstance(vars(System)[name], cached_property) for name in wiring.LEARNED)


def test_renewal_forgets_clients_and_what_holds_them(built: System) -> None:
    stores, profiling, encoder = built.stores, built.profiling, built.encoder
    stores.table.get("a", "b")
    old = stores.table.client._made
    built.renew()
    assert built.encoder is encoder
    assert built.stores is not stores and built.profiling is not profiling
    assert built.stores.table.get("a", "b") is None
    assert built.stores.table.client._made is not old


class Client:
    closed = 0

    def close(self) -> None:
        self.closed += 1

    def ask(self) -> str:
        return "answer"


def test_a_deferred_client_is_made_when_it_is_used() -> None:
    made: list[Client] = []
    seen: list[Client] = []

    def make() -> Client:
        made.append(Client())
        return made[-1]

    client = Deferred(make)
    client.when_made(seen.append)
    client.drop()
    assert made == []
    assert client.ask() == client.ask() == "answer"
    client.drop()
    assert len(made) == 1 and made[0].closed == 1
    assert client.ask() == "answer"
    assert len(made) == 2 and seen == made


def test_a_deferred_client_keeps_to_the_request_s_patience_once_it_is_made() -> None:
    registered: list[str] = []
    events = SimpleNamespace(register_first=lambda name, handler, unique_id: registered.append(name))
    service = SimpleNamespace(service_id=SimpleNamespace(hyphenize=lambda: "dynamodb"))
    meta = SimpleNamespace(config=SimpleNamespace(read_timeout=10), events=events, service_model=service)
    client = Deferred(lambda: SimpleNamespace(meta=meta, ask=lambda: None))
    watch(client, "the table")
    assert registered == []
    client.ask()
    assert registered == ["before-send.dynamodb"]


def test_taxonomies_are_loaded_one_by_one(tmp_path: Path) -> None:
    classifiers = System(Settings(artifacts_dir=tmp_path)).classifiers
    assert list(classifiers) == list(wiring.TAXONOMIES)
    assert "fashion" not in classifiers
