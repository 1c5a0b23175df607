"""Web addresses of ads: public http(s) addresses in one spelling, and nothing that a browser or a server would take for
a place inside a network.

Nothing online fetches an address; it is what a person's browser, a crawler or a customer's own server opens later. So a
name that some resolver points at a private address is not looked for here, only what says so itself: literal addresses
in every spelling that the WHATWG URL standard's host parser understands (section 3.5), and special-use names (RFC 6761,
RFC 6762, RFC 8375, and ``.internal``, which ICANN keeps for private use).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urlsplit

LONGEST_HOST = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
    "onion",
)
_FORBIDDEN = re.compile(r"[\s\\\"<>`^]")  # what parsers read differently, and what would end an attribute of a page
_DOTS = str.maketrans("。．｡", "...")
_CARRIED = (  # IPv6 networks whose addresses carry one of IPv4: the bit from which on
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)


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
    inner: IPv4Address | IPv6Address = address
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            inner = address.ipv4_mapped
        for network, shift in _CARRIED:
            if address in network:
                inner = IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
        if address.teredo is not None or address.scope_id is not None:
            raise NotPublic("must not hold an address of a private network")
    if not inner.is_global or inner.is_multicast or inner.is_reserved:
        raise NotPublic("must not hold an address of a private network")
