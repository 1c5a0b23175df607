"""GPP strings against vectors of IAB's own encoder (`infra/tools/gpp-vectors`), and strings that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.openrtb import gpp
from shared.openrtb.privacy import person_of

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("gpp_vectors.json").read_text("utf-8"))["vectors"]
ANN = {"user": {"id": "ann"}}


def known(string: str, *sections: int, **more: Any) -> bool:
    return person_of(ANN | {"regs": {"gpp": string, "gpp_sid": list(sections)} | more}).known


def test_every_section_is_where_the_header_says(subtests: pytest.Subtests) -> None:
    for one in VECTORS:
        with subtests.test(one["label"]):
            assert gpp.sections_of(one["gpp"]) == {int(own): text for own, text in one["sections"].items()}


def test_every_opt_out_of_every_section_is_read(subtests: pytest.Subtests) -> None:
    read = {}
    for one in VECTORS:
        with subtests.test(one["label"]):
            for own, allows in one["allows"].items():
                assert gpp.permits(int(own), one["sections"][own]) is allows
                assert known(one["gpp"], int(own)) is allows
                read[int(own), allows] = True
    assert read.keys() == {(own, allows) for own in range(7, 28) for allows in (True, False)}


def test_every_section_that_applies_must_allow_it() -> None:
    mixed = next(one["gpp"] for one in VECTORS if one["label"] == "one of them opted out")
    assert known(mixed, 6) and known(mixed, 7) and known(mixed, 6, 7) and known(mixed, 6, 7, 3, 4)
    assert not known(mixed, 10) and not known(mixed, 6, 7, 10)
    assert not known(mixed, 8)  # applies, and is not in the string
    assert not known(mixed, 5) and not known(mixed, 99)  # Canada, and what is to come: nobody reads them here
    assert known(mixed) and known(mixed, -1) and known(mixed, 0)
    assert not known(mixed, 6, us_privacy="1YYN")  # the older string beside it still counts


def test_what_is_no_such_string_allows_nothing_that_applies() -> None:
    for string in (
        "",
        "~",
        "DBABLA",  # a section short
        "DBABLA~BVVqAAAAAWA.QA~1YNN",  # one too many
        "CBABLA~BVVqAAAAAWA.QA",  # no header
        "DBABLA~BVV",  # cut off
        "DBABLA~BVVq=AAAAWA",
        "DBABLA~BVV+AAAAAWA",
        "DB~x",
        "DBABL~x",
        "DB___________________________~x",
        f"DB{'z' * 4000}~x",
        "DBAA~",
        "1YNN",
    ):
        assert not known(string, 7), string


@given(st.text(alphabet="DBAabz019-_~.+=1YN", max_size=60), st.integers(-5, 60))
def test_no_string_is_too_odd(string: str, section: int) -> None:
    assert known(string, section) in (True, False)
