"""How an ad's attributes are read: what is a number, which is the ad's price, and what is said of something beside it.

``price`` is what the ad costs; ``delivery_fee``, ``refill_price`` and ``原价`` are amounts of money too, but nobody may
say of the ad that it costs so much. Names count as whole words: ``coffee_g`` is no fee, and 性价比 no price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

# What the ad costs, by the attribute's whole name; one from which it has been reduced stands after the reduced one.
_PRICES = [
    "sale_price", "saleprice", "current_price", "final_price", "offer_price", "deal_price", "promotional_price",
    "到手价", "现价", "优惠价", "活动价", "促销价", "特价", "秒杀价", "团购价", "price", "unit_price", "unitprice",
    "our_price", "selling_price", "retail_price", "course_price", "ticket_price", "tuition", "tuition_fee",
    "course_fee", "fee", "价格", "售价", "单价", "销售价", "零售价", "定价", "一口价", "价钱", "票价", "学费",
    "课程费", "费用",
]  # fmt: skip
_AMOUNTS = frozenset({
    "price", "prices", "cost", "costs", "fee", "fees", "tuition", "fare", "surcharge", "deposit", "rent", "rental",
    "postage", "saleprice", "unitprice",
})  # fmt: skip
# Those that say themselves what is paid for.
_SPECIAL = frozenset({"fare", "surcharge", "deposit", "rent", "rental", "postage"})
_CHINESE_AMOUNTS = re.compile(r"(?:(?<!评)价|价格|价钱|(?<![免付自])费|费用|金额|[押定租]金)$")
_CURRENCIES = {
    "usd": "USD", "$": "USD", "eur": "EUR", "€": "EUR", "gbp": "GBP", "£": "GBP", "cny": "CNY", "rmb": "CNY",
    "元": "CNY", "hkd": "HKD",
}  # fmt: skip
_WORD = re.compile(r"[$€£]|[\u3400-\u9fff]+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNNAMED = frozenset({"per", "a", "the", "of", "for", "in", "extra", "each"})
_NUMBER = re.compile(r"\s*\d[\d,]*(?:\.\d+)?\s*", re.ASCII)
_LIMITS = frozenset({
    "free", "not", "no", "non", "without", "excluding", "excluded", "excludes", "exclude", "except", "exceptions",
    "incompatible", "contraindications", "unsuitable", "avoid", "allergens", "missing", "lacks", "never",
    "unavailable", "disclaimer", "warning",
})  # fmt: skip
_CHINESE_LIMITS = re.compile(r"[不无非未禁忌除免另慎勿缺]")
_NONE = re.compile(
    r"\s*(?:no|none|nil|not|false|never|nothing|n/?a|null|unknown|tb[acd]|not (?:included|available|supported|provided)"
    r"|sold out|out of stock|unavailable|discontinued|[否无未]|没有|暂无|不(?:支持|含|带|可|附|提供|包含)?|未提供|缺货"
    r"|售罄|已下架|待定)\s*(?:$|[,，;；.。(（])",
    re.I,
)

_SOME = re.compile(r"\s*(?:yes|true|y|included|available|[是有含可带]|支持|包含|可以|提供)\s*[.。]?", re.I)


def number_of(value: str | float) -> Decimal | None:
    """The number that a value is; None where it is a text, or no number that one could write down."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = Decimal(str(value))
        return number if number.is_finite() else None
    return Decimal(value.replace(",", "")) if _NUMBER.fullmatch(value) else None


def words_of_name(name: str) -> list[str]:
    """The words of an attribute's name, in lower case: of ``spareBatteryPrice`` and of ``spare_battery_price``."""
    return [word.lower() for word in _WORD.findall(name)]


def is_amount(name: str) -> bool:
    """Whether an attribute's name says that it is an amount of money."""
    words = words_of_name(name)
    return any(word in _AMOUNTS or (not word.isascii() and _CHINESE_AMOUNTS.search(word)) for word in words)


def is_price(name: str) -> bool:
    """Whether an attribute's name says that it is what the ad costs."""
    return _bare(name) in _PRICES


def price_name(attributes: Mapping[str, str | float]) -> str | None:
    """The attribute that is what the ad costs now, where there are several; None where one is a price with conditions
    (*from $120*, 1999起)."""
    named = [name for name in attributes if is_price(name)]
    plain = [name for name in named if number_of(attributes[name]) is not None]
    if any(re.search(r"\d", str(attributes[name])) for name in named if name not in plain):
        return None
    return min(plain, key=lambda name: _PRICES.index(_bare(name)), default=None)


def currency_of(name: str, attributes: Mapping[str, str | float]) -> str:
    """The currency of an amount: what its own name says (``price_usd``), or the ad's; empty where neither does."""
    own = next((_CURRENCIES[word] for word in words_of_name(name)[1:] if word in _CURRENCIES), "")
    return own or str(attributes.get("currency", "")).upper()


def costing(name: str) -> str:
    """What the amount of an attribute is paid for (``spare battery``, 运费); empty where its name does not tell."""
    words = [word for word in words_of_name(name) if word not in _CURRENCIES]
    kept = [word for word in words if word not in _AMOUNTS | _UNNAMED]
    return " ".join(kept or [word for word in words if word in _SPECIAL])


def is_limiting(name: str) -> bool:
    """Whether an attribute's name says that its value is not to be had, or not meant: ``free_from``, 不含."""
    return not _LIMITS.isdisjoint(words_of_name(name)) or _CHINESE_LIMITS.search(name) is not None


def is_none(value: str | float) -> bool:
    """Whether a value says that there is nothing of the kind: ``no``, ``out of stock``, 不支持."""
    return isinstance(value, str) and _NONE.match(value) is not None


def is_some(value: str | float) -> bool:
    """Whether a value says no more than that there is something of the kind: ``yes``, 支持."""
    return isinstance(value, str) and _SOME.fullmatch(value) is not None


def _bare(name: str) -> str:
    return "_".join(word for word in words_of_name(name) if word not in _CURRENCIES)
