"""Tenants: who the advertisers of a deployment are, and on what terms each is served.

One JSON object (the setting ``TENANTS``), by tenant's name::

    {
      "acme": {
        "consent_basis": "asserted",
        "roles": ["arn:aws:iam::111122223333:role/acme-*"],
        "limits": {"requests_per_minute": 6000, "events_per_day": 5000000, "ads": 50000, "copies_per_day": 2000}
      },
      "*": {"limits": {"requests_per_minute": 600}}
    }

``*`` are the terms of every tenant that is not named; without it those have the deployment's own consent basis and no
limits. `roles` say which tenant a caller is that signs with IAM; callers with a JWT carry the name in it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

BASES = ("asserted", "required")
OTHERS = "*"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CALLER = re.compile(r"arn:(aws[a-z-]*):(?:iam|sts)::([0-9]{12}):(role|assumed-role|user)/(.+)")
_PATTERN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(?:role|user)/[A-Za-z0-9+=,.@_*?-]+")
_MOST = 10**12
ADS = 100_000  # of a catalogue that a function's memory is made for (DESIGN section 8)


def is_name(value: object) -> bool:
    """Whether this can be a tenant's name. It stands in keys and paths, whose parts nothing in it separates."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant may take of what all share; None: as much as there is. Days are UTC's.

    requests_per_minute: of the API. events_per_day: rows of behaviour that were taken in, by request or upload; those
    that are there already count for nothing, but need room when they come by request. ads: in its catalogue,
    where terms say nothing else `ADS`. copies_per_day: texts asked of the copywriter. trainings_per_day: jobs that an
    upload of labels starts.
    """

    requests_per_minute: int | None = None
    events_per_day: int | None = None
    ads: int | None = None
    copies_per_day: int | None = None
    trainings_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """A tenant's terms. consent_basis: ``asserted`` or ``required`` (DESIGN section 3). roles: ARNs of the IAM roles
    and users who are this tenant, with ``*`` and ``?`` in their names."""

    consent_basis: str
    roles: tuple[str, ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants of a deployment; `basis` is the consent basis of those that name none."""

    basis: str
    named: Mapping[str, Terms] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: str, *, basis: str) -> Tenants:
        """Raises ValueError, which says what is wrong, where this is no such document."""
        if not document.strip():
            return cls(basis)
        try:
            read = json.loads(document, object_pairs_hook=_unique)
        except json.JSONDecodeError as error:
            raise ValueError(f"TENANTS is not JSON: {error}") from error
        if not isinstance(read, dict):
            raise ValueError("TENANTS: an object, by tenant")
        named = {name: _terms(name, one, basis) for name, one in read.items()}
        shared = [role for role, n in Counter(role for one in named.values() for role in one.roles).items() if n > 1]
        if shared:
            raise ValueError(f"TENANTS: {shared[0]} stands there twice")
        return cls(basis, named)

    def terms(self, tenant: str) -> Terms:
        return self.named.get(tenant) or self.named.get(OTHERS) or Terms(self.basis)

    def consent_basis(self, tenant: str) -> str:
        return self.terms(tenant).consent_basis

    def limits(self, tenant: str) -> Limits:
        return self.terms(tenant).limits

    @property
    def has_roles(self) -> bool:
        """Whether a caller that signs with IAM is told by its role, and nobody else let in."""
        return any(terms.roles for terms in self.named.values())

    def of_role(self, arn: str) -> str | None:
        """The tenant of a caller, by the ARN that API Gateway says of it (``arn:aws:sts::ACCOUNT:assumed-role/NAME/…``
        or of an IAM user); None where it is nobody's. What the caller may choose, the session's name, does not count.

        Raises ValueError where it is more than one's.
        """
        own = _caller(arn)
        if own is None:
            return None
        found = sorted(
            name for name, terms in self.named.items() if any(fnmatchcase(own, pattern) for pattern in terms.roles)
        )
        if len(found) > 1:
            raise ValueError(f"{own} is a role of {' and of '.join(found)}")
        return found[0] if found else None


def _caller(arn: str) -> str | None:
    """The role or user behind an ARN, as `roles` have it: without session and path, of which STS does not say the
    latter. None for anybody else (root, federated users, services)."""
    match = _CALLER.fullmatch(arn)
    if match is None:
        return None
    partition, account, kind, rest = match.groups()
    parts = rest.split("/")
    name = parts[0] if kind == "assumed-role" else parts[-1]
    return f"arn:{partition}:iam::{account}:{'user' if kind == 'user' else 'role'}/{name}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"TENANTS: {name!r} stands there twice")
    return dict(pairs)


def _terms(name: str, one: Any, basis: str) -> Terms:
    if name != OTHERS and not is_name(name):
        raise ValueError(f"TENANTS: {name!r} is no name: 1 to 64 of A-Z a-z 0-9 _ -, or {OTHERS} for all others")
    if not isinstance(one, dict) or one.keys() - {"consent_basis", "roles", "limits"}:
        raise ValueError(f"TENANTS.{name}: an object of consent_basis, roles and limits")
    said = one.get("consent_basis", basis)
    if said not in BASES:
        raise ValueError(f"TENANTS.{name}.consent_basis: {' or '.join(BASES)}")
    return Terms(said, _roles(name, one.get("roles", [])), _limits(name, one.get("limits", {})))


def _roles(name: str, roles: Any) -> tuple[str, ...]:
    if not isinstance(roles, list) or (roles and name == OTHERS):
        raise ValueError(f"TENANTS.{name}.roles: a list of ARNs, of a tenant that is named")
    for role in roles:
        if not isinstance(role, str) or not _PATTERN.fullmatch(role):
            raise ValueError(
                f"TENANTS.{name}.roles: {role!r} is not arn:aws:iam::ACCOUNT:role/NAME (or user/NAME), without a path; "
                "* and ? may stand in NAME"
            )
    return tuple(roles)


def _limits(name: str, limits: Any) -> Limits:
    known = [one.name for one in fields(Limits)]
    if not isinstance(limits, dict) or limits.keys() - set(known):
        raise ValueError(f"TENANTS.{name}.limits: an object of {', '.join(known)}")
    for limit, value in limits.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST):
            raise ValueError(f"TENANTS.{name}.limits.{limit}: a whole number from 0, or null for no limit")
    return Limits(**{"ads": ADS} | limits)
