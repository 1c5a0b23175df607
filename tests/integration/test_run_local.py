"""`make run`: starting, watching, stopping and starting again, as processes see it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from infra.local import resources, sample
from tests.data import ROOT
from tests.integration.conftest import TENANT, LocalSystem


def events(user: str, count: int) -> bytes:
    now = time.time()
    rows = [
        {"user_id": user, "event": "view", "timestamp": now - i * 60, "event_id": f"{user}-{i}", "text": "智能手机"}
        for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def event_count(system: LocalSystem, user: str) -> int:
    return int(system.http.get(f"/v1/users/{user}/profile").raise_for_status().json()["events"])


def group_of(pid: int) -> set[int]:
    """Every process whose ancestor is `pid`, itself included, as the operating system sees it."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.splitlines()
    children: dict[int, list[int]] = {}
    for line in lines:
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, queue = set(), [pid]
    while queue:
        one = queue.pop()
        found.add(one)
        queue += children.get(one, [])
    return found


def alive(pids: set[int]) -> set[int]:
    lines = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout.splitlines()
    running = {int(line.split()[0]) for line in lines if not line.split()[1].startswith("Z")}
    return pids & running


def gone(pids: set[int], timeout: float = 20) -> bool:
    deadline = time.monotonic() + timeout
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pids)


def test_health_names_every_part(local_system: LocalSystem) -> None:
    body = local_system.http.get("/healthz").raise_for_status().json()
    assert body["status"] == "ok"
    assert body["parts"] == {"aws": True, "models": True, "worker": True}
    assert "encoder" in body["versions"]


def test_one_api_serves_the_four_functions_and_their_documentation(local_system: LocalSystem) -> None:
    assert "swagger" in local_system.http.get("/docs").raise_for_status().text.lower()
    paths = local_system.http.get("/openapi.json").raise_for_status().json()["paths"]
    assert {"/v1/events", "/v1/classify", "/v1/ads", "/v1/copy", "/v1/recommendations", "/v1/feedback"} <= set(paths)
    assert "/healthz" not in paths


def test_everything_listens_on_loopback_only(local_system: LocalSystem) -> None:
    for url in (local_system.url, local_system.aws):
        assert httpx2.URL(url).host == "127.0.0.1"
        port = httpx2.URL(url).port
        own_address = socket.gethostbyname(socket.gethostname())
        if port and not own_address.startswith("127."):
            with socket.socket() as probe:
                assert probe.connect_ex((own_address, port)) != 0


def test_an_upload_with_the_aws_cli_is_taken_in(local_system: LocalSystem, aws_cli: str, tmp_path: Path) -> None:
    file = tmp_path / "by cli 中.jsonl.gz"
    file.write_bytes(gzip.compress(events("cli-user", 7)))
    key = f"events/{TENANT}/{file.name}"
    command = [aws_cli, "--endpoint-url", local_system.aws, "s3", "cp", str(file), f"s3://{resources.NAME}/{key}"]
    subprocess.run(command, check=True, env=os.environ | resources.CREDENTIALS, stdout=subprocess.PIPE, timeout=60)
    report = local_system.report(key)
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (7, 0, 0)
    assert event_count(local_system, "cli-user") == 7


def test_an_upload_to_the_wrong_place_is_refused_and_stops_nothing(local_system: LocalSystem) -> None:
    local_system.client("s3").put_object(Bucket=resources.NAME, Key="events/no-tenant.jsonl", Body=b"{}\n")
    assert local_system.upload(f"events/{TENANT}/after.jsonl", events("after", 2))["accepted"] == 2
    assert "events/no-tenant.jsonl" in (local_system.state / "logs" / "worker.log").read_text()
    assert local_system.health() == 200


def test_a_message_that_nobody_can_read_ends_in_the_dead_letter_queue(local_system: LocalSystem) -> None:
    sqs = local_system.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{resources.NAME}-copy")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="not JSON")
    deadline = time.monotonic() + 60
    while not (dead := sqs.receive_message(QueueUrl=f"{queue}-dlq", WaitTimeSeconds=1).get("Messages")):
        assert time.monotonic() < deadline
    assert dead[0]["Body"] == "not JSON"
    assert local_system.health() == 200


def test_ctrl_c_stops_everything_and_the_data_is_there_again(new_system: LocalSystem) -> None:
    new_system.start()
    assert new_system.upload(f"events/{TENANT}/a.jsonl", events("ann", 5))["accepted"] == 5
    assert event_count(new_system, "ann") == 5
    assert new_system.process is not None
    pids = group_of(new_system.process.pid)
    assert len(pids) >= 4  # the supervisor, the AWS services, the worker, the API
    assert new_system.stop(signal.SIGINT) == 0
    assert gone(pids)
    assert new_system.health() == 0
    assert not (new_system.state / "run.json").exists()

    new_system.start()
    assert event_count(new_system, "ann") == 5
    again = new_system.upload(f"events/{TENANT}/b.jsonl", events("ann", 6))
    assert (again["accepted"], again["duplicates"]) == (1, 5)
    assert new_system.process is not None
    pids = group_of(new_system.process.pid)
    assert new_system.stop(signal.SIGTERM) == 0
    assert gone(pids)


def test_nothing_is_left_and_nothing_lost_when_the_supervisor_is_killed(new_system: LocalSystem) -> None:
    new_system.start()
    new_system.upload(f"events/{TENANT}/a.jsonl", events("bob", 4))
    assert new_system.process is not None
    pids = group_of(new_system.process.pid)
    new_system.stop(signal.SIGKILL)
    assert gone(pids)
    new_system.start()
    assert event_count(new_system, "bob") == 4


def test_when_a_part_ends_the_rest_stops_and_says_which(new_system: LocalSystem) -> None:
    new_system.start()
    worker = int((new_system.state / "run" / "worker").read_text())
    os.kill(worker, signal.SIGKILL)
    assert new_system.process is not None
    assert new_system.process.wait(30) == 1
    assert "The worker ended" in new_system.console()


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "infra.run_local", "--port", str(port), "--llm", "none", "--state", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stdout
    assert f"make run PORT={port + 1}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_one_on_the_same_state_says_where_the_first_is(local_system: LocalSystem) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.run_local", "--port", "0", "--llm", "none", "--state", str(local_system.state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"It runs already on {local_system.url}" in done.stdout
    assert local_system.health() == 200


def test_the_language_model_decodes_eight_candidates_at_once(local_system_llm: LocalSystem) -> None:
    body = {
        "messages": [
            {"role": "user", "content": "商品：云栖保温杯。500ml 不锈钢真空保温杯。\n广告文案："},
            {"role": "assistant", "content": "云栖保温杯，轻巧随行，一口温热。"},
            {"role": "user", "content": "商品：星辰智能手机。6.7英寸屏幕。\n广告文案："},
        ],
        "n": 8,
        "max_tokens": 32,
        "stop": ["\n"],
    }
    answer = httpx2.post(f"{local_system_llm.llm}/chat/completions", json=body, timeout=120, trust_env=False)
    texts = [choice["message"]["content"] for choice in answer.raise_for_status().json()["choices"]]
    assert len(texts) == 8
    assert len(set(texts)) > 1
    assert sum("手机" in text or "星辰" in text for text in texts) >= 3  # they are sampled
    assert local_system_llm.http.get("/healthz").json()["parts"]["llm"] is True


def test_the_licence_of_the_model_is_shown_once(local_system_llm: LocalSystem) -> None:
    assert "Gemma Terms of Use" in local_system_llm.console()
    assert local_system_llm.stop() == 0
    local_system_llm.start()
    assert "Gemma Terms of Use" not in local_system_llm.console()


@pytest.mark.slow
def test_the_sample_is_taken_in_once_and_health_waits_for_it(new_system: LocalSystem) -> None:
    new_system.arguments = ("--llm", "none", "--sample")
    new_system.start(until=(200, 503))
    first = new_system.http.get("/healthz")
    assert first.status_code == 503
    assert first.json()["parts"]["sample"] is False
    deadline = time.monotonic() + 300
    while new_system.health() != 200:
        assert time.monotonic() < deadline, new_system.console()
        time.sleep(0.5)
    sent = sum(len(path.read_text().splitlines()) for path in sample.ads())
    reports = [new_system.report(f"ads/{TENANT}/{path.name}") for path in sample.ads()]
    assert sum(row["accepted"] + row["duplicates"] + row["rejected"] for row in reports) == sent
    assert sum(row["rejected"] for row in reports) == 0
    person = sample.people()[0]["user_id"]
    body = {"user_id": person, "n": 3}
    shown = new_system.http.post("/v1/recommendations", json=body).raise_for_status().json()["ads"]
    assert len(shown) == 3
    assert all(ad["reasons"] and ad["copy"] for ad in shown)
    assert "Ready after" in new_system.console()
    before = event_count(new_system, person)
    assert new_system.stop() == 0
    new_system.start()
    assert "Uploading" not in new_system.console()
    assert event_count(new_system, person) == before
