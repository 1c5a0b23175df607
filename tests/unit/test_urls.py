"""Addresses of ads: nothing of ours opens one, and none names a place inside somebody's network."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import Ad, Rejection
from shared.preprocess import parse_ad
from shared.preprocess.addresses import NotPublic, public_address
from shared.stores import Stores
from tests.conftest import TENANT
from tests.data import ROOT
from tests.fakes.generation import PHONE, make_world

REFUSED = {
    "scheme": ["javascript:alert(1)", "data:text/html;base64,AA", "file:///etc/passwd", "ftp://a.com/", "gopher://a.com"],
    "scheme-tricks": ["//a.com/x", "java\tscript:alert(1)", "http:a.com", "http:///a.com", "h\u200bttp://a.com", "blob:http://a.com"],
    "login": ["http://user@a.com/", "http://a.com@evil.com/", "http://:@a.com/", "http://a.com%40b.com@evil.com/"],
    "control": ["http://a.com/\r\nSet-Cookie: x=1", "http://a.com/\x00", "http://a.com\t.evil.com/", "http://a.com/\u202e"],
    "markup": ['http://a.com/"onerror="x', "http://a.com/<script>", "http://a.com\\@evil.com/", "http://a.com/ b"],
    "loopback": ["http://127.0.0.1/", "http://127.8.8.8/", "http://[::1]/", "http://0.0.0.0/", "http://[::]/"],
    "decimal": ["http://2130706433/", "http://3232235777/", "http://2852039166/latest/meta-data/", "http://0/"],
    "octal": ["http://0177.0.0.1/", "http://00000177.0x0.0.1/", "http://0251.0376.0251.0376/"],
    "hex": ["http://0x7f000001/", "http://0x7f.1/", "http://0xa9fea9fe/", "http://0x/"],
    "short": ["http://127.1/", "http://10.1/", "http://192.168.1/", "http://1.2.3.4.5/", "http://256.1.1.1/"],
    "private": ["http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://100.64.0.1/", "http://198.18.0.1/"],
    "link-local": ["http://169.254.169.254/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://169.254.170.2/v2"],
    "unique-local": ["http://[fd00:ec2::254]/", "http://[fc00::1]/"],
    "mapped": ["http://[::ffff:127.0.0.1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/"],
    "carried": ["http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/"],
    "teredo": ["http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/"],
    "no-host": ["http://224.0.0.1/", "http://255.255.255.255/", "http://240.0.0.1/"],
    "wide": ["http://１２７.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://ｌｏｃａｌｈｏｓｔ/"],
    "escaped": ["http://%31%32%37.0.0.1/", "http://localhos%74/", "http://a.com%2eevil.com/"],
    "networks": ["http://[fec0::1]/", "http://[3fff::1]/", "http://[5f00::1]/", "http://192.0.0.192/", "http://168.63.129.16/"],
    "inner": ["http://kubernetes.default.svc/", "http://vault.service.consul/", "http://db.test/", "http://x.invalid/"],
    "inner-2": ["http://a.home.arpa/", "http://metadata.goog/", "http://x.alt/", "http://wpad.domain/", "http://x.intra/"],
    "wildcards": ["http://10.0.0.1.nip.io/", "http://a.127-0-0-1.sslip.io/", "http://x.localtest.me/"],
    "names": ["http://localhost/", "http://LOCALHOST:80/", "http://a.localhost./", "http://printer.local/", "http://intranet/"],
    "metadata": ["http://metadata.google.internal/", "http://metadata/", "http://instance-data.ec2.internal/"],
    "impossible": ["http://a..com/", "http://-a.com/", "http://" + "a" * 64 + ".com/", "http://a.com:0/", "http://a.com:65536/"],
    "ipv6-broken": ["http://[::1", "http://[v1.x]/", "http://[a.com]/", "http://[:::]/"],
}  # fmt: skip
TAKEN = {
    "https://example.com/": "https://example.com/",
    "http://cdn.example.com:8080/x.png?a=1&b={clickid}#top": "http://cdn.example.com:8080/x.png?a=1&b={clickid}#top",
    "https://EXAMPLE.com/A%20b": "https://EXAMPLE.com/A%20b",
    "https://a_b.example.co.uk./": "https://a_b.example.co.uk./",
    "https://bücher.example:444/ä?ö#ü": "https://xn--bcher-kva.example:444/ä?ö#ü",
    "https://例子.中国/路径": "https://xn--fsqu00a.xn--fiqs8s/路径",
    "https://ＷＷＷ。example．com/": "https://www.example.com/",
    "http://8.8.8.8/": "http://8.8.8.8/",
    "http://[2606:4700::1111]:8080/": "http://[2606:4700::1111]:8080/",
    "https://example.com/?next=http://127.0.0.1/": "https://example.com/?next=http://127.0.0.1/",
    "https://localhost.example.com/": "https://localhost.example.com/",
    "https://mylocal.com/internal": "https://mylocal.com/internal",
}


def row(field: str, address: object) -> dict[str, Any]:
    return PHONE | {field: address}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("field", ["landing_url", "image_url"])
def test_an_address_of_no_public_place_is_refused_by_its_field(kind: str, field: str) -> None:
    for address in REFUSED[kind]:
        outcome = parse_ad(row(field, address), index=3)
        assert isinstance(outcome, Rejection), address
        assert (outcome.index, outcome.field) == (3, field), address
        assert outcome.reason.startswith(field) and outcome.reason.isprintable(), address


def test_a_public_address_is_taken_and_its_host_written_in_ascii() -> None:
    for address, kept in TAKEN.items():
        ad = parse_ad(row("landing_url", address), index=0)
        assert isinstance(ad, Ad), (address, ad)
        assert ad.landing_url == kept
        assert public_address(kept) == kept


PRIVATE = [
    IPv4Network(net) for net in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
]
ADDRESSES = st.sampled_from(PRIVATE).flatmap(
    lambda net: st.integers(int(net.network_address), int(net.broadcast_address)).map(IPv4Address)
)


def spellings(address: IPv4Address) -> Iterator[str]:
    """What browsers and resolvers read as this address."""
    whole, parts = int(address), [int(part) for part in str(address).split(".")]
    yield str(address)
    yield f"{address}."
    yield str(whole)
    yield hex(whole)
    yield f"0{whole:o}"
    yield ".".join(hex(part) for part in parts)
    yield ".".join(f"{part:#06o}".replace("0o", "0") for part in parts)
    yield f"{parts[0]}.{whole & 0xFFFFFF}"
    yield f"{parts[0]}.{parts[1]}.{whole & 0xFFFF}"
    yield str(address).translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    yield f"[::ffff:{address}]"
    yield f"[{IPv6Address((0xFFFF << 32) | whole)}]"
    yield f"[{IPv6Address((0x2002 << 112) | (whole << 80))}]"
    yield f"[{IPv6Address((0x64FF9B << 96) | whole)}]"


@settings(deadline=None)
@given(ADDRESSES)
def test_no_spelling_of_a_private_address_is_taken(address: IPv4Address) -> None:
    for spelling in spellings(address):
        with pytest.raises(NotPublic):
            public_address(f"http://{spelling}/latest/meta-data/")


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["http://", "https://", "", "http://[", "https://a.com"]))
def test_what_is_taken_has_a_public_host_in_ascii(text: str, before: str) -> None:
    try:
        kept = public_address(before + text)
    except NotPublic:
        return
    host = urlsplit(kept).hostname
    assert urlsplit(kept).scheme in ("http", "https") and host and host.isascii() and "@" not in urlsplit(kept).netloc
    assert public_address(kept) == kept


# Nothing fetches them -------------------------------------------------------------------------------------------------

# What can open a connection. boto3's services are reached by names that settings give, never by an address.
CLIENTS = {
    "urllib.request", "urllib3", "http.client", "httpx", "httpx2", "requests", "aiohttp", "socket", "ssl", "ftplib",
    "smtplib", "telnetlib", "asyncio", "xmlrpc", "webbrowser", "subprocess", "telnetlib3", "websockets", "pycurl",
}  # fmt: skip
SPEAKS_TO_THE_MODEL = {"shared/models/openai.py", "shared/models/sagemaker.py"}  # at LLM_URL, an operator's setting
ADDRESS_FIELDS = {"landing_url", "image_url"}
DYNAMIC = ("__import__", "import_module")  # what is imported so could not be read off


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The modules that serve and that could be meant: the others hold none of the names in question."""
    words = [client.split(".")[0] for client in CLIENTS] + [*ADDRESS_FIELDS, *DYNAMIC]
    for folder in ("shared", "functions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "artifacts" not in path.parts and any(word in text for word in words):
                yield str(Path(path).relative_to(ROOT)), ast.parse(text)


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in DYNAMIC:
            yield "dynamic"


@pytest.mark.slow
def test_no_module_that_serves_can_open_an_address_of_an_ad() -> None:
    speaking, reading = set(), set()
    for name, tree in sources():
        found = set(imported(tree))
        assert "dynamic" not in found, name
        if any(one == client or one.startswith(f"{client}.") for one in found for client in CLIENTS):
            speaking.add(name)
        if any(isinstance(node, ast.Attribute) and node.attr in ADDRESS_FIELDS for node in ast.walk(tree)):
            reading.add(name)
    assert speaking == SPEAKS_TO_THE_MODEL
    assert reading.isdisjoint(speaking)


def test_an_ad_goes_from_upload_to_answer_without_a_look_at_its_addresses(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(host: object, *rest: object, **options: object) -> None:
        asked.append(str(host))
        raise AssertionError(f"a name was looked up: {host}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    world = make_world(stores)  # the suite lets no socket be opened besides
    ad = row("image_url", "https://trap.example.com/pixel.png") | {
        "landing_url": "https://trap.example.com/",
        "bid_cpm": 1,
    }
    (kept,) = world.system.classifying.put_ads(TENANT, [ad])
    assert getattr(kept, "active", False), kept
    world.interested("ann", "bob")
    assert world.copy(fresh=True, user_id="ann").copies
    world.system.classifying.publish(TENANT)
    assert world.system.recommending.recommend(TENANT, "ann", n=1).ads[0].ad_id == PHONE["ad_id"]
    assert asked == []
