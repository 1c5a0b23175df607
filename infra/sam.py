"""Runs the AWS SAM CLI on this repository: `python -m infra.sam build`, `python -m infra.sam local start-api`, ….

It finds the CLI that `make tools` installs (else one on the PATH) and the Python of the functions, which `sam build`
wants on the PATH; and `sam local` never sees the AWS credentials of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "python3.13"


class Missing(Exception):
    """A program that is needed is not installed; the message says which, and what installs it."""


def cli() -> Path:
    """The SAM CLI.

    Raises:
        Missing: there is none.
    """
    own = ROOT / ".tools" / "sam" / "bin" / "sam"
    found = own if own.exists() else shutil.which("sam")
    if found is None:
        raise Missing("the AWS SAM CLI is not installed: run `make tools`")
    return Path(found)


def python_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The folder with the Python that Lambda runs: on the PATH, or among pyenv's and uv's versions.

    Raises:
        Missing: there is none.
    """
    on_path = shutil.which(PYTHON, path=env.get("PATH"))
    # A pyenv shim of a version that is not the chosen one only prints an error.
    if on_path and subprocess.run([on_path, "-c", ""], capture_output=True, check=False).returncode == 0:
        return Path(on_path).parent
    home = Path(env.get("HOME", "/"))
    roots = [
        (Path(env.get("PYENV_ROOT", home / ".pyenv")) / "versions", "3.13*/bin"),
        (home / ".local" / "share" / "uv" / "python", "cpython-3.13*/bin"),
    ]
    found = sorted(path for root, pattern in roots for path in root.glob(f"{pattern}/{PYTHON}"))
    if not found:
        raise Missing(f"`sam build` needs {PYTHON}, the Python of the functions: install it, e.g. with pyenv or uv")
    return found[-1].parent


def environment(command: Sequence[str], env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which `command` of the SAM CLI runs."""
    result = dict(env)
    if command[:1] in (["local"], ["build"], ["validate"]):
        result = {name: value for name, value in result.items() if not name.startswith("AWS_")}
        # Made-up ones, or the CLI would look for credentials in files and on the instance.
        result |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
    if command[:1] == ["build"]:
        result["PATH"] = f"{python_folder(env)}{os.pathsep}{env.get('PATH', '')}"
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # of a `make build` around it
            result.pop(name, None)
    return {"SAM_CLI_TELEMETRY": "0"} | result


def main(arguments: Sequence[str]) -> int:
    try:
        command = [str(cli()), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment(arguments), check=False).returncode
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
