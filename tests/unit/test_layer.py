"""The layer: its pinned packages are all there is to install, and its build refuses what would fail in Lambda."""

from __future__ import annotations

import ast
import shutil
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra import layer, sam
from shared import wiring
from shared.domain import Language
from shared.models import reader
from shared.models.artifacts import write_manifest
from shared.policy.reading import SIGNS
from tests.data import ROOT, artifact

# Declared by a package, never imported on our path, and large; the tests in Docker run without them.
LEFT_OUT = {
    "onnxruntime": {"flatbuffers", "packaging", "protobuf", "sympy", "coloredlogs"},
    "tokenizers": {"huggingface-hub"},
}
RUNTIME = {"boto3", "botocore", "snapshot-restore-py"}  # part of Lambda's Python runtime
LAMBDA = {"python_version": layer.PYTHON, "python_full_version": f"{layer.PYTHON}.0", "sys_platform": "linux"}


def pinned() -> dict[str, Requirement]:
    lines = layer.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def test_versions_are_exact_and_those_that_are_tested_here() -> None:
    for name, requirement in pinned().items():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", name
        assert distribution(name).version == specifier.version, name


@pytest.mark.parametrize("name", sorted(pinned()))
def test_dependencies_are_in_the_layer(name: str) -> None:
    needed = set()
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": "", **LAMBDA}):
            needed.add(canonicalize_name(requirement.name))
    assert needed - set(pinned()) <= LEFT_OUT.get(name, set())


@pytest.mark.slow
def test_what_the_code_imports_is_in_the_layer() -> None:
    owners = packages_distributions()
    for path in sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"shared", "functions"}:
                owned = {canonicalize_name(owner) for owner in owners.get(top, [])}
                assert owned & (set(pinned()) | RUNTIME), f"{path.relative_to(ROOT)} imports {top}"


def test_artefacts_are_those_that_the_system_loads() -> None:
    readers = {f"{reader.KIND}-{language}" for language in get_args(Language)}
    assert set(layer.SERVED) == {"encoder", *readers, *(f"taxonomy-{name}" for name in wiring.TAXONOMIES)}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tiny artefacts that the layer's build takes."""
    for name in layer.SERVED:
        folder = tmp_path / "artifacts" / name
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"weights")
        worth = dict.fromkeys((*SIGNS, "bias", "threshold", "strict"), 0.0)
        law = {"threshold": 0.0, "lifted": 0.0, "lifts": [], "rules": []}
        write_manifest(folder, name.split("-")[0], name, metadata={"weights": worth, "policy": law})
    monkeypatch.setattr(layer, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(layer, "install", lambda target: (target / "numpy").mkdir())
    monkeypatch.setattr(layer, "compile_sources", lambda output: None)
    return tmp_path / "artifacts"


def test_build(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    stale = output / "python" / "stale"
    stale.mkdir(parents=True)
    layer.build(output)
    package = output / "python" / "shared"
    assert (package / "artifacts" / "encoder" / "manifest.json").exists()
    assert (package / "wiring.py").exists() and (package / "presets.json").exists()
    assert not (package / "requirements.txt").exists() and not list(package.rglob("__pycache__"))
    assert not stale.exists()
    assert "MB unzipped of 230" in capsys.readouterr().err


def test_missing_and_changed_artefacts_are_refused(made: Path, tmp_path: Path) -> None:
    (made / "encoder" / "model.bin").write_bytes(b"other weights")
    with pytest.raises(layer.BuildError, match="sha256 differs"):
        layer.build(tmp_path / "out")
    (made / "encoder" / "manifest.json").unlink()
    with pytest.raises(layer.BuildError, match="make models"):
        layer.build(tmp_path / "out")


def test_a_reader_that_does_not_say_what_it_is_worth_is_refused(made: Path, tmp_path: Path) -> None:
    write_manifest(made / "reader-en", "reader", "reader-en", metadata={"weights": dict.fromkeys(SIGNS, 0.0)})
    with pytest.raises(layer.BuildError, match="reader-en does not say what it is worth"):
        layer.build(tmp_path / "out")


def test_a_reader_that_says_nothing_of_the_law_is_refused(made: Path, tmp_path: Path) -> None:
    worth = dict.fromkeys((*SIGNS, "bias", "threshold", "strict"), 0.0)
    write_manifest(made / "reader-zh", "reader", "reader-zh", metadata={"weights": worth})
    with pytest.raises(layer.BuildError, match=r"reader-zh says nothing of its policy\.npz"):
        layer.build(tmp_path / "out")


def test_a_layer_over_its_budget_is_refused(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "BUDGET_MB", 0.01)
    with pytest.raises(layer.BuildError, match=r"at most 0\.01"):
        layer.build(tmp_path / "out")


def test_one_large_file_more_and_the_build_says_where_the_megabytes_are(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(target: Path) -> None:
        for name, size in {"numpy": 30_000_000, "onnxruntime": 200_000_000, "orjson": 100_000}.items():
            (target / name).mkdir()
            with (target / name / "engine.so").open("wb") as file:
                file.truncate(size)  # takes no space on the disk

    monkeypatch.setattr(layer, "install", install)
    monkeypatch.setattr(sys, "argv", ["infra.layer", str(tmp_path / "out")])
    assert layer.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: the layer has 23") and said[-1].endswith("at most 230")
    assert [line.split()[-1] for line in said if line.startswith("  ")][:3] == ["onnxruntime", "numpy", "orjson"]


@pytest.mark.slow
def test_the_pinned_packages_and_models_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The packages as they are installed here, compiled: another Python's than Lambda's, but of the same size."""
    for name in layer.SERVED:
        artifact(name)

    def install(target: Path) -> None:
        for name in pinned():
            for file in distribution(name).files or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and source.is_file():
                    (target / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target / file)

    monkeypatch.setattr(layer, "install", install)
    monkeypatch.setattr(layer, "compile_sources", lambda output: None)
    layer.build(tmp_path)
    said = capsys.readouterr().err
    total = layer.megabytes(tmp_path)
    assert 100 < total < layer.BUDGET_MB - 5, said  # five for the function and for what compiles larger
    assert "onnxruntime" in said


def test_symbols_are_taken_out_where_there_is_a_program_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usearch").mkdir()
    foreign = tmp_path / "usearch" / "compiled.so"
    foreign.write_bytes(b"of another system")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert layer.strip(tmp_path) == 0.0
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    assert layer.strip(tmp_path) == 0.0 and foreign.read_bytes() == b"of another system"
    program = tmp_path / "strip"
    program.write_text('#!/bin/sh\n: > "$2"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    assert layer.strip(tmp_path) > 0 and not foreign.read_bytes()


def test_prune_takes_only_what_never_runs(tmp_path: Path) -> None:
    keep = ["numpy/core.py", "numpy-2.0.dist-info/METADATA", "onnxruntime/capi/state.so", "tests_of_mine.py"]
    drop = ["numpy/tests/test_a.py", "numpy/f2py/x.py", "numpy-2.0.dist-info/RECORD", "numpy/lib/a/tests/b.py"]
    drop += ["onnxruntime/capi/libonnxruntime.so.1.32.0", "onnxruntime/tools/x.py", "bin/f2py", "numpy/core.pyi"]
    for name in keep + drop:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    freed = layer.prune(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in layer.files(tmp_path)) == sorted(keep)
    assert freed == pytest.approx(len(drop) / 1000)


def test_sam_sees_no_credentials_of_this_machine(tmp_path: Path) -> None:
    python = tmp_path / ".pyenv" / "versions" / "3.13.1" / "bin" / sam.PYTHON
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    env = {"HOME": str(tmp_path), "PATH": str(tmp_path), "AWS_PROFILE": "mine", "AWS_SECRET_ACCESS_KEY": "mine"}
    local = sam.environment(["local", "invoke"], env)
    assert "AWS_PROFILE" not in local and local["AWS_SECRET_ACCESS_KEY"] == "local"
    assert sam.environment(["build"], env)["PATH"].split(":") == [str(python.parent), str(tmp_path)]
    assert sam.environment(["deploy"], env)["AWS_PROFILE"] == "mine"


def test_sam_build_says_which_python_is_missing(tmp_path: Path) -> None:
    with pytest.raises(sam.Missing, match=r"python3\.13"):
        sam.python_folder({"HOME": str(tmp_path), "PATH": str(tmp_path)})
