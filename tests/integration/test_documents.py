"""Every command of the README and the guides is run by a test, or stands in a list that says why not; the README's
answers are what the system answers; every file that a document names is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from infra.local.sample import people
from tests.data import ROOT
from tests.documents import BY_HAND, DOCUMENTS, GUIDES, Command, blocks, commands, reason
from tests.integration.conftest import LocalSystem, _need_parts
from tests.integration.test_tutorial import run

ALL = [command for path in DOCUMENTS for command in commands(path)]
NOT_RUN = [one for one in ALL if one.kind in ("sh by-hand", "indented", "inline")]
RUN = {
    "sh": "tests/integration/test_tutorial.py",
    "sh aws": "tests/sam/test_guides.py",
    "console": "tests/integration/test_documents.py",
}
# What only passes arguments on: to the SAM CLI, to the Makefile, to a task's own command.
_PASSED_ON = ("infra.sam", "infra.emulator")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_NUMBER = re.compile(r"^[\d.,/:TZ-]+$")
_MADE = re.compile(r"^shared/(artifacts|data)\b|/packs/own\.json$")  # by commands, and by their reader
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*\.?[\w-]*)`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]+)?\)")


def test_every_command_is_run_or_listed_with_a_reason() -> None:
    unlisted = [f"{one.document}: {one.text}" for one in NOT_RUN if reason(one) is None and not _sets(one)]
    assert unlisted == []
    assert len(ALL) > 150
    for kind, module in RUN.items():
        assert any(one.kind == kind for one in ALL) and (ROOT / module).exists(), (kind, module)


def test_the_list_has_nothing_that_no_document_says() -> None:
    assert sorted(set(BY_HAND) - {reason(one) for one in NOT_RUN}) == []


def test_tests_that_the_list_names_are_there() -> None:
    named = {path for why in BY_HAND.values() for path in re.findall(r"tests/[\w/]+\.py", why)}
    assert named and [path for path in sorted(named) if not (ROOT / path).exists()] == []


def _sets(command: Command) -> bool:
    return command.text.startswith("export ")


@pytest.mark.parametrize("command", sorted({one.text for one in ALL if one.kind not in ("sh", "console")}))
def test_commands_that_are_not_run_call_what_exists(command: str) -> None:
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    program = words[0] if words else ""
    if program == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), command
    elif program == "pytest":
        missing = [word for word in words[1:] if word.startswith("tests/") and not (ROOT / word).exists()]
        assert missing == []
    elif program == "adtailor":
        called = [word for word in words[1:3] if re.fullmatch("[a-z]+", word)]
        _asks_for_known_options(["infra.cli", *(called if called[0] in ("train", "evaluate") else called[:1])], command)
    elif program in ("python", "torchrun") and "-m" in words:
        module = words[words.index("-m") + 1]
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), command
        if module not in _PASSED_ON:
            task = [word for word in words[words.index("-m") + 2 :][:1] if module == "infra.evaluate"]
            _asks_for_known_options([module, *task], command.partition(f"-m {module}")[2])


def _asks_for_known_options(called: list[str], command: str) -> None:
    wanted = set(_OPTION.findall(command))
    if not wanted and called[0] != "infra.cli":
        return
    done = subprocess.run(
        [sys.executable, "-m", *called, "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert wanted <= set(_OPTION.findall(done.stdout)), command


# The README's answers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A local system with the sample taken in."""
    _need_parts()
    system = LocalSystem(tmp_path_factory.mktemp("sampled") / "state", ("--llm", "none")).start()
    try:
        deadline = time.monotonic() + 60
        while not all(
            httpx2.get(f"{system.url}/v1/users/{one['user_id']}/profile", trust_env=False).is_success
            for one in people()
            if one["user_id"].startswith("u-health")
        ):
            assert time.monotonic() < deadline, "the sample's people are not known within a minute"
            time.sleep(0.5)
        yield system
    finally:
        system.stop()


def told(path: Path) -> list[tuple[str, list[str]]]:
    """Each command of the document's `console` blocks, with the lines that it is said to answer."""
    found: list[tuple[str, list[str]]] = []
    for body in blocks(path, "console"):
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append((line[2:].partition("   #")[0].strip(), []))
            elif line.strip():
                found[-1][1].append(line)
    return found


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "console")], ids=lambda path: path.name)
def test_answers_are_those_that_a_document_shows(path: Path, sampled: LocalSystem, tmp_path: Path) -> None:
    """Words and ids; scores move with the clock. What a language model wrote is another text each time."""
    for command, lines in told(path):
        done = run(command.replace("http://127.0.0.1:8080", sampled.url), tmp_path, sampled)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if command.startswith("adtailor copy"):
            assert done.stdout.startswith(("template", "bank", "advertiser")), done.stdout  # no model runs here
            continue
        said = set(done.stdout.split())
        words = [word for line in lines for word in re.sub(r'[{}":,]', " ", line).split()] if "{" in lines[0] else []
        words = [word for word in words if word.isidentifier()] or [word for line in lines for word in line.split()]
        missing = [one for one in words if not _NUMBER.match(one) and one not in said and one not in done.stdout]
        assert missing == [], f"{command}\n{done.stdout}"


# What they name ------------------------------------------------------------------------------------


def names(text: str) -> set[str]:
    """Paths within the repository that stand in code marks."""
    return {one for one in _FILE.findall(text) if one.startswith(("infra/", "shared/", "tests/", "functions/"))}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(path: Path) -> None:
    text = path.read_text("utf-8")
    missing = [name for name in sorted(names(text)) if not _MADE.search(name) and not (ROOT / name).exists()]
    missing += [link for link in _LINK.findall(text) if not (path.parent / link).exists()]
    missing += [
        name for name in re.findall(r"`((?:infra|shared|tests|functions)\.[\w.]+)`", text) if not _importable(name)
    ]
    assert missing == []


def _importable(name: str) -> bool:
    """Whether a module, or something in one, is called so."""
    parts = name.split(".")
    for end in (len(parts), len(parts) - 1, len(parts) - 2):
        place = ROOT.joinpath(*parts[:end])
        if end > 1 and (place.with_suffix(".py").exists() or place.is_dir()):
            source = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
            rest = parts[end:]
            return not rest or re.search(rf"\b{rest[0]}\b", source.read_text("utf-8")) is not None
    return False


def test_places_of_the_architecture_page_are_there() -> None:
    """The tree's own lines: each folder or module that it begins with, under the folder that it is indented below."""
    tree = (GUIDES / "architecture.md").read_text("utf-8").partition("## Every place")[2]
    above = ""
    missing = []
    for line in tree.splitlines():
        found = re.match(r"^( {4}| {6})(\S.*?)(?: {2,}|$)", line)
        if found is None:
            continue
        deep = len(found[1]) == 6
        if not deep:
            above = found[2].split()[0].rstrip(",")
        for name in re.findall(r"(?<![\w*/.-])[\w-]+(?:\.py|/|\.yaml|\.md)(?=[:,;]? |$)", line):
            if not any((ROOT / folder / name).exists() for folder in ((above,) if deep else ("", above))):
                missing.append(f"{above}{name}")
    assert missing == []


def test_the_guides_index_names_every_guide() -> None:
    index = (GUIDES / "README.md").read_text("utf-8")
    assert [
        path.name for path in GUIDES.glob("*.md") if path.name != "README.md" and f"({path.name})" not in index
    ] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
