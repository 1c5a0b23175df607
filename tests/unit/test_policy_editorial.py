"""Platforms' editorial limits: columns, not characters, and what each of them refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unprocessable
from shared.policy.editorial import channels, columns, editorial


def refused(text: str, channel: str) -> set[str]:
    return {finding.rule for finding in editorial(text, channel) if finding.severity == "block"}


def warned(text: str, channel: str) -> set[str]:
    return {finding.rule for finding in editorial(text, channel) if finding.severity == "warn"}


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("保温杯", 6), ("Ａ1", 3), ("e\u0301", 1), ("한국어", 6), ("🙂", 2)]
)
def test_wide_characters_take_two_columns(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "channel", "over"),
    [
        ("x" * 30, "google_headline", False),
        ("x" * 31, "google_headline", True),
        ("杯" * 15, "google_headline", False),
        ("杯" * 16, "google_headline", True),
        ("杯" * 40, "wechat_moments", False),
        ("杯" * 41, "wechat_moments", True),
        ("x" * 40, "wechat_moments", False),
        ("杯" * 20, "xiaohongshu_title", False),
        ("杯" * 21, "xiaohongshu_title", True),
        ("杯" * 56, "douyin", True),
        ("x" * 281, "x", True),
        ("杯" * 141, "x", True),
    ],
)
def test_a_limit_counts_as_the_platform_does(text: str, channel: str, over: bool) -> None:
    assert ("editorial.length" in refused(text, channel)) is over


def test_beyond_the_advised_width_is_a_warning_where_the_platform_only_cuts() -> None:
    text = "x" * 126
    assert "editorial.length" in warned(text, "meta_primary")
    assert "editorial.length" not in refused(text, "meta_primary")


def test_the_finding_is_what_does_not_fit() -> None:
    (finding,) = [f for f in editorial("杯" * 16, "google_headline") if f.rule == "editorial.length"]
    assert (finding.start, finding.end) == (15, 16)


@pytest.mark.parametrize(
    ("text", "channel", "rule"),
    [
        ("Warm socks today!", "google_headline", "editorial.headline-exclamation"),
        ("Warm socks!!", "google_description", "editorial.punctuation"),
        ("好看？？", "google_description", "editorial.punctuation"),
        ("AMAZING WARM SOCKS", "google_description", "editorial.capitals"),
        ("Warm socks 🧦", "google_headline", "editorial.emoji"),
        ("Warm socks 🧦", "tiktok", "editorial.emoji"),
        ("W A R M socks", "google_headline", "editorial.spacing"),
        ("w.a.r.m.e.r socks", "google_headline", "editorial.spacing"),
        ("暖 和 的 袜 子", "google_headline", "editorial.spacing"),
        ("Soooooft socks", "google_headline", "editorial.spacing"),
        ("Call 555-123-4567", "google_description", "editorial.phone"),
        ("电话 138 0013 8000", "xiaohongshu_body", "editorial.phone"),
        ("加微信：abc12345", "xiaohongshu_body", "editorial.contact"),
        ("详见 https://example.com/socks", "douyin", "editorial.url"),
        ("Click here", "google_headline", "editorial.generic-call"),
        ("Are you depressed? Try this", "meta_primary", "editorial.personal-attributes"),
        ("You won't believe this", "meta_primary", "editorial.clickbait"),
    ],
)
def test_what_a_platform_refuses(text: str, channel: str, rule: str) -> None:
    assert rule in refused(text, channel)


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("Warm merino socks", "google_headline"),
        ("Socks with a HEPA-tested yarn, 12 colours.", "google_description"),
        ("保温杯，七色可选", "google_headline"),
        ("袜子到货 🧦", "xiaohongshu_title"),
        ("周末集市，十点开始！", "wechat_moments"),
        ("Order 1234567 pairs", "google_description"),
    ],
)
def test_ordinary_copy_is_not_refused(text: str, channel: str) -> None:
    assert refused(text, channel) == set()


def test_an_unknown_channel_is_the_callers_mistake() -> None:
    with pytest.raises(Unprocessable, match="channel: one of"):
        editorial("text", "fax")


def test_every_channel_says_where_its_figures_are_from() -> None:
    for channel in channels().values():
        assert channel.width > 0 and channel.name["zh"] and channel.name["en"]
        assert channel.limit is None or channel.source


@given(
    st.text(max_size=120), st.sampled_from(["google_headline", "tiktok", "xiaohongshu_title", "meta_primary", "feed"])
)
def test_spans_lie_within_any_text(text: str, channel: str) -> None:
    for finding in editorial(text, channel):
        assert 0 <= finding.start < finding.end <= len(text)
