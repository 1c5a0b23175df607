"""The local AWS services as `sam deploy` needs them: `python -m infra.emulator` runs them until Ctrl-C.

Functions of a deployed stack run inside the emulator, so it is started with the Python that the layer's wheels are for,
and with what Lambda's runtime brings. It checks signatures and enforces roles and resource policies (ours refuse what
comes without TLS, hence https). What is deployed and stored is forgotten when it stops.

`python -m infra.sam deploy --config-env local` deploys to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from infra import layer, sam
from infra.local.processes import HOST, StartError, port_taken

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "infra" / "tools" / "emulator.txt"
PACKAGES = ROOT / ".tools" / "emulator"
FOLDER = sam.EMULATOR_CERTIFICATE.parent
_LIFELINE = ROOT / "infra" / "local" / "lifeline.py"
_START_SECONDS = 60.0


def packages() -> Path:
    """The folder with the emulator's packages, installed where they are missing or not those that are pinned.

    Raises:
        infra.layer.BuildError: pip cannot install them.
    """
    wanted = REQUIREMENTS.read_text() + REQUIREMENTS.with_name("ministack.txt").read_text()
    stamp = PACKAGES / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(PACKAGES, ignore_errors=True)
        layer.install(PACKAGES, REQUIREMENTS)
        stamp.write_text(wanted)
    return PACKAGES


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's own names and its key, PEM files in `folder`, made where they are missing.

    Raises:
        StartError: there is no `openssl` to make them.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    if cert.exists() and key.exists():
        return cert, key
    folder.mkdir(parents=True, exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "825", "-subj", "/CN=localhost"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"]
    command += ["-addext", f"subjectAltName=DNS:localhost,DNS:*.execute-api.localhost,IP:{HOST}"]
    if shutil.which("openssl") is None:
        raise StartError("The emulator speaks TLS, for which `openssl` makes a certificate: install it.")
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


class Emulator:
    """A running emulator. `url` is where it answers, `log` its log."""

    def __init__(self, folder: Path = FOLDER, port: int = sam.EMULATOR_PORT, scratch: Path | None = None) -> None:
        """
        Args:
            folder: for certificate and log.
            scratch: emptied at the start and deleted at the end; every worker of a function unpacks the layer into it
                (180 MB). None: a folder in `folder`.

        Raises:
            StartError: the port is taken, or there is no `openssl`.
            infra.sam.Missing: there is no Python of the functions' version.
            infra.layer.BuildError: pip cannot install the emulator.
        """
        if port_taken(port):
            raise StartError(f"Port {port} is in use. Stop what uses it first.")
        self.url = f"https://{HOST}:{port}"
        self.log = folder / "emulator.log"
        self._cert, key = certificate(folder)
        self._scratch = scratch or folder / "scratch"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        settings = {
            "PYTHONPATH": str(packages()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self._scratch),
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(self._cert),
            "MINISTACK_SSL_KEY": str(key),
            "MINISTACK_REGION": sam.MADE_UP["AWS_DEFAULT_REGION"],
            "LAMBDA_EXECUTOR": "local",
            "AUTH": "true",
            "LOG_LEVEL": "INFO",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
        }
        python = sam.python_folder() / sam.PYTHON
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(python), str(_LIFELINE), "ministack"],
                cwd=ROOT,
                env=self.environment() | settings,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal goes to the parent alone
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def environment(self) -> dict[str, str]:
        """In which the AWS CLI, the SAM CLI and boto3 find the emulator, and no credentials of this machine."""
        return sam.at_emulator(os.environ, self.url, self._cert)

    def wait(self) -> None:
        """Returns when it answers.

        Raises:
            StartError: it ended, or stays silent.
        """
        deadline = time.monotonic() + _START_SECONDS
        while "Running on" not in self.log.read_text(errors="replace"):
            if not self.running or time.monotonic() > deadline:
                lines = self.log.read_text(errors="replace").splitlines()[-12:]
                raise StartError("\n".join(["The emulator does not start.", *lines]))
            time.sleep(0.1)

    def stop(self) -> None:
        """Kills it with its functions, since nothing is kept, and deletes what they unpacked."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


class _Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Stopped


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    emulator = None
    try:
        emulator = Emulator()
        emulator.wait()
        exports = " ".join(f"{n}={v}" for n, v in emulator.environment().items() if n.startswith("AWS_"))
        print(f"The local AWS services answer at {emulator.url} until Ctrl-C. Elsewhere:\n")
        print("  .venv/bin/python -m infra.sam build")
        print("  .venv/bin/python -m infra.sam deploy --config-env local\n")
        print(f"  export {exports}", flush=True)
        while emulator.running:
            time.sleep(0.5)
        print(f"error: the emulator ended; see {emulator.log}", file=sys.stderr)
    except _Stopped:
        return 0
    except (StartError, sam.Missing, layer.BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
    finally:
        if emulator is not None:
            emulator.stop()
    return 1


if __name__ == "__main__":
    sys.exit(main())
