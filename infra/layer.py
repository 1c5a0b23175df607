"""Builds the Lambda layer: `python -m infra.layer FOLDER` fills FOLDER/python with the package `shared`, its pinned
dependencies and its model files, pruned of what never runs. `sam build` calls it through shared/Makefile.

Wheels are chosen by tag for Lambda's Linux, so any machine with Python 3.11+ and pip builds the same layer.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ArtifactError
from shared.models.artifacts import find, verify
from shared.models.policy_reader import learned
from shared.models.reader import KIND as READER
from shared.models.reader import check_worth

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "shared" / "requirements.txt"
ARTIFACTS = ROOT / "shared" / "artifacts"
# What shared/wiring.py loads from the layer.
SERVED = ("encoder", "taxonomy-adproduct", "taxonomy-content", "reader-zh", "reader-en")
PYTHON = "3.13"
# Amazon Linux 2023 has glibc 2.34; every tag here promises to need less.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
BUDGET_MB = 230  # layer and function, unzipped; Lambda's own limit is 250

# Globs below the folder of installed packages, and why nothing misses them.
UNUSED = (
    "bin",  # console scripts
    "*.dist-info/RECORD",  # pip's bookkeeping (METADATA stays: importlib.metadata reads it)
    "*.dist-info/sboms",  # what was compiled into a wheel, for who audits it there
    "**/tests",
    "**/*.pyi",
    "**/*.pxd",
    "**/*.pyx",
    "**/*.h",
    "onnxruntime/capi/libonnxruntime.so.*",  # for C programs: Python's binding holds the engine itself
    "onnxruntime/backend",  # these four make and tune models; serving loads finished ones
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "numpy/f2py",  # wraps Fortran
    "numpy/polynomial",  # these two are imported when they are first asked for, which nothing does
    "numpy/testing",
    "numpy/_core/_*_tests.*.so",  # numpy's own tests
    "numpy/_core/_simd.*.so",  # the same: numpy computes with _multiarray_umath
    "numpy/_pyinstaller",
    "numpy/**/lib*.a",  # for C extensions that link numpy
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",  # FastAPI serves the API here
    "bitarray/test_*",
    "phonenumbers/shortdata/region_*.py",  # numbers like 110, which nobody's text is searched for
    "stdnum/[abd-tv-z][a-z]",  # national ids but those of cn and us
    "stdnum/c[a-mo-z]",
    "stdnum/u[a-rt-z]",
    "stdnum/i[ns]_",
    "stdnum/cn/loc.dat",
    "stdnum/imsi.dat",
    "stdnum/oui.dat",
)


# Extension modules that carry symbols which only a debugger or a linker reads, more than a third of each.
SYMBOLS = ("usearch/*.so", "tokenizers/*.so", "simsimd*.so")


class BuildError(Exception):
    """The layer cannot be built; the message says what to do."""


def build(output: Path) -> None:
    """Fills `output` with the layer, whatever was there before.

    Raises:
        BuildError: model files are missing or stale, pip fails, or the layer is over `BUDGET_MB`.
    """
    folders = artefacts()
    packages = output / "python"
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir(parents=True)
    install(packages)
    freed = prune(packages) + strip(packages)
    copy_package(packages / "shared")
    for name, folder in folders.items():
        shutil.copytree(folder, packages / "shared" / "artifacts" / name)
    compile_sources(output)
    total = megabytes(output)
    print(f"layer: {total:.0f} MB unzipped of {BUDGET_MB} ({freed:.0f} MB pruned)", file=sys.stderr)
    for size, part in largest(packages):
        print(f"  {size:6.1f} MB  {part}", file=sys.stderr)
    if total > BUDGET_MB:
        raise BuildError(f"the layer has {total:.0f} MB unzipped: at most {BUDGET_MB}")


def artefacts() -> dict[str, Path]:
    """The verified folders of the model files that are served, by name.

    Raises:
        BuildError: one is missing, or is not what its manifest says.
    """
    try:
        folders = {name: find(ARTIFACTS, name) for name in SERVED}
        for folder in folders.values():
            manifest = verify(folder)
            if manifest.kind == READER:
                check_worth(manifest)
                learned(manifest.name, manifest.metadata)
    except ArtifactError as error:
        raise BuildError(f"the layer needs the model files. {error.detail}") from error
    return folders


def install(target: Path, requirements: Path = REQUIREMENTS) -> None:
    """Installs exactly the packages of `requirements`, as wheels for Lambda's Linux.

    Raises:
        BuildError: pip cannot.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--no-deps", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={PYTHON}", *(f"--platform={tag}" for tag in PLATFORMS)]
    command += [f"--target={target}", f"--requirement={requirements}"]
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError(f"pip could not install {requirements} for Lambda; its message stands above")


def prune(packages: Path) -> float:
    """Removes what never runs; returns the MB freed."""
    before = megabytes(packages)
    for pattern in UNUSED:
        for path in list(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return before - megabytes(packages)


def strip(packages: Path) -> float:
    """Takes the symbols out of `SYMBOLS`, where binutils are there to do it; returns the MB freed."""
    program = shutil.which("strip")
    if program is None:
        print("layer: no `strip` (binutils) here, so it is some 11 MB larger", file=sys.stderr)
    before = megabytes(packages)
    for pattern in SYMBOLS if program else ():
        for path in packages.glob(pattern):
            # One that cannot read Linux's format, as on macOS, leaves the file as it is.
            subprocess.run([str(program), "--strip-unneeded", str(path)], check=False, capture_output=True)
    return before - megabytes(packages)


def copy_package(target: Path) -> None:
    """Copies the package `shared` without what only builds need."""
    skip = shutil.ignore_patterns("__pycache__", "artifacts", "requirements.txt", "Makefile")
    shutil.copytree(ROOT / "shared", target, ignore=skip)


def compile_sources(output: Path) -> None:
    """Compiles for Lambda's Python, if it is at hand: /opt is read-only there, so each cold start would compile anew.

    Checked by nothing at run time, since packaging changes the files' times.
    """
    python = shutil.which(f"python{PYTHON}")
    if python is None:
        print(f"layer: no python{PYTHON} here, so it is not compiled: cold starts take longer", file=sys.stderr)
        return
    command = [python, "-m", "compileall", "-qq", "-j0", "--invalidation-mode=unchecked-hash"]
    subprocess.run([*command, f"-s{output}", "-p/opt", str(output / "python")], check=True)


def megabytes(folder: Path) -> float:
    """Size of the files below `folder`, in MB of 1,000,000 bytes."""
    return sum(path.stat().st_size for path in files(folder)) / 1e6


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def largest(packages: Path, count: int = 8) -> list[tuple[float, str]]:
    """The largest entries of the folder of packages, (MB, name), model files on their own."""
    parts = [path for path in packages.iterdir() if path.name != "shared" and path.is_dir()]
    models = packages / "shared" / "artifacts"
    parts += [path for path in models.iterdir() if path.is_dir()] if models.is_dir() else []
    return sorted(((megabytes(part), str(part.relative_to(packages))) for part in parts), reverse=True)[:count]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.layer", description="Builds the Lambda layer.")
    parser.add_argument("folder", type=Path, help="where python/ is made, as in the zip of the layer")
    try:
        build(parser.parse_args().folder.resolve())
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
