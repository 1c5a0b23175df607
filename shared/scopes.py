"""What a token may do: which scope each route asks for, where the token names scopes at all.

A caller that only shows ads (a page, an app) gets a token that cannot read a profile or erase a person. API Gateway
passes the claims on as texts: ``scope`` as OAuth 2 has it (RFC 8693, section 4.2: names between spaces), ``scp`` or
``permissions`` as other issuers write them (a list, which arrives as ``[a b]``). Names count as they stand here: with
Amazon Cognito the resource server is ``adtailor`` and its scopes are ``serve``, ``read``, ``write`` and ``people``.

A token with any of these claims has the scopes that they name and no other, also where none of them is ours (``openid``
alone opens nothing). A token with none of these claims, as an ID token is, may do everything that its tenant may, and
so may a caller who signs with IAM: there the policy names the routes.

Whoever names a person (``user_id`` of ``POST /v1/copy``) needs a scope of those that deal with people besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.errors import Forbidden

SERVE = "adtailor/serve"  # behaviour in, ads out, what became of them
READ = "adtailor/read"  # the catalogue, its categories, campaigns, jobs and models; nobody's data
WRITE = "adtailor/write"  # the catalogue and its copy; files of ads, labels and behaviour
PEOPLE = "adtailor/people"  # what is known of a person: to see, correct, export and erase it
SCOPES = (SERVE, READ, WRITE, PEOPLE)
ABOUT_PEOPLE = (PEOPLE, SERVE)  # either: an answer made for somebody tells something of them
CLAIMS = ("scope", "scp", "permissions")
_SHOWN = 300  # characters of a token's scopes in an error

# In order: the first that fits decides. What none fits is nobody's.
_RULES: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (methods, re.compile(path, re.DOTALL), tuple(scopes))
    for methods, path, *scopes in (
        ("*", r"/v1/(?:users|erasures)(?:/.*)?", PEOPLE),
        ("POST", r"/v1/(?:recommendations|feedback|events)", SERVE),
        ("POST", r"/openrtb2/auction", SERVE),
        ("GET", r"/openrtb2/(?:win|billing|loss|click|visit)", SERVE),
        ("POST", r"/openrtb2/(?:win|billing|loss|click)", SERVE),
        ("GET", r"/healthz", SERVE),
        ("POST", r"/v1/classify", READ),
        ("GET", r"/v1/(?:ads|heads|copy)(?:/.*)?|/v1/(?:ranker|campaigns)", READ),
        ("PUT", r"/v1/ads", WRITE),
        ("POST", r"/v1/copy(?:/reviews)?", WRITE),
        ("POST", r"/v1/uploads", WRITE),
        ("GET", r"/v1/uploads/events/.*", WRITE),  # its rejected lines quote what people did
        ("GET", r"/v1/uploads/.*", WRITE, READ),
    )
)


def scopes_of(method: str, path: str) -> tuple[str, ...]:
    """The scopes of which a request needs one; none where no route of ours is like it."""
    for methods, pattern, scopes in _RULES:
        if methods in ("*", method) and pattern.fullmatch(path):
            return scopes
    return ()


def granted(claims: Mapping[str, Any]) -> frozenset[str] | None:
    """Scopes that the token names; None where it names none at all, in any claim."""
    named = [claims[claim] for claim in CLAIMS if claims.get(claim) is not None]
    if not named:
        return None
    words = (word for value in named for part in _listed(value) for word in re.split(r"[\s,]+", part))
    return frozenset(words) - {""}


def _listed(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [one for one in value if isinstance(one, str)]
    return [value.strip("[]")] if isinstance(value, str) else []


def authorise(claims: Mapping[str, Any], method: str, path: str) -> None:
    """Lets a request of a token with these claims through.

    Raises:
        Forbidden: the token names scopes, and not the one that the request needs.
    """
    _must_have(claims, scopes_of(method, path), "this request")


def authorise_naming(claims: Mapping[str, Any]) -> None:
    """Lets a request through that names a person, whose route alone needs less.

    Raises:
        Forbidden: the token names scopes, and none that deals with people.
    """
    _must_have(claims, ABOUT_PEOPLE, "a request that names a person")


def _must_have(claims: Mapping[str, Any], any_of: tuple[str, ...], what: str) -> None:
    have = granted(claims)
    if have is None or not have.isdisjoint(any_of):
        return
    own = ", ".join(sorted(have))[:_SHOWN] or "none"
    needs = f"needs the scope {' or '.join(any_of)}" if any_of else "is no route of any scope"
    raise Forbidden(f"{what} {needs}; the token has: {own}")
