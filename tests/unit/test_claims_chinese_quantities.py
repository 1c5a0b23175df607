"""Numbers of a Chinese copy: read in any script, converted, worked out, bounded, and scoped no wider than the ad's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import Ad
from shared.policy.characters import read_chinese
from shared.policy.claims import trace_claims, unsupported
from shared.policy.dates import find_dates
from shared.policy.numerals import find_quantities
from shared.policy.polarity import bound

_DIGITS = "零一二三四五六七八九"


def spell(value: int) -> str:
    """A whole number below 10^8 as Chinese numerals."""
    if value >= 10_000:
        above, below = divmod(value, 10_000)
        zero = "零" if 0 < below < 1000 else ""
        return spell(above) + "万" + zero + (spell(below) if below else "")
    out, pending = "", False
    for place, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // place % 10
        if digit:
            out += ("零" if pending and out else "") + _DIGITS[digit] + unit
        pending = not digit
    return out or "零"


def ad(title: str, description: str, **attributes: str) -> Ad:
    return Ad(
        ad_id="a", landing_url="https://shop.example/", language="zh", domain="ecommerce",
        title=title, description=description, attributes=dict[str, str | float](attributes),
    )  # fmt: skip


def refused(text: str, about: Ad) -> list[str]:
    return [claim.text for claim in unsupported(trace_claims(text, about))]


@given(st.integers(min_value=1, max_value=99_999_999))
@settings(max_examples=300, deadline=None)
def test_a_number_has_its_value_in_digits_full_width_and_numerals(value: int) -> None:
    wide = "".join(chr(ord("０") + int(digit)) for digit in str(value))
    assert read_chinese(spell(value)) == value
    for written in (str(value), wide, f"{value:,}", spell(value)):
        quantity = find_quantities(f"共{written}毫升")[0]
        assert quantity.value * 1000 == value and quantity.unit.dimension == "volume", written


@given(st.integers(min_value=1, max_value=999), st.integers(min_value=1, max_value=9))
@settings(max_examples=100, deadline=None)
def test_tens_of_thousands_are_read_in_digits_and_in_part(whole: int, tenths: int) -> None:
    for written in (f"{whole}.{tenths}万", f"{whole}.{tenths} 万", f"{spell(whole)}万{_DIGITS[tenths]}千"):
        assert find_quantities(f"{written}次")[0].value == whole * 10_000 + tenths * 1000, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("两千", 2000),
        ("廿四", 24),
        ("卅", 30),
        ("二百五", 250),
        ("一万二", 12_000),
        ("两万零五十", 20_050),
        ("一亿二千万", 120_000_000),
    ],
)
def test_numerals_as_people_write_them(text: str, value: int) -> None:
    assert read_chinese(text) == value


@pytest.mark.slow
@given(
    st.sampled_from(
        [("斤", "克", 500), ("公斤", "斤", 2), ("公里", "米", 1000), ("里路", "米", 500), ("升", "毫升", 1000)]
    ),
    st.integers(min_value=2, max_value=400),
)
@settings(max_examples=100, deadline=None)
def test_units_convert_both_ways(units: tuple[str, str, int], count: int) -> None:
    big, small, factor = units
    assert find_quantities(f"重{count}{big}")[0].value == find_quantities(f"重{count * factor}{small}")[0].value
    said, told = ad("货", f"净含量{count}{big}。"), ad("货", f"净含量{count * factor}{small}。")
    assert refused(f"足足{count * factor}{small}", said) == []
    assert refused(f"足足{spell(count)}{big}", told) == []
    assert refused(f"足足{spell(count + 1)}{big}", told) != []


@given(
    st.integers(min_value=2, max_value=60),
    st.integers(min_value=3, max_value=40),
    st.integers(min_value=5, max_value=99),
)
@settings(max_examples=60, deadline=None)
def test_a_price_is_shared_and_a_pack_is_counted(bags: int, pieces: int, each: int) -> None:
    about = ad("饺子", f"每袋{pieces}只，共{bags}袋，{bags * each}元。")
    assert refused(f"一袋{spell(each)}块钱", about) == []
    if bags * pieces >= 20:
        assert refused(f"总共{spell(bags * pieces)}只", about) == []
    if each + 1 not in (bags, pieces):
        assert refused(f"一袋只要{each + 1}元", about) != []


YOGA = ad(
    "半亩 瑜伽小班",
    "每周二、周四晚7点和周六上午9点半开课，每节75分钟，每班最多8人。季卡36节1980元，次卡10节680元，单次80元。次卡有效期3个月。",
)
ROOM = ad(
    "云上民宿",
    "周日至周四每晚468元，周五、周六每晚588元。连住3晚起打9折。含早餐三份。距高铁站12公里。入住前3天可免费取消。",
)
PUPPIES = ad(
    "领养日", "现场有18只猫，均已驱虫，其中11只已绝育。学生凭证8折，会员立减30元。", 时间="每月第一个周六 13:00-17:00"
)
DEAL = ad("亚麻籽油", "单瓶58元，第二瓶半价。一箱6瓶300元。原价78元。第二件39元。", 产地="会宁")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("季卡算下来一节五十五块", YOGA),
        ("次卡一节六十八，比单次省十二块", YOGA),
        ("一周三次，慢慢来", YOGA),
        ("每节一小时一刻钟", YOGA),
        ("周末只比平日贵一百二十", ROOM),
        ("离高铁站二十四里路", ROOM),
        ("住满三晚起九折", ROOM),
        ("住两晚平日九百三十六", ROOM),
        ("学生来是八折", PUPPIES),
        ("两瓶加起来八十七", DEAL),
        ("一箱六瓶，平均一瓶五十块", DEAL),
        ("现在下手刚好半价", ad("有声书", "限时39元，原价78元。")),
        ("十五瓶，喝上半个月", ad("气泡水", "480毫升×15瓶，整箱59.9元。")),
        ("一年十二本，平均每本十四块", ad("读书圈", "年费168元，含12本电子书。")),
        ("五个上午三百八", ad("托班", "周一至周五8:30至11:30，一周380元。")),
        ("一百粒里有八十八粒发芽", ad("种子", "发芽率88%。")),
        ("三样一次做完，洗、抛、查三样", ad("洁牙", "含洗牙、抛光和检查。")),
        ("早上七点装的饭，下午一点打开还烫", ad("饭盒", "热饭6小时后仍烫。")),
    ],
)
def test_what_follows_by_arithmetic_is_supported(text: str, about: Ad) -> None:
    spans = {(quantity.start, quantity.end) for quantity in find_quantities(text)}
    claims = unsupported(trace_claims(text, about))
    assert [claim.text for claim in claims if claim.span in spans] == []


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("季卡算下来一节四十块", YOGA),
        ("周六下午见", YOGA),
        ("一班至少八个人", YOGA),
        ("次卡有效期一年", YOGA),
        ("每节一个半小时", YOGA),
        ("连住两晚就打九折", ROOM),
        ("连住三晚打八折", ROOM),
        ("住一晚也打九折", ROOM),
        ("早餐两份", ROOM),
        ("当天取消也不扣钱", ROOM),
        ("十八只猫全部绝育", PUPPIES),
        ("到店就是八折", PUPPIES),
        ("进门立减三十元", PUPPIES),
        ("每周六下午都开门", PUPPIES),
        ("一箱七瓶", DEAL),
        ("每瓶都是二十九块", DEAL),
        ("年费一百六十八，每月一百六十八", ad("读书圈", "年费168元，含12本电子书。")),
        ("眼轴测量两次，验光四次", ad("建档", "验光2次、眼轴4次。")),
        ("每天晚上八点都直播答疑", ad("课", "答疑每周日晚8点直播。")),
        ("周一到周日天天开放", ad("馆", "9:00至17:00开放，周一闭馆。")),
        ("福鼎秋季采的茶", ad("白茶", "2019年春季采摘。")),
        ("报告当天出具", ad("门诊", "报告2个工作日内出具。")),
        ("三十天后还能免费换", ad("壶", "30天内免费换。")),
        ("写多少样都行", ad("菜箱", "可指定2种不要的菜。")),
        ("最低档以外也只有22分贝，每档22分贝", ad("风扇", "最低档22分贝。")),
    ],
)
def test_what_widens_or_turns_a_number_is_refused(text: str, about: Ad) -> None:
    assert refused(text, about), text


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("一小时一刻钟", 4500, "time"),
        ("2小时15分", 8100, "time"),
        ("一块三毛三", "1.33", "currency:CNY"),
        ("39块9", "39.9", "currency:CNY"),
        ("八毛八", "0.88", "currency:CNY"),
        ("七两二", 360, "mass"),
        ("两打", 24, "count"),
        ("一厘米半", "0.015", "length"),
        ("二十五米一趟", 25, "length"),
        ("一百二十八G", 134_217_728, "data"),
        ("三个工作日", 3, "workdays"),
    ],
)
def test_compound_quantities(text: str, value: int | str, dimension: str) -> None:
    quantity = find_quantities(text)[0]
    assert (quantity.value, quantity.unit.dimension) == (Decimal(value), dimension)


@pytest.mark.parametrize("text", ["隔三差五", "九十年代", "双11", "内六角扳手也在", "周二周四周六", "万无一失"])
def test_idioms_and_names_are_no_measures(text: str) -> None:
    assert [quantity for quantity in find_quantities(text) if quantity.unit.dimension not in ("", "count")] == []


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("三月十四、十五两天", [(3, 14), (3, 15)]),
        ("每月10日、25日", [(None, 10), (None, 25)]),
        ("二〇一八年", [(None, None)]),
        ("一月30瓶", []),
        ("整个九月", [(9, None)]),
    ],
)
def test_dates_as_copies_write_them(text: str, days: list[tuple[int | None, int | None]]) -> None:
    found = [(day.month, day.day) for day in find_dates(text)]
    assert [day for day in found if day in days] == days
    assert days or not any(day[1] for day in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("每班不过四个人", "max"),
        ("不到一小时就好", "under"),
        ("满十六岁就能来", ""),
        ("三天就能到", "max"),
        ("最低22分贝", "lowest"),
        ("9小时起步", "min"),
        ("三十天后还能换", "over"),
        ("快两厘米", "near"),
        ("能伸到52厘米", "max"),
    ],
)
def test_bounds_of_copies(text: str, expected: str) -> None:
    quantity = find_quantities(text)[0]
    assert bound(text, quantity.start, quantity.end) == expected


def test_an_ad_of_no_numbers_bears_out_none() -> None:
    bare: dict[str, Any] = {"title": "手工布鞋", "description": "千层底，不磨脚。"}
    about = ad(bare["title"], bare["description"])
    assert refused("每双一百二十元", about)
    assert refused("三天发货", about)
