"""Tenants' terms: who a caller is, and what is no such document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ArtifactError
from shared.stores import Stores
from shared.tenants import ADS, Limits, Tenants, is_name
from shared.trained import fetch, folder_of, forget

ROLE = "arn:aws:iam::111122223333:role"
STS = "arn:aws:sts::111122223333:assumed-role"
TERMS = {
    "acme": {"consent_basis": "asserted", "roles": [f"{ROLE}/acme-*", "arn:aws:iam::111122223333:user/acme"]},
    "globex": {"roles": [f"{ROLE}/globex-?"], "limits": {"requests_per_minute": 60, "ads": None}},
    "*": {"limits": {"events_per_day": 1000}},
}


@pytest.fixture(scope="module")
def tenants() -> Tenants:
    return Tenants.parse(json.dumps(TERMS), basis="required")


def test_without_a_document_everybody_has_the_deployments_terms() -> None:
    none = Tenants.parse(" ", basis="required")
    assert none.consent_basis("any") == "required" and none.limits("any") == Limits() and not none.has_roles


def test_terms_are_a_tenants_own_or_those_of_all_others(tenants: Tenants) -> None:
    assert [tenants.consent_basis(name) for name in ("acme", "globex", "other")] == ["asserted", "required", "required"]
    assert tenants.limits("acme") == Limits(ads=ADS)
    assert tenants.limits("globex") == Limits(requests_per_minute=60, ads=None)
    assert tenants.limits("other") == Limits(events_per_day=1000, ads=ADS)


@pytest.mark.parametrize(
    ("arn", "tenant"),
    [
        (f"{STS}/acme-web/session", "acme"),
        (f"{STS}/acme-web/acme@example.com", "acme"),
        (f"{ROLE}/acme-web", "acme"),
        (f"{ROLE}/a/path/acme-web", "acme"),
        ("arn:aws:iam::111122223333:user/people/acme", "acme"),
        (f"{STS}/globex-1/acme-web", "globex"),
        (f"{STS}/globex-12/s", None),
        (f"{STS}/acme/s", None),
        (f"{STS}/Acme-web/s", None),
        ("arn:aws:sts::999988887777:assumed-role/acme-web/s", None),
        ("arn:aws-cn:sts::111122223333:assumed-role/acme-web/s", None),
        ("arn:aws:iam::111122223333:user/acme-web", None),
        ("arn:aws:sts::111122223333:federated-user/acme-web", None),
        ("arn:aws:iam::111122223333:root", None),
        (f"{STS}/other/x:role/acme-web", None),
        ("", None),
    ],
)
def test_a_caller_is_told_by_role_or_user(tenants: Tenants, arn: str, tenant: str | None) -> None:
    assert tenants.of_role(arn) == tenant


def test_a_role_of_two_tenants_is_nobodys() -> None:
    both = Tenants.parse(json.dumps({"a": {"roles": [f"{ROLE}/x*"]}, "b": {"roles": [f"{ROLE}/*y"]}}), basis="required")
    assert (both.of_role(f"{STS}/x/s"), both.of_role(f"{STS}/y/s")) == ("a", "b")
    with pytest.raises(ValueError, match="a and of b"):
        both.of_role(f"{STS}/xy/s")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "JSON"),
        ("[]", "by tenant"),
        ('{"a": {}, "a": {}}', "twice"),
        ('{"a": {"ads": 1, "ads": 2}}', "twice"),
        ({"a/b": {}}, "no name"),
        ({"": {}}, "no name"),
        ({"ａ": {}}, "no name"),
        ({"a\n": {}}, "no name"),
        ({"a": []}, "consent_basis, roles and limits"),
        ({"a": {"role": []}}, "consent_basis, roles and limits"),
        ({"a": {"consent_basis": "maybe"}}, "asserted or required"),
        ({"a": {"roles": f"{ROLE}/a"}}, "list"),
        ({"*": {"roles": [f"{ROLE}/a"]}}, "named"),
        ({"a": {"roles": [f"{ROLE}/a"]}, "b": {"roles": [f"{ROLE}/a"]}}, "twice"),
        ({"a": {"roles": ["*"]}}, "NAME"),
        ({"a": {"roles": ["arn:aws:iam::*:role/a"]}}, "NAME"),
        ({"a": {"roles": [f"{ROLE}/team/*"]}}, "without a path"),
        ({"a": {"roles": [f"{ROLE}/[a]"]}}, "NAME"),
        ({"a": {"roles": [f"{STS}/a/s"]}}, "NAME"),
        ({"a": {"roles": [f"{ROLE}/a\n"]}}, "NAME"),
        ({"a": {"limits": {"requests": 1}}}, "requests_per_minute"),
        ({"a": {"limits": {"ads": -1}}}, "whole number"),
        ({"a": {"limits": {"ads": True}}}, "whole number"),
        ({"a": {"limits": {"ads": 1.5}}}, "whole number"),
    ],
)
def test_what_is_wrong_is_said(document: Any, said: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ValueError, match=said):
        Tenants.parse(text, basis="required")


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b", "a#", "a\n", "\x00", "ä", "ａ", "*", ".", "..", "a" * 65, None, 1, ["a"]]
)
def test_what_separates_the_parts_of_a_key_is_in_no_name(name: object) -> None:
    assert not is_name(name)
    assert is_name("Acme_2-eu") and is_name("a" * 64)


# Artefacts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("shared.trained.gettempdir", lambda: str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "version", ["..", "../../b/heads/h/v1", "v1/../../x", "/etc", ".", "", "v1\n", "v1\x00", "v" * 200]
)
def test_no_version_leaves_its_tenants_folder(stores: Stores, local: Path, version: str) -> None:
    theirs = folder_of("b", "heads/h", "v1")
    theirs.mkdir(parents=True)
    (theirs / "model").write_text("theirs")
    stores.objects.put(f"artifacts/a/heads/h/{version}/model", b"ours")
    with pytest.raises(ArtifactError, match="no version"):
        fetch(stores.objects, "a", "heads/h", version)
    forget("a", "heads/h", version)
    assert [path.read_text() for path in local.rglob("*") if path.is_file()] == ["theirs"]


def test_no_file_of_an_artefact_leaves_its_folder(stores: Stores, local: Path) -> None:
    stores.objects.put("artifacts/a/heads/h/v1/deep/model", b"ours")
    assert (fetch(stores.objects, "a", "heads/h", "v1") / "deep" / "model").read_bytes() == b"ours"
    shutil.rmtree(local / "adtailor-trained")
    stores.objects.put("artifacts/a/heads/h/v1/../../../../b/heads/h/v1/model", b"ours")
    with pytest.raises(ArtifactError, match="outside its folder"):
        fetch(stores.objects, "a", "heads/h", "v1")
    assert not (local / "adtailor-trained" / "b").exists()
