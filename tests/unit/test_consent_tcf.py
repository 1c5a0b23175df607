"""TC strings against vectors of IAB's own encoder (`infra/tools/tcf-vectors`), and strings that are none."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from iab_tcf import decode_v2  # type: ignore[import-untyped]

from shared.policy.tcf import LONGEST, read

FILE = json.loads(Path(__file__).with_name("tcf_vectors.json").read_text(encoding="utf-8"))
ASKED: list[int] = FILE["asked"]
VECTORS: list[dict[str, Any]] = FILE["vectors"]
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")


def vector(name: str) -> str:
    (found,) = (one["tcf"] for one in VECTORS if one["name"] == name)
    return str(found)


def ids(flags: dict[int, bool]) -> list[int]:
    return [place for place, yes in flags.items() if yes]


def members(ranges: list[list[int]]) -> set[int]:
    return {one for first, last in ranges for one in range(first, last + 1)}


def test_the_vectors_hold_what_they_are_for() -> None:
    assert len(VECTORS) >= 30 and {one["policy_version"] for one in VECTORS} == {2, 3, 4, 5}
    cores = [decode_v2(one["tcf"]) for one in VECTORS]
    assert {core.is_consent_range_encoding for core in cores} == {True, False}
    assert {core.is_interests_range_encoding for core in cores} == {True, False}
    assert {entry.restriction_type for core in cores for entry in core.pub_restriction_entries} == {0, 1, 2}
    assert {len(one["tcf"].split(".")) for one in VECTORS} == {1, 2, 3}
    for name in ("purpose_one_treatment", "service_specific"):
        assert {one[name] for one in VECTORS} == {True, False}
    assert any(one["special_features"] for one in VECTORS) and any(one["legitimate_interests"] for one in VECTORS)


@pytest.mark.parametrize("one", VECTORS, ids=[one["name"] for one in VECTORS])
def test_every_string_is_read_as_its_encoder_meant_it(one: dict[str, Any]) -> None:
    core = decode_v2(one["tcf"])
    assert core.cmp_id == one["cmp_id"] and core.publisher_cc.decode() == one["country"]
    assert core.purpose_one_treatment is one["purpose_one_treatment"]
    assert ids(core.purposes_legitimate_interests) == one["legitimate_interests"]
    assert ids(core.special_features_optin) == one["special_features"]
    vendors, interests = members(one["vendors"]), members(one["interest_vendors"])
    for vendor in range(1, 1300):
        assert core.is_vendor_allowed(vendor) is (vendor in vendors)
        assert core.is_interest_allowed(vendor) is (vendor in interests)
    restricted = {
        (entry.purpose_id, entry.restriction_type, vendor)
        for entry in core.pub_restriction_entries
        for first, last in entry.restrictions_range
        for vendor in range(first, last + 1)
    }
    assert restricted == {tuple(entry) for entry in one["restrictions"]}
    for vendor in ASKED:
        signals = read(one["tcf"], vendor)
        assert signals.policy_version == one["policy_version"]
        assert signals.vendor_list_version == one["vendor_list_version"]
        assert (signals.service_specific, list(signals.purposes)) == (one["service_specific"], one["purposes"])
        assert signals.allows is (vendor in one["allows"]), vendor
        assert (signals.vendor is None) is (vendor == 0)


def test_what_is_cut_short_never_allows_what_the_whole_does_not() -> None:
    """The library reads ones beyond the end: without a check, half a string would consent to everything."""
    refused = 0
    for one in VECTORS:
        for length in range(len(one["tcf"])):
            part = one["tcf"][:length]
            try:
                signals = read(part, 7)
            except ValueError:
                refused += 1
                continue
            assert set(signals.purposes) == set(one["purposes"])
            if "." not in one["tcf"]:  # without its last segment a string is a whole one, of those it has
                assert signals.allows is (7 in one["allows"])
    assert refused > 1500


GOOD = vector("disclosed, 2.3")
CORE, DISCLOSED, PUBLISHER = GOOD.split(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "C",
        "yes",
        "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",  # of version 1
        "DOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",  # of a version to come
        CORE[:20],
        CORE + "=",
        CORE.replace("_", "/"),
        " " + CORE,
        CORE[:10] + "é" + CORE[11:],
        CORE + ".",
        "." + CORE,
        f"{DISCLOSED}.{CORE}",
        f"{CORE}.{DISCLOSED}.{DISCLOSED}",
        f"{CORE}.{DISCLOSED[:3]}",
        f"{CORE}.{PUBLISHER[:3]}",
        f"{CORE}.{DISCLOSED}.{PUBLISHER}.{PUBLISHER}.{DISCLOSED}",
        f"{CORE}.{'_' * 8}",
        "C" + "_" * 300,
        "C" + "A" * LONGEST,
    ],
)
def test_what_is_no_whole_string_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match="TC string"):
        read(text, 7)


@pytest.mark.parametrize(("first", "last", "fine"), [(3, 9, True), (9, 3, False), (0, 9, False)])
def test_ranges_that_make_no_sense_are_damage(first: int, last: int, fine: bool) -> None:
    start = f"{2:06b}".ljust(138, "0") + "1"  # up to IsServiceSpecific
    vendors = f"{9:016b}1{1:012b}1{first:016b}{last:016b}"
    bits = start.ljust(213, "0") + vendors + f"{0:016b}0{0:012b}"
    raw = int(bits.ljust(312, "0"), 2).to_bytes(39, "big")
    text = base64.urlsafe_b64encode(raw).decode()
    if fine:
        assert (read(text, 4).vendor, read(text, 10).vendor, read(text, 4).purposes) == (True, False, ())
    else:
        with pytest.raises(ValueError, match="TC string is damaged"):
            read(text, 4)
