"""What a Chinese copy may make of an ad: sums, halves and scenes, but no function, gift or name of its own."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import Ad
from shared.policy.claims import trace_claims, unsupported
from shared.policy.derived import listed
from shared.policy.numerals import find_quantities
from shared.policy.polarity import bound, negated
from shared.policy.vocabulary import vocabulary


def ad(**fields: Any) -> Ad:
    row: dict[str, Any] = {
        "ad_id": "a",
        "landing_url": "https://shop.example/",
        "language": "zh",
        "domain": "ecommerce",
    }
    return Ad(**row | fields)


OIL = ad(
    title="山前 亚麻籽油",
    description="冷榨亚麻籽油，每瓶250毫升，一箱4瓶，共116元。避光保存，开封后60天内用完。不可用于油炸。",
    brand="山前",
    attributes={"产地": "甘肃", "颜色": "琥珀、浅金", "重量": "重310克"},
)
CLASS = ad(
    title="篆刻入门小班",
    description="零基础，共12次课，每周两次，每次90分钟，每班6人。印石需自备，刻刀提供。学费1080元，开课前可退。",
    domain="education",
    attributes={"老师": "何青", "时间": "每周三19:00", "地点": "青石巷书房"},
)


def refused(text: str, about: Ad) -> list[str]:
    return [claim.text for claim in unsupported(trace_claims(text, about))]


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("一箱整整一升", OIL),
        ("平均一瓶二十九块", OIL),
        ("两箱两百三十二元", OIL),
        ("还不到七两的小瓶子", OIL),
        ("开封后两个月里吃完", OIL),
        ("两种颜色，琥珀和浅金", OIL),
        ("一节课才九十块", CLASS),
        ("一次一个半小时", CLASS),
        ("上一个半月，十八个小时", CLASS),
        ("六个礼拜，一周两次", CLASS),
    ],
)
def test_what_follows_from_the_numbers_is_supported(text: str, about: Ad) -> None:
    assert refused(text, about) == []


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("一箱五瓶", OIL),
        ("平均一瓶十九块", OIL),
        ("超过七两", OIL),
        ("不到六两", OIL),
        ("三种颜色", OIL),
        ("一节课八十块", CLASS),
        ("每次两个小时", CLASS),
        ("每班不过四个人", CLASS),
        ("周五晚上开课", CLASS),
    ],
)
def test_what_does_not_follow_from_them_is_not(text: str, about: Ad) -> None:
    assert refused(text, about), text


@pytest.mark.parametrize(
    "text",
    [
        "加班到九点，回家拌一碗凉菜",
        "两个人的晚饭，三言两语",
        "第一口就想起小时候",
        "北风起的时候，厨房里最暖和",
        "孩子写作业，你在灶边哼歌",
        "周末的菜市场，阿姨又多给了一把葱",
        "比早餐店还热闹的小厨房",
    ],
)
def test_the_readers_day_claims_nothing(text: str) -> None:
    assert refused(text, OIL) == []


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("附赠一只小漏斗", OIL),
        ("瓶身还印着刻度", OIL),
        ("热锅油炸也放心", OIL),
        ("孕妇也能吃", OIL),
        ("每天一勺，血脂降下来", OIL),
        ("中央电视台推荐", OIL),
        ("来自云南的亚麻", OIL),
        ("随便什么时候都能退", OIL),
        ("全国销量第一", OIL),
        ("比同类更清亮", OIL),
        ("一点农药都没放", OIL),
        ("山钱亚麻籽油", OIL),
        ("印石也替你备好了", CLASS),
        ("何清老师手把手教", CLASS),
        ("在柳荫巷书店二楼", CLASS),
        ("一对一教学", CLASS),
        ("毕业于名校的老师带你", CLASS),
        ("学完包你开店", CLASS),
        ("缺几次补几次", CLASS),
        ("还教你装裱", CLASS),
    ],
)
def test_what_the_copy_adds_is_refused(text: str, about: Ad) -> None:
    assert refused(text, about), text


def test_a_list_of_properties_claims_each_of_them() -> None:
    mug = ad(title="搪瓷杯", description="350毫升，白色，可直火", attributes={"颜色": "白色"})
    assert refused("搪瓷杯，350毫升，白色", mug) == []
    assert refused("搪瓷杯，350毫升，大气", mug) == ["大气"]


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("四两", 200, "mass"),
        ("一米八三", "1.83", "length"),
        ("三块五", "3.5", "currency:CNY"),
        ("十六里路", 8000, "length"),
        ("一刻钟", 900, "time"),
        ("二十来天", 1_728_000, "time"),
        ("九成五", 95, "percent"),
        ("一百六十八一次", 168, ""),
        ("两个半小时", 9000, "time"),
        ("三年级", 3, "grade"),
    ],
)
def test_quantities_as_people_say_them(text: str, value: int | str, dimension: str) -> None:
    quantity = find_quantities(text)[0]
    assert (str(quantity.value.normalize()), quantity.unit.dimension) == (
        str(type(quantity.value)(value).normalize()),
        dimension,
    )


@pytest.mark.parametrize("text", ["零糖零脂", "一块小小的皂", "第一顿煎蛋", "三步一折的小桌"])
def test_numerals_in_words_count_nothing_of_the_product(text: str) -> None:
    assert refused(text, ad(title="折叠小桌", description="0糖0脂的皂")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("不到一公斤", "under"),
        ("二十来天", "some"),
        ("八十多盒", "over"),
        ("一斤出头", "over"),
        ("三天里到", "max"),
        ("约两天", "approx"),
    ],
)
def test_bounds_as_people_say_them(text: str, expected: str) -> None:
    quantity = find_quantities(text)[0]
    assert bound(text, quantity.start, quantity.end) == expected


def test_an_ad_negates_behind_a_verb_and_before_what_the_reader_brings() -> None:
    text = "不散瞳，不接商单，印石需自备，孕妇及过敏者禁用"
    marks = negated(text, vocabulary(), terse=True)
    for term in ("散瞳", "商单", "印石", "孕妇", "过敏者"):
        assert all(marks[text.index(term) + place] for place in range(len(term))), term


@pytest.mark.parametrize(
    ("text", "size"), [("雾蓝、樱粉、草绿", 3), ("燃气灶和电陶炉", 2), ("一枚，6个月一换", 0), ("米白", 0)]
)
def test_a_list_has_its_size(text: str, size: int) -> None:
    assert listed(text) == size


LOCK = ad(
    title="守夜 智能门锁",
    description=(
        "前开锁体，锌合金面板，密码与指纹两种开锁。附安装螺丝，电池需自备，联网网关另售 99 元。"
        "锁芯质保 5 年，面板质保 1 年。不可水洗，擦拭用干布。支持白、灰、墨绿三色。"
    ),
    attributes={"防水": "否", "软硬度": "偏硬", "安装": "提供上门"},
)
CAMP = ad(
    title="山下自然营",
    description=(
        "面向 8 至 12 岁学生，录播预习，线下三天。含登山杖、头灯租用与午餐，雨衣另付 20 元。须持健康证明。"
        "不教游泳，教辅不参与交换。雨天顺延。周一至周四开放，前排加 20 元。老师周野，师范毕业。"
    ),
    domain="education",
    attributes={"价格": "680 元"},
)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("后开锁体，装上就能用", LOCK),  # the neighbour of a word of the ad
        ("面板也质保 5 年", LOCK),
        ("电池也一并送上", LOCK),  # what the reader brings
        ("脏了拿水冲一冲就好", LOCK),  # what a rule of the ad forbids
        ("防水的锁，雨天也不怕", LOCK),  # an attribute that says no
        ("白、灰、墨绿、酒红都有", LOCK),  # a list made longer
        ("零噪音开锁", LOCK),
        ("免费保养送到家", LOCK),
        ("教辅也能换", CAMP),  # an exception taken in
        ("不用健康证明也能来", CAMP),  # a requirement waived
        ("登山杖和雨衣都含", CAMP),
        ("午餐之外，还有一顿烧烤", CAMP),
        ("谱架也立在旁边", CAMP),
        ("游泳也顺带教", CAMP),
        ("雨天照跑，风雨无阻", CAMP),
        ("学完发一张裁判证", CAMP),
        ("人人都送一只水壶", CAMP),
        ("作家秦野带队", CAMP),
        ("全程直播，三天线上学完", CAMP),
    ],
)
def test_what_widens_the_ad_is_refused(text: str, about: Ad) -> None:
    assert refused(text, about), text


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("电池自己配两节", LOCK),
        ("偏硬的手感，锌合金面板", LOCK),
        ("指纹一按，门就开了", LOCK),
        ("周三出发，周四回来", CAMP),  # within the days of the ad
        ("登山杖和头灯都含", CAMP),
        ("雨天顺延，不用冒雨赶路", CAMP),
        ("不耽误孩子上学", CAMP),
        ("慢慢走，轻轻松松一整天", CAMP),
        ("会不会爬山都不要紧", CAMP),
    ],
)
def test_what_keeps_to_the_ad_is_let_through(text: str, about: Ad) -> None:
    assert refused(text, about) == []


@pytest.mark.parametrize(
    ("text", "description", "passes"),
    [
        ("会员费一分不收", "不收会员费，每周六徒步。", True),
        ("手续费一分不收", "学费2980元，可分三期付款，免手续费。", True),
        ("不收会员费", "会员费200元一年，每周六徒步。", False),
        ("会员费一分不收", "会员费200元一年，每周六徒步。", False),
        ("会员费一分不收", "每周六徒步。", False),
        ("报名费一分不收", "学费1680元，不含报名费。", False),
        ("不含报名费", "学费1680元，报名费自理。", True),
        ("棋具不用另买", "学费2400元，含教材和一副棋具。", True),
        ("棋具不用另买", "学费2400元，棋具另售。", False),
        ("不用自带棋具", "学费2400元，需自备棋具。", False),
    ],
)
def test_what_need_not_be_paid_or_brought_is_held_against_the_ad(text: str, description: str, passes: bool) -> None:
    about = ad(title="周末小课", description=description, domain="education")
    assert (refused(text, about) == []) is passes
