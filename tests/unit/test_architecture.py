"""The house's rules, read off the code: which way imports point, and what must not happen on import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.data import ROOT

# A module may import from its own layer's packages only downwards: a lower number.
LAYERS = {
    "domain": 0,
    "errors": 0,
    "telemetry": 0,
    "settings": 0,
    "tenants": 0,
    "presets": 1,
    "preprocess": 1,
    "policy": 1,
    "uploads": 1,
    "models": 2,
    "stores": 3,
    "ingest": 4,
    "categories": 3,
    "firewall": 3,
    "comparing": 4,
    "recording": 4,
    "clusters": 1,
    "evidence": 4,
    "event_vectors": 4,
    "interests": 4,
    "profiles": 4,
    "snapshot": 4,
    "rebuilding": 4,
    "splitting": 4,
    "retrieval": 4,
    "assembly": 3,
    "index": 2,
    "publishing": 4,
    "refreshing": 4,
    "bandit": 1,
    "exploration": 1,
    "pacing": 1,
    "trained": 4,
    "scoring": 4,
    "eligibility": 4,
    "histories": 4,
    "reasons": 4,
    "variants": 4,
    "feedback": 4,
    "decision_log": 4,
    "profiling": 5,
    "classifying": 5,
    "generating": 5,
    "recommending": 5,
    "openrtb": 6,
    "training": 5,
    "ranker_training": 5,
    "ranker_inputs": 4,
    "promotion": 4,
    "sweeping": 4,
    "exporting": 5,
    "erasing": 5,
    "labels": 2,
    "quotas": 4,
    "bodies": 2,
    "scopes": 1,
    "limits": 1,
    "unforeseen": 1,
    "idempotency": 6,
    "reporting": 5,
    "uploading": 5,
    "wiring": 6,
    "foresight": 7,
    "entry": 7,
    "profile_answers": 7,
    "restore": 7,
}
USE_CASES = {
    "profiling",
    "classifying",
    "generating",
    "recommending",
    "training",
    "ranker_training",
    "reporting",
    "uploading",
}
OFFLINE_ONLY = {"torch", "transformers", "sklearn", "pandas", "infra", "functions", "tests"}
LONGEST = 500


def modules(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "artifacts" not in path.parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, wherever in it, except for type checking alone."""
    tree = parsed(path)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.name == "__init__.py", f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT / "shared").parts[0].removesuffix(".py")


def test_imports_in_shared_point_one_way() -> None:
    wrong = []
    for path in modules("shared"):
        own = room(path)
        if own == "__init__":
            continue
        assert own in LAYERS, f"shared/{own} has no place in the order of imports"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "shared" or len(parts) < 2 or parts[1] == own:
                continue
            lower = LAYERS[parts[1]] < LAYERS[own] or (LAYERS[parts[1]] == LAYERS[own] and own not in USE_CASES)
            if not lower or (parts[1] == "settings" and own != "wiring"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("folder", ["shared", "functions"])
def test_nothing_online_imports_what_is_for_training(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in imports(path)
        if name.split(".")[0] in OFFLINE_ONLY
    ]
    assert wrong == []


def test_functions_do_not_import_each_other() -> None:
    for path in modules("functions"):
        for name in imports(path):
            assert not name.startswith("functions"), f"{path.relative_to(ROOT)} imports {name}"


def test_only_settings_reads_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for folder in ("shared", "functions")
        for path in modules(folder)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    ]
    assert set(readers) == {"shared/settings.py"}


@pytest.mark.parametrize("folder", ["shared", "functions"])
def test_nothing_random_is_made_on_import(folder: str) -> None:
    """A snapshot would hand it to every process made of it; the hooks of shared/restore.py know only global state."""
    sources = {"Random", "default_rng", "RandomState", "uuid4", "uuid1", "token_hex", "token_bytes", "urandom"}
    wrong = []
    for path in modules(folder):
        pending: list[ast.AST] = [parsed(path)]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno} calls {called}"] * (called in sources)
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                pending.extend(ast.iter_child_nodes(node))
    assert wrong == []


@pytest.mark.parametrize("folder", ["shared", "functions", "infra"])
def test_modules_stay_readable(folder: str) -> None:
    long = {str(p.relative_to(ROOT)): n for p in modules(folder) if (n := len(p.read_text().splitlines())) > LONGEST}
    assert long == {}


@pytest.mark.slow
def test_importing_the_layer_opens_nothing_and_stays_light() -> None:
    """In a fresh process with the network off: no client, no model, no torch, no read of a setting."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules("shared") + modules("functions")
    ]
    names = [name.removesuffix(".__init__") for name in names]
    program = f"""
import socket, sys, json
def refuse(*a, **k): raise AssertionError("the network was used on import")
socket.socket.connect = refuse
import importlib
for name in {names!r}: importlib.import_module(name)
print(json.dumps([m for m in ("torch", "transformers", "boto3", "botocore.client") if m in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not set(json.loads(done.stdout.splitlines()[-1])) & {"torch", "transformers"}


def test_make_test_runs_every_suite() -> None:
    suites = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["testpaths"]
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ntest:")[2].partition("\nelse")[0]
    assert {word.rstrip(";") for word in recipe.split() if word.startswith("tests/")} == set(suites)
