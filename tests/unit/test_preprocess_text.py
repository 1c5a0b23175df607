"""clean_text and match_key."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.preprocess import clean_text, match_key
from shared.preprocess.text import has_invisible

MARKUP = st.sampled_from(
    [
        *(
            "<",
            ">",
            "&",
            "&lt;",
            "&gt;",
            "&amp;",
            "&#60;",
            "&#38;",
            "&amp;#x3c;",
            "b>",
            "</b>",
            "<b",
            "<!--",
            "-->",
            '"',
        ),
        *("'", "<script>", "</script>", "<br/>", "&nbsp;", "&#8203;", "&#xfeff;", "&#xd800;", "\u200b", "\u037e", "a"),
        *(
            "手",
            " ",
            "\n",
            "\x00",
            "\ud800",
            "Ａ",
            "１",
            "\u3000",
            "e",
            "\u0301",
            "\u0338",
            ";",
            "#",
            "lt",
            "amp",
            "\x85",
        ),
    ]
)
TEXTS = st.one_of(st.text(st.characters(codec=None), max_size=60), st.lists(MARKUP, max_size=25).map("".join))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a \t b\r\n c ", "a b c"),
        ("<p>新款<b>手</b>机</p><br>限时", "新款手机 限时"),
        ("Tom &amp; Jerry &lt;3", "Tom & Jerry <3"),
        ("twice &amp;amp;amp; more", "twice & more"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;ok", "ok"),
        ("<style>p{color:red}</style>ok<!-- not shown -->", "ok"),
        ("<a title='5>3' href=\"x\">link</a>", "link"),
        ("3 < 5 and 7 > 6", "3 < 5 and 7 > 6"),
        ("I <3 R&D, AT&T, a=1&copy=2", "I <3 R&D, AT&T, a=1&copy=2"),
        ("ＡＢＣ１２３\u3000ｘ", "ABC123 x"),
        ("商品Ａ：最新款，限时优惠！（５０％）", "商品A：最新款，限时优惠！（50％）"),
        ("傳統臺灣「繁體」", "傳統臺灣「繁體」"),
        ("a\u200b\u00ad\ufeffb\x00\x07c\ud83d", "abc"),
        ("e\u0301", "é"),
        ("", ""),
    ],
)
def test_clean_text_examples(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


def test_clean_text_cuts_at_its_limit_without_a_space_at_the_end() -> None:
    assert clean_text("ab cd", 3) == "ab"
    assert clean_text("x" * 3000) == "x" * 2000
    assert clean_text("<b>" + "字" * 30 + "</b>", 10) == "字" * 10


@given(TEXTS, st.sampled_from([3, 20, 2000]))
@example("&&#35;38;lt;b>", 2000)
@example("<<b>b>x", 2000)
def test_clean_text_is_idempotent_and_shows_everything_it_keeps(raw: str, limit: int) -> None:
    clean = clean_text(raw, limit)
    assert clean_text(clean, limit) == clean
    assert len(clean) <= limit
    assert not has_invisible(clean)
    assert not {unicodedata.category(character) for character in clean} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(clean) & set("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0f\xad\xa0\u3000")
    assert clean == clean.strip() and "  " not in clean
    clean.encode()


@given(st.text(st.sampled_from("abcXYZ 019，。！、？手机品牌限时优惠繁體臺灣()-%$"), max_size=40))
def test_the_fast_path_changes_nothing_but_spaces(raw: str) -> None:
    assert clean_text(raw) == " ".join(raw.split())


def test_deep_nesting_ends_and_stays_idempotent() -> None:
    nested = "<b>bold</b>"
    for _ in range(30):
        nested = nested.replace("&", "&#38;", 1) if nested.startswith("&") else nested.replace("<", "&#60;", 1)
        nested = nested.replace("#", "&#35;", 1)
    clean = clean_text(nested)
    assert clean_text(clean) == clean
    assert "<b>" not in clean


HOSTILE = ["<a ", '<a "<a "x', "&&#35;", "<!--", "<script>", "<a/", "<", "&#35;38;", "&amp;", "&lt;"]


@pytest.mark.timeout(20)  # takes 0.1 s; were any step quadratic, hours
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_markup_takes_linear_time(piece: str) -> None:
    raw = piece * (500_000 // len(piece))
    assert len(clean_text(raw, limit=len(raw))) <= len(raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ＩＰＨＯＮＥ　１５", "iphone 15"),
        ("臺灣頭髮護理", "台湾头发护理"),
        ("最 佳 手 機！", "最佳手机"),
        ("顶-级★", "顶级"),
        ("看著說話", "看着说话"),
        ("Straße", "STRASSE"),
        ("①②", "12"),
        ("ﬁne", "fine"),
    ],
)
def test_match_key_joins(one: str, other: str) -> None:
    assert match_key(one) == match_key(other) != ""


def test_match_key_keeps_apart() -> None:
    assert len({match_key(text) for text in ("手机", "手表", "手机 2", "phone")}) == 4
    assert match_key("！？ …") == ""


WORDS = st.text(st.sampled_from("abzABZ0189手机表买卖国说话头发长门华为万与东丝"), max_size=30)
TRADITIONAL = str.maketrans("机买卖国说话头发长门华为万与东丝", "機買賣國說話頭髮長門華為萬與東絲")


@given(WORDS, st.data())
def test_match_key_does_not_see_width_script_or_spacing(text: str, data: st.DataObject) -> None:
    key = match_key(text)
    wide = "".join(chr(ord(character) + 0xFEE0) if character.isascii() else character for character in text)
    gaps = st.sampled_from(["", " ", "\u3000", "-", "，", "\u200b"])
    spaced = "".join(character + data.draw(gaps) for character in text)
    assert match_key(wide) == key
    assert match_key(text.translate(TRADITIONAL)) == key
    assert match_key(spaced) == key
    assert match_key(text.swapcase()) == key


@given(st.text(st.characters(codec=None), max_size=40))
def test_match_key_takes_any_text(text: str) -> None:
    key = match_key(text)
    assert not any(character.isspace() or unicodedata.category(character)[0] == "P" for character in key)
    key.encode()
