"""Tenants: who the advertisers of a deployment are, and on what terms each keeps people's data.

One JSON object (the setting ``TENANTS``), by tenant's name::

    {"acme": {"consent_basis": "asserted", "roles": ["arn:aws:iam::111122223333:role/acme-*"]}, "globex": {}}

A tenant that is not named there has the deployment's own terms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

BASES = ("asserted", "required")


@dataclass(frozen=True, slots=True)
class Terms:
    """A tenant's terms. consent_basis: ``asserted`` or ``required`` (DESIGN section 3). roles: patterns of the ARNs of
    IAM roles whose holders are this tenant."""

    consent_basis: str
    roles: tuple[str, ...] = ()


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
            read = json.loads(document)
        except json.JSONDecodeError as error:
            raise ValueError(f"TENANTS is not JSON: {error}") from error
        if not isinstance(read, dict):
            raise ValueError("TENANTS: an object, by tenant")
        return cls(basis, {str(name): _terms(str(name), one, basis) for name, one in read.items()})

    def consent_basis(self, tenant: str) -> str:
        terms = self.named.get(tenant)
        return terms.consent_basis if terms is not None else self.basis

    def of_role(self, arn: str) -> str | None:
        """The tenant whose role this is; None where it is nobody's. Raises ValueError where it is more than one's."""
        found = sorted(
            name for name, terms in self.named.items() if any(fnmatchcase(arn, pattern) for pattern in terms.roles)
        )
        if len(found) > 1:
            raise ValueError(f"{arn} is a role of {' and of '.join(found)}")
        return found[0] if found else None


def _terms(name: str, one: Any, basis: str) -> Terms:
    if not isinstance(one, dict) or one.keys() - {"consent_basis", "roles"}:
        raise ValueError(f"TENANTS.{name}: an object of consent_basis and roles")
    said = one.get("consent_basis", basis)
    if said not in BASES:
        raise ValueError(f"TENANTS.{name}.consent_basis: {' or '.join(BASES)}")
    roles = one.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) and role for role in roles):
        raise ValueError(f"TENANTS.{name}.roles: a list of ARNs")
    return Terms(said, tuple(roles))
