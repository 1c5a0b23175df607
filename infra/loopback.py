"""How a client reaches names under ``.localhost``, and whose certificates it takes.

A deployment to the local emulator (`infra.emulator`) needs both: its API answers at
``https://….execute-api.localhost:4567`` with a certificate of the emulator's own.
"""

from __future__ import annotations

import os
import ssl

import httpx2

_DOMAIN = ".localhost"


class LoopbackTransport(httpx2.HTTPTransport):
    """Connects names under ``.localhost`` to this machine (RFC 6761, 6.3), as browsers and curl do and not every
    resolver does. Host, signature and certificate stay those of the name."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.host
        if name.endswith(_DOMAIN):
            request.extensions = {**request.extensions, "sni_hostname": name}
            request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def trusted() -> ssl.SSLContext | bool:
    """What certificates are checked by: the usual authorities, and those of ``AWS_CA_BUNDLE``, as with the AWS CLI.

    Raises:
        OSError: the file that it names cannot be read.
    """
    bundle = os.environ.get("AWS_CA_BUNDLE")
    if not bundle:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(bundle)
    return context


def transport_to(url: httpx2.URL) -> httpx2.HTTPTransport | None:
    """The transport for a name under ``.localhost``; None: httpx2's own."""
    return LoopbackTransport(verify=trusted()) if url.host.endswith(_DOMAIN) else None
