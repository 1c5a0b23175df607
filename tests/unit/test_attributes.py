"""How an ad's attributes are read: which is the price, what an amount is paid for, what is not to be had."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from shared.domain import Ad, Language
from shared.generating.templates import attribute_facts, fill_templates
from shared.policy.attributes import (
    costing,
    currency_of,
    is_amount,
    is_limiting,
    is_none,
    is_price,
    is_some,
    number_of,
    price_name,
    words_of_name,
)
from shared.policy.claims import trace_claims, unsupported
from tests.fakes.generation import PHONE_EN, PHONE_ZH


def table(description: str = "An oak table for six.", language: Language = "en", **attributes: Any) -> Ad:
    assert isinstance(PHONE_EN, Ad)
    title = "Oak table" if language == "en" else "橡木餐桌"
    return replace(PHONE_EN, title=title, description=description, brand=None, language=language, attributes=attributes)


@pytest.mark.parametrize(
    "name", ["price", "price_usd", "salePrice", "delivery_fee", "shipping_cost", "deposit", "运费"]
)
def test_an_amount_of_money(name: str) -> None:
    assert is_amount(name)


@pytest.mark.parametrize("name", ["coffee_g", "性价比", "toffee", "评价", "免费", "priceless_feature"])
def test_a_name_that_only_has_an_amounts_letters(name: str) -> None:
    assert not is_amount(name)


@pytest.mark.parametrize("name", ["price", "price_usd", "priceUSD", "salePrice", "unitPrice", "tuition_fee", "售价"])
def test_what_the_ad_costs(name: str) -> None:
    assert is_price(name)


@pytest.mark.parametrize(
    "name", ["原价", "运费", "delivery_fee", "refill_price", "deposit", "list_price", "original_price", "price_match"]
)
def test_what_the_ad_does_not_cost(name: str) -> None:
    assert not is_price(name)


def test_the_reduced_price_is_the_price() -> None:
    assert price_name({"price": 20, "sale_price": 15}) == "sale_price"
    assert price_name({"原价": 20, "现价": 15}) == "现价"
    assert price_name({"price": "on request", "delivery_fee": 3}) is None


def test_a_price_with_conditions_is_not_said_without_them() -> None:
    assert price_name({"price": 1999, "价格": "1999起"}) is None
    assert price_name({"price": "from $120", "sale_price": 99}) is None


def test_an_amount_names_its_currency_before_the_ad_does() -> None:
    assert currency_of("price_usd", {"currency": "eur"}) == "USD"
    assert currency_of("price", {"currency": "eur"}) == "EUR"
    assert currency_of("price", {}) == ""


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("refill_price", "refill"), ("spareBatteryPrice", "spare battery"), ("shipping_cost", "shipping"),
        ("deposit", "deposit"), ("运费", "运费"), ("cost", ""),
    ],
)  # fmt: skip
def test_what_an_amount_is_paid_for(name: str, what: str) -> None:
    assert costing(name) == what


@pytest.mark.parametrize("name", ["free_from", "not_included", "不含", "除外", "allergens", "notIncluded"])
def test_what_is_not_to_be_had(name: str) -> None:
    assert is_limiting(name)


@pytest.mark.parametrize("name", ["nonstick", "freedom", "notebook", "颜色"])
def test_what_is_to_be_had(name: str) -> None:
    assert not is_limiting(name)


@pytest.mark.parametrize("value", ["no", "None", "not included", "out of stock", "不支持", "无", "n/a", "No, sorry"])
def test_a_value_that_says_there_is_none(value: str) -> None:
    assert is_none(value)


@pytest.mark.parametrize("value", ["north", "notable", "不锈钢", "无线充电", 0, "nonstick"])
def test_a_value_that_says_there_is_some(value: str | float) -> None:
    assert not is_none(value)


@pytest.mark.parametrize("value", ["yes", "True", "支持", "有", "included"])
def test_a_value_that_only_says_that_there_is_some(value: str) -> None:
    assert is_some(value)


@pytest.mark.parametrize("value", ["yes, for $5", "有线", "可选", "no", "included in premium", 1])
def test_a_value_that_says_more(value: str | float) -> None:
    assert not is_some(value)


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "12 cm", ""])
def test_what_is_no_number(value: str | float) -> None:
    assert number_of(value) is None


def test_names_are_read_by_the_word() -> None:
    assert words_of_name("spareBatteryPrice") == words_of_name("spare_battery_price") == ["spare", "battery", "price"]
    assert words_of_name("batteryMAh 2") == ["battery", "m", "ah", "2"]


def test_attributes_become_phrases_that_say_what_they_are() -> None:
    ad = table(
        price=150, currency="USD", refill_price=24.5, free_from="gluten", not_included="batteries",
        parking="on street", coffee_g=30, warranty="none", oven="not included", not_included_g=5,
    )  # fmt: skip
    said = attribute_facts(ad, "en")
    assert said == ["$150", "free from: gluten", "not included: batteries", "parking: on street", "30 g coffee"]


def test_chinese_attributes_become_phrases_that_say_what_they_are() -> None:
    ad = table(
        "六人用的橡木餐桌。", "zh", 原价=1299, price=999, 运费=20, 不含="电池", style="北欧", 颜色="原木色", 保修="无"
    )
    assert attribute_facts(ad, "zh") == ["999 元", "不含电池", "北欧", "颜色原木色"]


@pytest.mark.parametrize(
    ("attributes", "text", "true"),
    [
        ({"price": 199, "refill_price": 24.5}, "Oak table for $24.50.", False),
        ({"price": 199, "refill_price": 24.5}, "Refills cost $24.50.", True),
        ({"price": 199, "refill_price": 24.5}, "Oak table for $199.", True),
        ({"shipping_cost": 5}, "Oak table for $5.", False),
        ({"shipping_cost": 5}, "Shipping costs $5.", True),
        ({"shipping_cost": 0}, "Free: oak table.", False),
        ({"price": 0}, "Free: oak table.", True),
        ({"price_usd": 15, "currency": "EUR"}, "Oak table for $15.", True),
    ],
)
def test_an_amount_beside_the_price_is_nobodys_price(attributes: dict[str, Any], text: str, true: bool) -> None:
    claims = trace_claims(text, table(**{"currency": "USD", **attributes}))
    assert claims and bool(unsupported(claims)) is not true


@pytest.mark.parametrize(
    ("text", "true"), [("橡木餐桌20元。", False), ("橡木餐桌，运费20元。", True), ("橡木餐桌999元。", True)]
)
def test_a_chinese_amount_beside_the_price_is_nobodys_price(text: str, true: bool) -> None:
    ad = table("六人用的橡木餐桌。", "zh", price=999, currency="CNY", 运费=20)
    assert bool(unsupported(trace_claims(text, ad))) is not true


def test_what_an_ads_text_says_of_a_price_stands_whatever_its_attributes_cost() -> None:
    ad = table("An oak table for six, $24.50.", refill_price=24.5, currency="USD")
    (claim,) = [one for one in trace_claims("Oak table for $24.50.", ad) if "24.50" in one.text]
    assert claim.support == "description"


def test_what_is_simply_there_is_named_and_what_is_least_is_no_time() -> None:
    ad = table(waterproof="yes", free_from="yes", age_min=12, lesson_min=45, price=79.5, currency="EUR")
    assert attribute_facts(ad, "en") == ["waterproof", "45 min lesson", "€79.50"]
    assert unsupported(trace_claims("It takes 12 minutes.", ad))
    assert attribute_facts(table("六人用的橡木餐桌。", "zh", 防水="是", 快充="支持", 退款="不支持"), "zh") == [
        "防水",
        "快充",
    ]


@pytest.mark.parametrize(("language", "title"), [("en", "Ready to run?"), ("zh", "想跑步吗？"), ("zh", "跑鞋：轻")])
def test_a_frame_repeats_no_mark_of_the_title(language: Language, title: str) -> None:
    phone = PHONE_EN if language == "en" else PHONE_ZH
    assert isinstance(phone, Ad)
    for text in fill_templates(replace(phone, title=title), language, 12):
        assert not re.search(r"[?？][。，：.]|：.*：", text), text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_template_calls_a_fee_the_price(language: Language) -> None:
    phone = PHONE_EN if language == "en" else PHONE_ZH
    assert isinstance(phone, Ad)
    dearer = {"currency": phone.attributes["currency"], "delivery_fee": 7, "deposit": 77, "原价": 7777}
    for text in fill_templates(replace(phone, attributes=dearer), language, 8):
        assert "7" not in text.replace("67", ""), text
