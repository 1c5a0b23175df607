"""Masking of contact data: the labelled set, what no embedding may hide, and what must stay as it is.

``python -m pytest -s tests/unit/test_contact.py -k labelled`` prints the figures beside those of plain expressions.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from shared.domain import Event, Rejection
from shared.preprocess import clean_text, parse_event
from shared.preprocess.contact import KINDS, LONGEST, mask, named_after
from shared.stores.identities import Identities
from tests.data import ROOT, shared_data

LABELLED = Path(__file__).parent.parent / "labelled" / "contact.jsonl"
NOW = 1_790_000_000.0
_PLACEHOLDER = re.compile("|".join(map(re.escape, KINDS)))

# What is usually written for this.
PLAIN = (
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "[email]"),
    (re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)"), "[id]"),
    (re.compile(r"(?<!\d)(?:\d{4}[ -]?){3}\d{4,7}(?!\d)"), "[card]"),
    (re.compile(r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d{9}(?!\d)|\+?\(?\d{2,4}\)?[ -]?\d{3,4}[ -]?\d{4}(?!\d)"), "[phone]"),
)


def plain(text: str) -> str:
    for expression, kind in PLAIN:
        text = expression.sub(kind, text)
    return text


def labelled(part: str) -> list[dict[str, Any]]:
    rows = map(json.loads, LABELLED.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["part"] == part]


def wanted(row: dict[str, Any]) -> str:
    text, done = "", 0
    for start, end, kind in row["contact"]:
        text += f"{row['text'][done:start]}[{kind}]"
        done = end
    return clean_text(text + row["text"][done:])


def judged(rows: list[dict[str, Any]], masking: Callable[[str], str]) -> dict[str, float]:
    """Recall of the pieces, by kind too; the share of texts without any that changed; how many came out just right."""
    there: Counter[str] = Counter()
    found: Counter[str] = Counter()
    alarms = exact = 0
    for row in rows:
        text = clean_text(row["text"])
        got, want = Counter(_PLACEHOLDER.findall(masking(text))), Counter(_PLACEHOLDER.findall(wanted(row)))
        there += want
        found += got & want
        exact += masking(text) == wanted(row)
        alarms += not row["contact"] and masking(text) != text
    return {
        "recall": found.total() / there.total(),
        **{kind: found[kind] / there[kind] for kind in there},
        "false_alarms": alarms / sum(not row["contact"] for row in rows),
        "exact": exact / len(rows),
    }


@pytest.mark.parametrize("part", ["a", "b"])
def test_the_labelled_set(part: str) -> None:
    rows = labelled(part)
    ours, baseline = judged(rows, mask), judged(rows, plain)
    for name, figures in (("ours", ours), ("plain expressions", baseline)):
        print(f"\n{part}, {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()), end="")
    assert ours["recall"] >= 0.98 and ours["false_alarms"] < 0.02 and ours["exact"] >= 0.95
    assert baseline["recall"] < ours["recall"] and baseline["false_alarms"] > ours["false_alarms"]


@pytest.mark.parametrize("name", ["classify/thucnews/dev.jsonl.gz", "behaviour/beauty/items.jsonl.gz"])
def test_real_titles_stay(name: str) -> None:
    """22,000 titles of news and goods, looked through by hand: none holds contact data."""
    with gzip.open(shared_data(name), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = [clean_text(row.get("text") or row.get("title") or "") for row in rows]
    assert [text for text in texts if mask(text) != text] == []


# Of any number in any place ----------------------------------------------------------------------------------------

_AROUND = st.text(st.sampled_from("，。！ 我的是请在明天看书吧，；?!\n"), max_size=8)
_JOINTS = st.sampled_from(["", "", " ", "-"])


def in_groups(digits: str, sizes: tuple[int, ...], joint: str) -> str:
    groups, place = [], 0
    for size in sizes:
        groups.append(digits[place : place + size])
        place += size
    return joint.join(groups)


@st.composite
def mobiles(draw: st.DrawFn) -> str:
    digits = draw(st.sampled_from(["139", "138", "150", "177", "186", "199", "133"])) + draw(
        st.text("0123456789", min_size=8, max_size=8)
    )
    prefix = draw(st.sampled_from(["", "", "+86", "+86 ", "86-", "0086 "]))
    return prefix + in_groups(digits, (3, 4, 4), draw(_JOINTS))


@st.composite
def landlines(draw: st.DrawFn) -> str:
    area = draw(st.sampled_from(["010", "021", "020", "0755", "0571", "028"]))
    return area + draw(st.sampled_from(["-", " "])) + "8" + draw(st.text("123456789", min_size=7, max_size=7))


@st.composite
def resident_ids(draw: st.DrawFn) -> str:
    province = draw(st.sampled_from(["110105", "310115", "440305", "510104", "330106"]))
    born = draw(st.dates(min_value=date(1930, 1, 1), max_value=date(2020, 1, 1)))
    body = f"{province}{born:%Y%m%d}{draw(st.integers(0, 999)):03d}"
    digits = body + ric.calc_check_digit(body + "0")
    return in_groups(digits, (6, 8, 4), draw(_JOINTS))


@st.composite
def cards(draw: st.DrawFn) -> str:
    prefix, size = draw(st.sampled_from([("622202", 19), ("621700", 19), ("4539", 16), ("5412", 16), ("622588", 16)]))
    body = prefix + draw(st.text("0123456789", min_size=size - len(prefix) - 1, max_size=size - len(prefix) - 1))
    return in_groups(body + luhn.calc_check_digit(body), (4, 4, 4, 4, 3), draw(_JOINTS)).rstrip(" -")


_NAME = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}[a-z0-9]", fullmatch=True)
_HOST = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True)
_EMAILS = st.builds("{}@{}.{}".format, _NAME, _HOST, st.sampled_from(["com", "cn", "co.uk", "edu.cn"]))


@given(_AROUND, mobiles() | landlines() | resident_ids() | cards() | _EMAILS, _AROUND)
@example("", "13912345678", "")
def test_none_survives_whatever_is_around_it(before: str, contact: str, after: str) -> None:
    masked = mask(clean_text(before + contact + after))
    assert not re.search(r"[0-9@]", masked)
    assert _PLACEHOLDER.search(masked)
    assert mask(masked) == masked


@given(
    st.lists(mobiles() | resident_ids() | cards() | _EMAILS, min_size=2, max_size=4),
    st.sampled_from(["，", " 或 ", "/", "; "]),
)
def test_none_hides_another(contacts: list[str], joint: str) -> None:
    assert not re.search(r"[0-9@]", mask(clean_text(joint.join(contacts))))


@given(st.text() | st.text(st.sampled_from("0123456789 -+()@.ax[]电话"), max_size=60))
def test_masked_is_masked(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.text(st.characters(exclude_characters="@＠", exclude_categories=["N", "Cs"])))
def test_without_digits_and_at_nothing_changes(text: str) -> None:
    spelt = {"艾特", "[at]", "(at)", "{at}", " dot ", " at "} | set(
        "零〇一幺壹二两贰貳三叁參四肆五伍六陆陸七柒八捌九玖"
    )
    if not any(part in text.lower() for part in spelt):
        assert mask(text) is text


def test_usual_texts_load_no_library() -> None:
    script = (
        "import sys; from shared.preprocess.contact import mask\n"
        "mask('小米 14 Ultra 16+512GB 5999 元'); mask('iPhone 15, 2010-2020')\n"
        "print([name for name in sys.modules if name in ('phonenumbers', 'stdnum')])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("QQ 382910475 加我", "QQ [account] 加我"),
        ("QQ群 627866144", None),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [account]"),
        ("IBAN DE88 3704 0044 0532 0130 00", None),  # its checksum is wrong
        ("SSN 536-90-4399", "SSN [id]"),
        ("我的号①③⑧①②③④⑤⑥⑦⑧", "我的号[phone]"),
        ("1⃣3⃣8⃣1⃣2⃣3⃣4⃣5⃣6⃣7⃣8⃣", "[phone]⃣"),
        ("١٢٣٤٥٦٧ نسخة", None),  # seven digits of another script are no number yet
        ("微信13812345678支付宝13912345678", "微信[phone]支付宝[phone]"),
        ("12345-13812345678-2", "12345-[phone]"),
        ("O13812345678", None),  # a code of letters and digits
        ("身份证110105199405243671", "身份证[id]"),  # a slip in the last digit
        ("数字110105199405243671", None),
        ("110105199402303670", None),  # no such day
        ("thanks@everyone.Great job", None),
        ("https://item.example.com/13812345678", None),
        ("mailto:ann@example.com?subject=x", "mailto:[email]?subject=x"),
        ("价格 13800138000 元", None),
        ("$13800138000", None),
    ],
)
def test_single_cases(text: str, masked: str | None) -> None:
    assert mask(clean_text(text)) == (clean_text(text) if masked is None else masked)


# On the way in -----------------------------------------------------------------------------------------------------


def keyed(event_id: str) -> str:
    return f"keyed-{len(event_id)}"


def event(index: int = 0, keyed: Callable[[str], str] | None = keyed, **changes: object) -> Event:
    row = {"user_id": "u", "event": "view", "timestamp": NOW - 60} | changes
    parsed = parse_event(row, now=NOW, index=index, keyed=keyed)
    assert isinstance(parsed, Event), parsed
    return parsed


def test_texts_and_tags_of_events_are_masked() -> None:
    one = event(text="出琴，电话 138-1726-4591", tags=["吉他", "ann@example.com", "bob@example.com"])
    assert (one.text, one.tags) == ("出琴，电话 [phone]", ("吉他", "[email]"))


def test_a_number_at_the_end_of_the_longest_text_is_not_cut_in_two() -> None:
    for room in range(1, 12):
        text = event(text="琴" * (2000 - room) + "13817264591").text
        assert text is not None and len(text) <= 2000 and not re.search(r"\d", text)


@pytest.mark.slow
@given(st.text(st.sampled_from("138 1726459-@a.com电话"), min_size=1950, max_size=2100))
def test_a_long_text_is_taken_again_as_it_is(text: str) -> None:
    once = event(text="电话" + text).text
    assert event(text=once).text == once


@pytest.mark.parametrize("shift", [0, 7, 20, 40, 63])
@pytest.mark.parametrize("contact", ["13817264591", "alice.smith@example.com", "622202 0212 3456 7890 128"])
def test_a_text_that_masking_made_short_does_not_end_in_half_a_number(contact: str, shift: int) -> None:
    """Addresses before it make room, so that what was cut off before the masking would be within what is kept."""
    most = 2000 + LONGEST
    body = f"{'a' * 50}@example.com " * 31
    cut_at = most - len(body) - len(contact) + 4 - shift % 3
    text = f"{body}{'琴' * cut_at} {contact} und mehr"
    for sent in (text, text + "<b></b>" * 3000):
        kept = event(text=sent).text
        assert kept is not None and not re.search(r"\d|alice|@", kept.replace("[email]", ""))


_IDS = [
    "ann@example.com-1",
    "13812345678",
    "o_13812345678_2",
    "110105199405243670",
    "+8613912345678",
    "139-1234-5678",
    "110105-19940524-3670",
    "4111111111111111",
    "4111-1111-1111-1111",
]


@pytest.mark.parametrize("event_id", _IDS)
def test_an_event_id_that_names_a_person_becomes_another_by_a_key(event_id: str) -> None:
    assert event(event_id=event_id).event_id == keyed(event_id)
    derived = [event(index, keyed=None, event_id=event_id).event_id for index in (0, 1, 1)]
    assert derived == [event(index).event_id for index in (0, 1, 1)] and derived[0] != derived[1]


def test_what_an_event_id_becomes_says_nothing_without_the_key() -> None:
    one, other = (Identities(None, key) for key in (b"one", b"other"))  # type: ignore[arg-type]
    made = one.keyed_event_id("demo", "13812345678")
    assert re.fullmatch("[0-9a-f]{32}", made) and made == one.keyed_event_id("demo", "13812345678")
    assert made not in (other.keyed_event_id("demo", "13812345678"), one.keyed_event_id("acme", "13812345678"))
    assert not one.digest("demo", "13812345678").startswith(made)  # or it would lead to the person of that id
    assert event(event_id=made).event_id == made


@pytest.mark.parametrize(
    "event_id",
    [
        "e-1",
        "ORD-20261126-000123",
        "1790000000.123",
        "20261126183012345678",
        "550e8400-e29b-41d4-a716-446655440000",
        "1790000000000",
        "a@1",
        "7f13812345678b",
    ],
)
def test_other_event_ids_stay(event_id: str) -> None:
    assert not named_after(event_id)
    assert event(event_id=event_id).event_id == event_id


def test_a_platform_is_masked() -> None:
    assert (event(platform="app-13812345678").platform, event(platform="web").platform) == ("app-[phone]", "web")


def test_an_item_stays_findable() -> None:
    assert event(item_id="13812345678").item_id == "13812345678"


def test_a_reason_quotes_no_contact_data() -> None:
    for field, value in (
        ("event", "ann@example.com"),
        ("timestamp", "13812345678 nachmittags"),
        ("value", "ann@example.com"),
    ):
        refused = parse_event({"user_id": "u", "event": "view", "timestamp": NOW} | {field: value}, now=NOW, index=0)
        assert isinstance(refused, Rejection) and refused.field == field
        assert "ann@" not in refused.reason and "13812345678" not in refused.reason
