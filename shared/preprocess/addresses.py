"""Web addresses of ads: public http(s) addresses in one spelling, and nothing that a browser or a server would take for
a place inside a network.

Nothing online fetches an address; it is what a person's browser, a crawler or a customer's own server opens later. So a
name that some resolver points at a private address is not looked for here, only what says so itself: literal addresses
in every spelling that the WHATWG URL standard's host parser understands (section 3.5), special-use names (RFC 6761,
6762, 8375, 9476, and ``.internal``, which ICANN keeps for private use), and the names that containers, clouds, routers
and directories use inside. Networks are a list of our own, of IANA's special-purpose registries as of 2025: what the
standard library takes for public differs from one release of Python to the next.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

LONGEST_HOST = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE = (
    *("localhost", "localdomain", "local", "test", "invalid", "alt", "onion"),
    *("home.arpa", "in-addr.arpa", "ip6.arpa", "resolver.arpa", "service.arpa", "ipv4only.arpa"),
    *("internal", "intranet", "intra", "private", "corp", "domain", "workgroup", "home", "lan", "fritz.box"),
    *("svc", "cluster", "pod", "consul", "docker", "kube"),
    "goog",  # Google's own, with the metadata server (metadata.goog)
    *("nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me"),  # these name any address, or this machine
)
_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            "168.63.129.16/32",  # Azure's virtual host, public by its number alone
        ),
    )
)
_UNICAST_6 = IPv6Network("2000::/3")  # what is given out at all; of it not:
_SPECIAL_6 = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20"))
)
_FORBIDDEN = re.compile(r"[\s\\\"<>`^]")  # what parsers read differently, and what would end an attribute of a page
_DOTS = str.maketrans("。．｡", "...")


class NotPublic(ValueError):
    """What is wrong with an address, for a sentence that begins with the field's name."""


def public_address(address: str) -> str:
    """The address as it is kept: a host in other letters in its ASCII form (IDNA 2008, UTS 46), all else as it came.

    Raises:
        NotPublic: it is none of http or https with a public host and without a login.
    """
    if _FORBIDDEN.search(address):
        raise NotPublic("must be an http or https address with a host, without blanks, quotes and brackets")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise NotPublic("must be an http or https address with a host") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise NotPublic("must be an http or https address with a host")
    if "@" in parts.netloc:
        raise NotPublic("must not hold a user name or password")
    plain = _host(host, literal=parts.netloc.startswith("["))
    if plain == host:
        return address
    return parts._replace(netloc=plain if port is None else f"{plain}:{port}").geturl()


def _host(host: str, *, literal: bool) -> str:
    """The host in ASCII. Raises `NotPublic`."""
    if literal:
        try:
            _must_be_public(IPv6Address(host))
        except ValueError as error:
            if isinstance(error, NotPublic):
                raise
            raise NotPublic("must name its host by a name or a plain IP address") from None
        return f"[{host}]"
    plain = host if host.isascii() else _ascii(host)
    name = plain.removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            _must_be_public(IPv4Address(name))
        except ValueError as error:
            if isinstance(error, NotPublic):
                raise
            raise NotPublic("must write an IP address as four decimal numbers") from None
        return plain
    if len(name) > LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise NotPublic("must be an http or https address with a host that can exist")
    if len(labels) < 2 or any(name == one or name.endswith(f".{one}") for one in _PRIVATE):
        raise NotPublic("must name a public host, not one of a private network")
    return plain


def _ascii(host: str) -> str:
    import idna  # its tables take longer to load than all of this module

    try:
        return idna.encode(host.translate(_DOTS), uts46=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        raise NotPublic("must be an http or https address with a host that can exist") from None


def _must_be_public(address: IPv4Address | IPv6Address) -> None:
    if isinstance(address, IPv4Address):
        special = any(address in network for network in _SPECIAL_4)
    else:
        special = address.scope_id is not None or address not in _UNICAST_6 or any(address in n for n in _SPECIAL_6)
    if special:
        raise NotPublic("must not hold an address of a private network")
