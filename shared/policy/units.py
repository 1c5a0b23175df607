"""Units of measure as copy writes them, in Chinese and English, with what they are worth in a base unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

CALENDAR_NUMBERS = frozenset({"time", "months"})


@dataclass(frozen=True, slots=True)
class Unit:
    """dimension: what is measured (``time``, ``currency:CNY``, ``count:lesson``; empty for a bare number)."""

    dimension: str
    factor: Decimal = Decimal(1)


BARE = Unit("")

# dimension -> {factor in the base unit: spellings}; longer spellings are tried first.
_TABLE: dict[str, dict[str, str]] = {
    "mass": {
        "0.000001": "mcg μg µg microgram micrograms 微克", "0.001": "mg 毫克 milligram milligrams",
        "1": "g gram grams 克", "1000": "kg kgs kilo kilos kilogram kilograms 千克 公斤", "500": "斤", "50": "两",
        "453.59237": "lb lbs pound pounds 磅", "28.349523125": "oz ounce ounces 盎司",
        "1000000": "吨 ton tons tonne tonnes",
    },
    "length": {
        "0.000001": "微米", "0.001": "mm 毫米 millimetre millimetres millimeter millimeters",
        "0.01": "cm 厘米 公分 centimetre centimetres centimeter centimeters", "1": "m metre metres meter meters 米",
        "1000": "km kilometre kilometres kilometer kilometers 公里 千米", "500": "里路 里地 华里",
        "0.0254": "inch inches in 英寸 寸 吋 ″",
        "0.3048": "ft foot feet 英尺", "1609.344": "mile miles 英里", "0.9144": "yard yards",
    },
    "area": {
        "0.09290304": "平方英尺 平方尺", "666.6666666666667": "亩", "10000": "公顷", "1": "㎡ m² sqm 平米 平方米 平方",
    },
    "volume": {
        "0.001": "ml mL ML 毫升 millilitre millilitres milliliter milliliters",
        "0.01": "cl centilitre centilitres centiliter centiliters", "0.1": "dl decilitre decilitres",
        "1": "L l litre litres liter liters 升", "0.0295735295625": "floz", "3.785411784": "gallon gallons 加仑",
    },
    "charge": {"1": "mAh mah MAH MAh 毫安时 毫安", "1000": "Ah"},
    "energy": {"1": "Wh wh", "1000": "kWh kwh KWH"},
    "calories": {"1": "kcal 千卡 大卡 calories", "0.239005736": "kJ 千焦"},
    "power": {"1": "W w watt watts 瓦", "1000": "kW KW 千瓦"},
    "voltage": {"1": "V volt volts 伏"},
    "frequency": {"1": "Hz hz HZ 赫兹 赫", "1000": "kHz", "1000000": "MHz", "1000000000": "GHz"},
    "data": {"1": "KB", "1024": "MB", "1048576": "GB 个G", "1073741824": "TB"},
    "speed": {"1": "Mbps"},
    "sound": {"1": "dB db 分贝"},
    "pixels": {"1": "像素 pixels", "1000000": "MP megapixel megapixels"},
    "pressure": {"0.001": "Pa 帕", "1": "kPa 千帕", "0.133322": "mmHg", "100": "bar 巴", "6.894757": "psi PSI"},
    "velocity": {"1": "km/h kph kmh", "1.609344": "mph"},
    "light": {"1": "lm lumen lumens 流明"},
    "spin": {"1": "rpm RPM"},
    "weave": {"1": "gsm"},
    "temperature": {"1": "℃ °C 摄氏度 ° 度 degrees degree"},
    "time": {
        "0.001": "ms 毫秒", "1": "s sec secs second seconds 秒钟 秒", "60": "min mins minute minutes 分钟",
        "900": "刻钟", "3600": "h hr hrs hour hours 个小时 小时 个钟头 钟头 个钟",
        "86400": "d day days 天 日 晚",
        "604800": "week weeks wk 周 个星期 星期 个礼拜 礼拜",
    },
    "months": {"1": "month months 个月 月", "12": "year years yr yrs 年 个年头 年头", "3": "quarter quarters 季度"},
    "grade": {"1": "年级"},
    "age": {"1": "岁 周岁"},
    "illuminance": {"1": "勒克斯 lux"},
    "fahrenheit": {"1": "华氏度 ℉ °F"},
    "workdays": {"1": "个工作日 工作日"},
    "percent": {"1": "% ％ percent 个百分点", "10": "成"},
    "left": {"1": "折"},
    "multiple": {"1": "倍 x × X"},
    "rating": {"1": "星级 星 star stars 分"},
    "currency:CNY": {
        "1": "元钱 元 块钱 块 人民币 CNY RMB yuan",
        "10000": "万元",
        "0.1": "毛钱 角钱 角 毛",
        "0.01": "分钱",
    },
    "currency:USD": {"1": "$ US$ USD dollar dollars 美元 美金", "0.01": "cents"},
    "currency:HKD": {"1": "HK$ HKD 港元 港币"},
    "currency:EUR": {"1": "€ EUR euro euros 欧元 欧"},
    "currency:GBP": {"1": "£ GBP 英镑 镑"},
    "count": {"1": "次 遍 回 times 个 款 种 件 项 items item pieces piece 样 类 套 组 条 大 重"},
    "count:lesson": {"1": "节课 节 课时 lesson lessons lecture lectures class classes session sessions 堂 讲"},
    "count:person": {"1": "人 位 名 users user people person students student customers learners 用户 学员 户"},
    "count:word": {"1": "字 词 words word"},
    "count:page": {"1": "页 pages page"},
    "count:photo": {"1": "张 photos photo frames"},
    "count:episode": {"1": "集 期 episodes episode issues"},
    "count:chapter": {"1": "章 篇 chapters chapter"},
    "count:level": {"1": "级 档 挡 levels level speeds 段"},
    "count:layer": {"1": "层 layers layer ply"},
    "count:pack": {
        "1": "箱 桶 份 壶 碟 盅 锅 碗 杯 篮 筐 提 幅 扇 顶 匹 架 枝 朵 束 卷 轴 本 册 团 串 截 管 排 "
            "支 瓶 盒 包 袋 片 粒 颗 枚 罐 只 双 副 对 台 部 把 根 块装 packs pack cup cups mug mugs "
            "bottles pairs pair",
    },
    "count:seat": {"1": "座 seats seat"},
    "count:core": {"1": "核 cores"},
    "count:shop": {"1": "家 城 国 stores shops cities countries"},
}  # fmt: skip


@cache
def _spellings() -> tuple[dict[str, Unit], dict[str, Unit], tuple[str, ...]]:
    exact: dict[str, Unit] = {}
    for dimension, factors in _TABLE.items():
        for factor, names in factors.items():
            for name in names.split():
                exact.setdefault(name, Unit(dimension, Decimal(factor)))
    loose = {name.lower(): unit for name, unit in exact.items() if len(name) > 2}
    ordered = tuple(sorted({*exact, *loose}, key=len, reverse=True))
    return exact, loose, ordered


def match_unit(text: str, *, starts: bool = False) -> tuple[Unit, int] | None:
    """The unit that `text` is, or (with `starts`) begins with, and its length; None where it is none.

    Letters are matched whole: ``5gram`` is grams, ``5grams`` too, ``5G`` is no unit.
    """
    exact, loose, ordered = _spellings()
    if not starts:
        unit = exact.get(text) or loose.get(text.lower())
        return (unit, len(text)) if unit else None
    for name in ordered:
        head = text[: len(name)]
        unit = exact.get(head) if head == name else loose.get(name) if head.lower() == name else None
        if unit is None:
            continue
        following = text[len(name) : len(name) + 1]
        if name[-1].isascii() and name[-1].isalpha() and following.isascii() and following.isalnum():
            continue
        return unit, len(name)
    return None


# What has a least: an ``age_min`` is no age in minutes.
_BOUNDED = frozenset({
    "age", "ages", "order", "quantity", "qty", "height", "weight", "temp", "temperature", "price", "width", "length",
    "people", "guests", "persons", "size", "spend", "distance", "group", "capacity", "participants", "players", "score",
    "grade", "level", "amount", "deposit", "stay", "nights", "days",
})  # fmt: skip


def key_unit(key: str) -> Unit | None:
    """The unit that an attribute's name gives to its number (``battery_mAh``, ``weight(g)``, ``lessons``)."""
    parts = [part for part in re.split(r"[_\s()（）/]+", key) if part]
    for place in reversed(range(len(parts))):
        found = match_unit(parts[place])
        if found is not None and not _is_least(parts[: place + 1]):
            return found[0]
    return None


def _is_least(parts: Sequence[str]) -> bool:
    """Whether a name ends in *min* for what is least, not for minutes: of ``age_min``, not of ``lesson_min``."""
    return parts[-1] == "min" and len(parts) > 1 and parts[-2].lower() in _BOUNDED
