"""Names under ``.localhost`` lead to this machine, by the name's own certificate; a bundle that is named is taken."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.client import ApiError, Client
from infra.emulator import certificate
from infra.local.processes import StartError

pytestmark = pytest.mark.slow

NAME = "0123abcd.execute-api.localhost"


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f'{{"host": "{self.headers["host"]}"}}'.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address by name of a server on this machine, and its certificate."""
    try:
        cert, key = certificate(tmp_path)
    except StartError as error:
        pytest.skip(str(error))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    running = http.server.HTTPServer(("127.0.0.1", 0), _Answering)
    running.socket = context.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"https://{NAME}:{running.server_port}", cert
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_name_under_localhost_is_reached(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, cert = server
    monkeypatch.setenv("AWS_CA_BUNDLE", str(cert))
    with Client(url, auth="none") as client:
        assert client.profile("m001")["host"] == url.removeprefix("https://")  # type: ignore[typeddict-item]


def test_a_certificate_of_nobody_known_is_refused(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    with Client(server[0], auth="none") as client, pytest.raises(ApiError, match=r"(?i)certificate"):
        client.profile("m001")
