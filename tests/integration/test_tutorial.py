"""The guides' commands: blocks marked ``sh`` run as they stand against a local system. Those for AWS:
tests/sam/test_guides.py; what is not run, and why: test_documents.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from infra.importers.mapping import parse_mapping
from tests import documents
from tests.data import ROOT
from tests.documents import GUIDES
from tests.integration.conftest import LocalSystem

OTHERS = sorted(path.name for path in GUIDES.glob("*.md") if path.name != "own-data.md")


def blocks(guide: str, kind: str) -> list[str]:
    """The guide's blocks of one kind, in their order."""
    return documents.blocks(GUIDES / guide, kind)


def run(
    command: str, folder: Path, system: LocalSystem | None = None, timeout: float = 180
) -> subprocess.CompletedProcess[str]:
    where = {"ADTAILOR_URL": system.url, "ADTAILOR_AWS_URL": system.aws} if system else {}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | where | {"PATH": path, "COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        ["sh", "-e", "-c", command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def followed(guide: str, folder: Path, system: LocalSystem) -> None:
    """Runs every block of the guide; each must succeed."""
    for block in blocks(guide, "sh"):
        done = run(block.replace('PATH="$PWD/.venv/bin:$PATH"', 'PATH="$PATH"'), folder, system)
        assert done.returncode == 0, f"{guide}:\n{block}\n{done.stdout}{done.stderr}"


def test_own_data_from_csv_to_recommendations(new_system: LocalSystem, tmp_path: Path) -> None:
    """Every command of the tutorial succeeds, and people get what fits what they did."""
    system, folder = new_system.start(), tmp_path / "newcomer"
    folder.mkdir()
    begun = time.monotonic()
    followed("own-data.md", folder, system)
    print(f"from CSV to recommendations in {time.monotonic() - begun:.0f} s")

    def ads(user: str) -> list[str]:
        done = run(f"adtailor recommend {user} -n 3 --json", folder, system)
        return [ad["ad_id"] for ad in json.loads(done.stdout)["ads"]]

    assert ads("m001")[0] in ("P300", "P301")  # coffee, and not what was bought
    assert ads("m002")[0] == "P201"
    [script] = blocks("own-data.md", "python")
    (folder / "script.py").write_text(script, encoding="utf-8")
    said = run("python script.py", folder, system)
    assert re.match(r"P40[01] ", said.stdout), said.stdout + said.stderr  # something to run in
    command = "adtailor import mine/behaviour.csv -m mine/behaviour.mapping.yaml --json"
    assert json.loads(run(f"{command} --upload", folder, system).stdout)["upload"]["again"] is True
    report = json.loads(run(f"{command} --dry-run", folder, system).stdout)
    assert [one["examples"][0]["line"] for one in report["rejected"]] == [12]
    assert list(report["skipped"].values()) == [1]


def test_another_trade_s_files_go_in_by_what_was_guessed(local_system: LocalSystem, tmp_path: Path) -> None:
    """Courses and enrolments with headers of their own: nothing is mended by hand but what people did not do."""
    courses = "Course Ref,Course Name,Blurb,Tuition (GBP),Web page\n" + "".join(
        f"TR-{n},{name},{blurb},{price},https://learn.example.org/c/{n}\n"
        for n, (name, blurb, price) in enumerate(
            [
                ("Beginners' Spanish evening course", "Ten evenings of spoken Spanish", "£180.00"),
                ("Spanish conversation course", "Spanish in small groups", "£95.50"),
                ("Woodworking weekend", "Joints and planes", "£120.00"),
            ]
        )
    )
    (tmp_path / "courses.csv").write_text(courses, encoding="utf-8-sig")
    enrolments = [
        "Learner No.;Course Ref;Status;Enrolled On",
        "LT1;TR-0;Completed;13/11/2026",
        "LT1;TR-9;Dropped out;14/11/2026",
    ]
    (tmp_path / "enrolments.csv").write_bytes("\r\n".join(enrolments).encode())
    for name in ("courses", "enrolments"):
        done = run(f"adtailor import {name}.csv --guess", tmp_path, local_system)
        assert done.returncode == 0, done.stderr
        done = run(f"adtailor import {name}.csv -m {name}.mapping.yaml --upload", tmp_path, local_system)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rejected" in done.stdout and "Dropped out" in done.stdout
    answer = run("adtailor recommend LT1 -n 1 --domain education --language en --json", tmp_path, local_system)
    assert json.loads(answer.stdout)["ads"][0]["ad_id"] == "TR-1"


@pytest.mark.parametrize("guide", [guide for guide in OTHERS if blocks(guide, "sh")])
def test_commands_of_the_guides(guide: str, local_system: LocalSystem, tmp_path: Path) -> None:
    followed(guide, tmp_path, local_system)


def test_a_line_that_the_product_refuses_is_shown_with_its_number(local_system: LocalSystem, tmp_path: Path) -> None:
    lines = ['{"user_id": "cli-1", "event": "view", "timestamp": 1, "text": "phone"}', "broken"]
    lines.append(f'{{"user_id": "cli-1", "event": "view", "timestamp": {time.time()}, "text": "a phone"}}')
    (tmp_path / "cli-events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run("adtailor upload cli-events.jsonl --strict", tmp_path, local_system)
    assert done.returncode == 4, done.stderr
    assert "1 in, 0 duplicates, 2 rejected" in done.stdout
    assert re.search(r"^\s*1\s+timestamp\s", done.stdout, re.MULTILINE)
    assert re.search(r"^\s*2\s+row\s", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("text", blocks("own-data.md", "yaml"))
def test_mapping_files_in_the_guide_are_mappings(text: str) -> None:
    parse_mapping(yaml.safe_load(text))


def test_the_policy_pack_in_the_guide_works(tmp_path: Path) -> None:
    """In a process of its own: packs are read once."""
    [pack] = blocks("own-policy-pack.md", "json")
    script = """
import json, shutil, sys
from pathlib import Path
from shared.policy import packs
folder = Path(sys.argv[1]) / "packs"
shutil.copytree(packs.FOLDER, folder)
(folder / "own.json").write_text(sys.stdin.read(), encoding="utf-8")
packs.FOLDER, packs.PACKS = folder, (*packs.PACKS, "own")
from shared.policy.rules import check
texts = ["北风保温杯清仓甩卖", "我们的杯子比南山牌好", "比南山牌好，见实测报告", "新到的保温杯"]
found = [check(text, "ecommerce", "CN", likeness=False) for text in texts]
print(json.dumps([[[one.rule, one.rewrite] for one in findings] for findings in found]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], input=pack, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[["own.words", "北风保温杯优惠"]], [["own.rivals", None]], [], []]
