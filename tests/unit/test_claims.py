"""The claim ledger and the numbers it reads."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import Ad
from shared.policy.characters import fold, read_chinese
from shared.policy.claims import trace_claims, unsupported
from shared.policy.dates import find_dates
from shared.policy.english_numbers import read_english
from shared.policy.numerals import find_quantities


def ad(**fields: Any) -> Ad:
    row: dict[str, Any] = {
        "ad_id": "a",
        "title": "最新款智能手机，限时优惠！",
        "description": "澜星 L9 手机，6.6 英寸 120 Hz 直屏，5000 mAh 电池配 67 W 快充，重 189 克。活动价 1999 元。",
        "landing_url": "https://example.com/",
        "language": "zh",
        "domain": "ecommerce",
        "brand": "澜星",
        "attributes": {"price": 1999, "currency": "CNY", "screen_inch": 6.6, "battery_mAh": 5000, "weight_g": 189},
        "end": datetime(2030, 12, 31, tzinfo=UTC).timestamp(),
    }
    return Ad(**row | fields)


def one(text: str) -> tuple[Decimal, str]:
    (quantity,) = find_quantities(text)
    return quantity.value, quantity.unit.dimension


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("二十", 20, ""),
        ("２０", 20, ""),
        ("20", 20, ""),
        ("٢٠", 20, ""),
        ("twenty", 20, ""),
        ("两千", 2000, ""),
        ("1.2万", 12000, ""),
        ("一万二", 12000, ""),
        ("12,000", 12000, ""),
        ("twelve thousand", 12000, ""),
        ("1.2亿", 120_000_000, ""),
        ("三百零五", 305, ""),
        ("贰拾", 20, ""),
        ("5000mAh", 5000, "charge"),
        ("五千毫安时", 5000, "charge"),
        ("5Ah", 5000, "charge"),
        ("1200万像素", 12_000_000, "pixels"),
        ("12 MP", 12_000_000, "pixels"),
        ("半小时", 1800, "time"),
        ("二十分钟", 1200, "time"),
        ("二十一天", 21 * 86400, "time"),
        ("二万一千", 21000, ""),
        ("一千公里", 1_000_000, "length"),
        ("30 分钟", 1800, "time"),
        ("1 年", 12, "months"),
        ("十二个月", 12, "months"),
        ("1999元", 1999, "currency:CNY"),
        ("¥1,999", 1999, "currency:CNY"),
        ("$1,999", 1999, "currency:USD"),
        ("八折", Decimal("0.8"), "left"),
        ("85折", Decimal("0.85"), "left"),
        ("20% off", Decimal("0.8"), "left"),
        ("立减20%", Decimal("0.8"), "left"),
        ("半价", Decimal("0.5"), "left"),
        ("half price", Decimal("0.5"), "left"),
        ("百分之二十", 20, "percent"),
        ("五分之一", 20, "percent"),
        ("百分百", 100, "percent"),
        ("第三代", 3, "ordinal"),
        ("2公斤", 2000, "mass"),
        ("24节课", 24, "count:lesson"),
        ("½", Decimal("0.5"), ""),
        ("③", 3, ""),
    ],
)
def test_a_quantity_has_one_value_in_every_script(text: str, value: Decimal | int, dimension: str) -> None:
    assert one(text) == (Decimal(value), dimension)


@pytest.mark.parametrize(
    "text",
    [
        "一款好手机",
        "十分好用",
        "一起出发",
        "统一配色",
        "万一下雨",
        "四季皆宜",
        "第一次尝试",
        "一个包，一身轻",
        "百搭",
        "one app",
        "周一见",
        "千万别错过",
    ],
)
def test_words_that_count_nothing_are_no_numbers(text: str) -> None:
    assert find_quantities(text) == []


@given(st.integers(min_value=0, max_value=99_999_999))
def test_chinese_numerals_read_back(number: int) -> None:
    assert read_chinese(chinese(number)) == number


def chinese(number: int) -> str:
    """Writes a number the way people do (万 groups of four)."""
    digits = "零一二三四五六七八九"
    if number == 0:
        return "零"

    def small(value: int) -> str:
        out, zero = "", False
        for scale, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
            digit = value // scale % 10
            if digit:
                out += ("零" if zero and out else "") + digits[digit] + name
                zero = False
            else:
                zero = True
        return out

    high, low = divmod(number, 10_000)
    text = small(high) + "万" if high else ""
    if low:
        text += ("零" if high and low < 1000 else "") + small(low)
    return text


@given(st.integers(min_value=2, max_value=999))
def test_english_number_words_read_back(number: int) -> None:
    ones = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    ones += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    words = []
    if number >= 100:
        words += [ones[number // 100], "hundred"]
    rest = number % 100
    if rest >= 20:
        words.append(tens[rest // 10] + (f"-{ones[rest % 10]}" if rest % 10 else ""))
    elif rest:
        words.append(ones[rest])
    assert read_english(" ".join(words)) == number


@pytest.mark.slow
@given(st.text(max_size=60))
@settings(deadline=None)  # the first example reads the lexicon
def test_spans_lie_within_any_text(text: str) -> None:
    assert len(fold(text)) == len(text)
    for claim in trace_claims(text, ad()):
        start, end = claim.span
        assert 0 <= start < end <= len(text)
        assert claim.text == text[start:end]


@pytest.mark.slow
@given(st.integers(min_value=1, max_value=99_999).filter(lambda n: n not in (5000, 5)))
@settings(deadline=None)  # the first example reads the lexicon
def test_a_battery_that_the_ad_does_not_have_is_never_supported(number: int) -> None:
    for text in (f"{number}mAh 大电池", f"{chinese(number)}毫安时"):
        assert unsupported(trace_claims(text, ad())), text


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("5000mAh 大屏", "attributes.battery_mAh"),
        ("五千毫安时", "attributes.battery_mAh"),
        ("只要1999元", "attributes.price"),
        ("￥１９９９", "attributes.price"),
        ("一千九百九十九元", "attributes.price"),
        ("重0.189公斤", "attributes.weight_g"),
        ("L9 手机", "description"),
        ("12月31日截止", "end"),
        ("十二月三十一日", "end"),
        ("两千元不到", "attributes.price"),
        ("限时", "title"),
        ("快充", "description"),
        ("fast charging", "description"),
    ],
)
def test_what_the_ad_says_is_supported_by_its_field(text: str, field: str) -> None:
    claims = trace_claims(text, ad())
    assert field in [claim.support for claim in claims], claims


@pytest.mark.parametrize(
    "text",
    [
        "1999美元",
        "199元",
        "续航两天",
        "八折",
        "12月30日截止",
        "2029年12月31日",
        "重 189 公斤",
        "5000 元",
        "5000",
        "6.6 毫米",
        "超薄 6 mm",
        "iPhone 同款",
        "华为同款",
        "防水",
        "免费",
        "包邮",
        "最强性能",
        "比别家更快",
        "日本制造",
        "5G",
        "第二件半价",
        "几十种颜色",
        "数千人好评",
        "12,999元",
        "一年质保",
        "wireless charging",
        "the fastest phone",
        "double the power",
        "save 20%",
    ],
)
def test_what_the_ad_does_not_say_is_not_supported(text: str) -> None:
    assert unsupported(trace_claims(text, ad())), text


def test_a_full_width_comma_parts_clauses_and_not_thousands() -> None:
    assert [quantity.value for quantity in find_quantities("书桌 70，159 元")] == [70, 159]


def test_ranges_share_their_unit() -> None:
    assert [(q.value, q.unit.dimension) for q in find_quantities("22 至 42 厘米")] == [
        (Decimal("0.22"), "length"),
        (Decimal("0.42"), "length"),
    ]


def test_dates_in_both_languages() -> None:
    assert [(day.year, day.month, day.day) for day in find_dates("2024年10月1日到十月七日")] == [
        (2024, 10, 1),
        (None, 10, 7),
    ]
    (day,) = find_dates("ends Oct 31, 2024")
    assert (day.year, day.month, day.day) == (2024, 10, 31)


def test_counts_need_the_same_counter() -> None:
    lessons = ad(title="书法课", description="", attributes={"lessons": 24}, brand=None)
    assert not unsupported(trace_claims("24节书法课", lessons))
    assert not unsupported(trace_claims("24 lessons of calligraphy", lessons))
    assert unsupported(trace_claims("24位老师的书法课", lessons))
    assert unsupported(trace_claims("24小时", lessons))


def test_a_price_of_nothing_is_free() -> None:
    assert not unsupported(trace_claims("免费阅读", ad(attributes={"price": 0})))


def test_a_bare_price_is_in_the_currency_of_the_language() -> None:
    english = ad(language="en", title="Phone", description="", attributes={"price": 299})
    assert not unsupported(trace_claims("Only $299", english))
    assert unsupported(trace_claims("Only €299", english))
