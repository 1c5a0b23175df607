"""GPP strings against vectors of IAB's own encoder (`infra/tools/gpp-vectors`), and strings that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.openrtb import gpp
from shared.openrtb.privacy import Person, person_of

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("gpp_vectors.json").read_text("utf-8"))["vectors"]
ANN = {"user": {"id": "ann"}}


def person(string: str, *sections: int, **more: Any) -> Person:
    return person_of(ANN | {"regs": {"gpp": string, "gpp_sid": list(sections)} | more})


def known(string: str, *sections: int, **more: Any) -> bool:
    return person(string, *sections, **more).known


def test_every_section_is_where_the_header_says(subtests: pytest.Subtests) -> None:
    for one in VECTORS:
        with subtests.test(one["label"]):
            assert gpp.sections_of(one["gpp"]) == {int(own): text for own, text in one["sections"].items()}


def test_every_opt_out_of_every_section_is_read(subtests: pytest.Subtests) -> None:
    read = {}
    for one in VECTORS:
        with subtests.test(one["label"]):
            for own, allows in one["allows"].items():
                child = one["child"][own]
                assert gpp.choices_of(int(own), one["sections"][own]) == gpp.Choices(allows, child)
                assert person(one["gpp"], int(own)).minor is child
                assert known(one["gpp"], int(own)) is (allows and not child)
                read[int(own), allows, child] = True
    assert read.keys() >= {(own, allows, False) for own in range(7, 28) for allows in (True, False)}
    assert read.keys() >= {(own, True, True) for own in range(7, 28) if own != 24}  # Maryland knows of none


def test_what_is_not_said_of_a_section_of_another_version_is_not_guessed() -> None:
    assert gpp.choices_of(7, "BAAqAAAAAQA") == gpp.Choices(permits=True, child=False)
    assert gpp.choices_of(7, "DAAqAAAAAQA") is None and gpp.choices_of(9, "CAAAABA") is None


def test_every_section_that_applies_must_allow_it() -> None:
    mixed = next(one["gpp"] for one in VECTORS if one["label"] == "one of them opted out")
    assert known(mixed, 6) and known(mixed, 7) and known(mixed, 6, 7) and known(mixed, 6, 7, 3, 4)
    assert not known(mixed, 10) and not known(mixed, 6, 7, 10)
    assert not known(mixed, 8)  # applies, and is not in the string
    assert not known(mixed, 5) and not known(mixed, 99)  # Canada, and what is to come: nobody reads them here
    assert known(mixed, -1)  # no section applies
    # Which ones apply is not known: each counts.
    assert not known(mixed) and not known(mixed, 0) and not known(mixed, 0, 7) and not known(mixed, 3)
    permitting = next(one["gpp"] for one in VECTORS if one["label"] == "usnat: nothing said")
    assert known(permitting) and known(permitting, 0) and not known("", 0) and known("")
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


@pytest.mark.slow
@given(st.text(alphabet="DBAabz019-_~.+=1YN", max_size=60), st.integers(-5, 60))
def test_no_string_is_too_odd(string: str, section: int) -> None:
    assert known(string, section) in (True, False)


OPTED_OUT = "DBABLA~BAAVAAAAAQA.QA"
SECTIONS: list[Any] = [[7], [7.0], "7", ["7"], 7, {}, [7, None], True, [[7]]]
SET: list[Any] = [1, True, "1", 1.0, 2, "yes", []]
UNREADABLE: list[Any] = [
    *({"gpp": OPTED_OUT, "gpp_sid": sections} for sections in SECTIONS),
    {"gpp": OPTED_OUT},
    {"ext": {"gpp": OPTED_OUT}},
    {"gpp": ["DBABLA~BAAqAAAAAQA"], "gpp_sid": [7]},
    {"gpp": "DBABLA~BAAqAAAAAQA" + "A" * 20_000, "gpp_sid": [7]},
    {"us_privacy": ["1YNN"]},
    {"us_privacy": {"v": "1YNN"}},
    {"us_privacy": "1YNN" * 1300},
    {"us_privacy": 1},
    {"us_privacy": "1YNN", "ext": {"us_privacy": "1YYN"}},
    *({"gdpr": one} for one in SET),
    *({"ext": {"gpc": one}} for one in SET),
    {"gpc": 1},
    {"ext": "1YNN"},
    [1],
    "x",
    7,
]
SILENT: list[Any] = [None, {}, {"us_privacy": None}, {"us_privacy": " "}, {"gpp": "", "gpp_sid": []}, {"ext": None}]


def test_what_is_there_and_cannot_be_read_allows_nothing() -> None:
    for regs in UNREADABLE:
        assert person_of(ANN | {"regs": regs}) == Person(None, known=False, minor=False), regs
    for one in SET:
        assert person_of(ANN | {"regs": {"coppa": one}}).minor
        assert not person_of(ANN | {"device": {"dnt": one}}).known
        assert not person_of(ANN | {"device": {"lmt": one}}).known
    assert not person_of(ANN, gpc=True).known


def test_what_is_not_there_or_says_no_allows_it() -> None:
    for clear in (None, 0, False, "0", "", " "):
        regs = {"coppa": clear, "gdpr": clear, "ext": {"gpc": clear}}
        assert person_of(ANN | {"regs": regs, "device": {"dnt": clear, "lmt": clear}}).known, clear
    for silent in SILENT:
        assert person_of(ANN | {"regs": silent}).known, silent
