"""Runs the AWS SAM CLI on this repository: `python -m infra.sam build`, `python -m infra.sam local start-api`, ….

It finds the CLI that `make tools` installs (else one on the PATH) and the Python of the functions, which `sam build`
wants on the PATH; and `sam local` never sees the AWS credentials of this machine. With `--config-env local`, `deploy`
and its like go to the local AWS services of `python -m infra.emulator`, and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "python3.13"
# For commands that must not reach AWS: without any, the CLI would look for credentials in files and on the instance.
MADE_UP = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
EMULATOR_PORT = 4567  # not that of `make run`; samconfig.toml names it too
EMULATOR_CERTIFICATE = ROOT / ".local" / "emulator" / "cert.pem"


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
        result = _without_aws(env) | MADE_UP
    elif for_emulator(command):
        result = at_emulator(env, f"https://127.0.0.1:{EMULATOR_PORT}", EMULATOR_CERTIFICATE)
    if command[:1] == ["build"]:
        result["PATH"] = f"{python_folder(env)}{os.pathsep}{env.get('PATH', '')}"
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # of a `make build` around it
            result.pop(name, None)
    return {"SAM_CLI_TELEMETRY": "0"} | result


def for_emulator(command: Sequence[str]) -> bool:
    """Whether the command names samconfig.toml's environment `local`."""
    return "--config-env=local" in command or ("--config-env", "local") in pairwise(command)


def at_emulator(env: Mapping[str, str], url: str, certificate: Path) -> dict[str, str]:
    """`env` with the emulator at `url` in place of AWS: no profile and no key of this machine is left."""
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    there = {"AWS_ENDPOINT_URL": url, "AWS_CA_BUNDLE": str(certificate), "AWS_EC2_METADATA_DISABLED": "true"}
    return _without_aws(env) | MADE_UP | nowhere | there


def _without_aws(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("AWS_")}


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
