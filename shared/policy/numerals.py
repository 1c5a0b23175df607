"""Reads quantities in Chinese and English text, in any script, with their units.

``1.2万``, ``12,000``, ``一万二千`` and ``twelve thousand`` are one value, ``八折`` and ``20% off`` one discount. Every
match keeps its span in the text as it stands: folding is one character to one character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from shared.policy.characters import CJK, DIGITS, fold
from shared.policy.characters import read_chinese as read_chinese
from shared.policy.dates import find_dates
from shared.policy.english_numbers import NUMBER, NUMBER_WORDS, UNDER_HUNDRED, idle, read_english
from shared.policy.spoken import find_spoken, sales_days
from shared.policy.units import BARE, CALENDAR_NUMBERS, Unit, match_unit


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number at ``[start, end)``. `value` is in the unit's own base (seconds, grams, price left over of one…);
    `literal` quantities (``几十``, ``5G``) can only be compared as they are written."""

    start: int
    end: int
    kind: str
    value: Decimal
    unit: Unit
    literal: str = ""


_MULTIPLIER = {
    "万亿": 10**12, "千亿": 10**11, "亿": 10**8, "千万": 10**7, "百万": 10**6, "十万": 10**5, "万": 10**4, "千": 10**3,
    "百": 100, "萬": 10**4, "億": 10**8, "k": 1000, "m": 10**6, "thousand": 1000, "million": 10**6, "billion": 10**9,
    "hundred": 100, "bn": 10**9,
}  # fmt: skip
# Words with a numeral in them that count nothing.
_IDIOMS = re.compile(
    "(?<![0-9零〇一二两三四五六七八九十百千万亿之第点])(?:"
    "统一|万一(?![二两三四五六七八九十百千])|唯一|独一无二|万能|万物|万千|万象|万家|万里|千万别|千变万化|千姿百态"
    "|千家万户|千言万语|千里"
    "|十分(?!钟|之)|十足|十全十美|百搭|百变|百货|百姓|百科|百看不厌|百般|七夕|五彩|五颜六色|七彩|四季|四溢|四射"
    "|四肢|五官|三餐|四面八方"
    "|一周的|一周末|三五(?:好友|知己|成群)|三两|一家[三四五]口|二人世界|两人世界|五湖|一日之|七上八下|九九归一|百忙"
    "|百分之百的?(?:你|热爱)|千山万水|千里之行"
    "|万水千山|三言两语|一心一意|一五一十|四时|八卦|十里(?!路|地)|百年好合|一举两得|一石二鸟|两相宜|两三下|三下五除二"
    "|[二三四五六七八九]十年代|隔三差五|三番五次|三天两头|五花八门|七零八落|乱七八糟|三长两短|不三不四|一清二楚|丢三落四|七嘴八舌|三心二意|颠三倒四|八九不离十"
    "|四平八稳|五脏六腑|三六九等|十有八九|九牛一毛|三头六臂|八仙过海|百发百中|千真万确|千方百计|千载难逢|百感交集|九死一生|十万火急"
    "|两小无猜|三生有幸|四舍五入|五谷|六边形|四合院|二维码|三角(?!钱)|四季豆|九宫格|百香果|千层|二胡|[三四]轮(?=车|摩托|滑板)|二手|三文鱼"
    "|百叶|五花肉|七分裤|八宝|九层塔|千纸鹤|十字(?=绣|架|路|交|形|花|坐)|三伏|三九天|二次元|五彩|六神|七手八脚|三顾|四方|万用"
    "|百年(?!历史|品牌|老店)|千年|万年|百日(?=宴|照|誓)|千金|万贯|六安|九寨|三亚|三峡|四川|九江|五常|六盘水|三门峡|百色|千岛|万宁"
    "|一二三|一二等|四通八达|千思万绪|一波三折|再三|二话不说|百闻|六神"
    "|头一(?=[个次回天年月顿])|两不[^，。]?[误相伤亏欠]|两相|寒窗|四海|八方|三明治|三思|两全其美|两不误|一年四季|每一天|每一年|新的一天|一天的|半天(?!内|就|之内|时间|起|￥"
    r"|\d)|两面|两侧|两边|两头|两手|两旁|两岸|两颊|两眼|一日三餐|一日之计|有朝一日|三三两两|接二连三"
    "|第一(?:次|步|时间|眼|口|印象|人称)|[那这每下前]一秒|(?:周|星期|礼拜)[一二三四五六日](?![个次节回堂])"
    "|一(?!点|半|十|百|千|万|亿|[零〇二两三四五六七八九]|整?天|日|年|个?月|周|个?星期|个?礼拜|个?小时|个?钟头|分钟|秒|季"
    "|元|块|折|倍|期|对一"
    "|岁|公?斤|公里|升|毫|厘米|公分|英寸|吨|赫|分贝|米|克|瓦|刻钟|里地|里路|成(?!不变|了|为|长)))"
)
_WEEKDAY = re.compile(r"(?:周|星期|礼拜)[一二三四五六日](?![个次节回堂])")
# A day, a week, an evening in general is no duration.
_GENERAL = re.compile(
    r"(?<![十百千万零〇\d])(?<!仅)(?<!只)(?<!限)(?<!用)(?<!航)(?<!修)(?<!保)(?<!要)(?<!需)(?<!到)(?<!费)(?<!达)(?<!过)"
    r"(?<!前)(?<!留)(?<!存)(?<!撑)(?<!满)(?<!续)(?<!期)(?<!效)(?<!约)(?<!共)(?<!租)(?<!住)(?<!看)(?<!放)一(?:整|个)?(?:天|周|晚|年|星期|礼拜|月|个月|季)"
    r"(?!级|内|之内|以内|有效|无理由|就|见|学|速|搞|包|完|免|试|质|保|只|仅|后|里|一夜|[^，。]{0,3}一[次回遍])"
)
_ARABIC = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_MULTIPLIERS = re.compile(
    r"\s?(?:万亿|千亿|百万|千万|十万|亿|万|萬|億|千(?![克米瓦卡赫])|百(?!分)|\s?(?:thousand|million|billion|hundred"
    r"|bn)\b|[kK](?![A-Za-z])|M(?![A-Za-z]))"
)
_CHINESE = re.compile(
    rf"百分百|半价|半折|减半|对折|一半|半(?=个?月|年|天|日|小时|个小时|个?钟头|个钟|公?斤|两(?!边|头|侧))|[{CJK}]+(?:点[{''.join(DIGITS)}"
    rf"]+)?(?:分之[{CJK}]+)?"
)
_WORDS = re.compile(rf"\b{NUMBER}\b", re.I)
_SPECIAL = re.compile(
    r"\b(half[- ](?:price|off)|twice|(?:double|triple)[sd]?(?= (?:the|your|its|our|what|that|as|in|up)\b)"
    r"|(?:double|triple)d?(?=\s*(?:[.,;:!?]|$)))\b",
    re.I,
)
_CLIPPED = re.compile("[百千万亿][一二三四五六七八九]$")  # 八百八
_NO_MEASURE = re.compile(
    "分享|分钟爱|分外|天然|天生|天真|克服|米色|米白|升级|度假|秒杀(?!菌)|秒懂|成为|成长|成就|人间(?=烟火|值得|至味|清欢|有味|天堂|四月)|人气|人生|位于|点心|两性|周到|周边|年轻|日常|斤两"
    "|包[邮括含教会您你退换吃住接赔装]|管[孩你您它他一全够饱用]|把[块你您它他孩握家所]|对[待折你我于]|角[扳螺形铅恐色落度星钉枫尾铁钢板架梅花帽]"
    "|欧[洲式美盟派]|套[上住]|张[开嘴罗]|片[刻段]|台[阶词上]|级别|根[本据]|束缚|块茎|部[分位门]|杯[垫子]|本[地身来人]|重复|回[家来去到放看购收头]|层次|口味"
)
_ANSI = re.compile(r"\s?ANSI\s?", re.I)
_PACKED = re.compile(r"[块片包袋瓶盒支颗粒枚罐根张只杯碗本册把桶箱](?![一大小])")
_OF_WEEK = re.compile(r"个(?:星期|礼拜)[一二三四五六日天](?![个一二三四五六七八九十]?[个次节回])")
_GIGABYTES = re.compile(r"(?P<ge>个\s?)?[Gg][Bb]?(?![A-Za-z])")
_SIZES = frozenset({8, 16, 32, 64, 128, 256, 512, 1024})  # of memory; 5G is a network
_DISCOUNTED = re.compile(r"(?:打|享|低至|低到|全场|只要|仅|价|直接|统统|最低)\s?$")
_NEIGHBOURS = re.compile("一两|一二|两三|二三|三四|三五|四五|五六|六七|七八|八九")
_NOT_FLOOR = frozenset("静安均时日稳整常凡原板台方行价等和衡面")
_TIMES = re.compile(r"\s?[×xX*]\s?(?=\d)")
_INCHES = re.compile(
    r"[ -]?in\b(?=\s*(?:$|[.,;:)×\"]|x\b|by\b|wide|tall|long|high|deep|thick|across|diameter|blades?|screen|wheels?"
    r"|tyres?|tires?|rims?|pan\b|skillet|frame|and\b|or\b|to\b))"
)
_PIECE = re.compile(
    r"块(?=[一二三四五六七八九两]百|\d{2}|\s\d+(?:\.\d+)?\s?元)|块(?!钱|多|不到|起|左右|出头|就|都|能|带|拿|包|以|之|的?价|一|[二三四五六七八九](?![十块])|[/每，。！？、；\s]"
    r"|$)"
)  # 一块皂
_AFTER_ONE = frozenset("趟圈段遍程路年月天晚周整年位下起样般直节场")
_MORE_OF_UNIT = re.compile(r"个[多来](?=小时|钟头|月|星期|礼拜)")
_AND_MORE = re.compile(r"\s?(?:多|余|来(?![自到了回的一电源])|几)(?=[\u4e00-\u9fff])")
_TAIL = re.compile(
    r"(?:(?<=[米元块斤成寸镑克])[一二三四五六七八九]{1,2}(?![十百千万点个只件节天分日年月次种款人位起般样直口整箱袋盒瓶桶包份半就片只支张条杯本斤顶双对套米岁小中大寸把\d元块级层两克])|(?<=斤)["
    r"一二三四五六七八九]两)"
)
_SYMBOL = {"¥": "元", "$": "$", "€": "€", "£": "£"}
_BEFORE = re.compile(r"(?:(US\$|HK\$|RMB|CNY|USD|EUR|GBP|[¥$€£])\s?)$", re.I)
_OFF_AFTER = re.compile(r"^\s?(?:off\b|折扣|优惠|discount)", re.I)
_OFF_BEFORE = re.compile(r"(?:立减|直降|降价|省|减|save|discount(?: of)?)\s?$", re.I)
_RANGE = re.compile(r"^\s?(?:[-~–—至到/、]|to)\s?(?=[\d" + CJK + "])")
_SPREAD = re.compile(
    rf" (?:(?:to|and|or) (?:{NUMBER_WORDS}|\d+) )?(?!hundred|thousand|million|dozen)(?:[a-z]+ )?(seconds|minutes|hours"
    rf"|days|weeks|months|years)\b",
    re.I,
)
_AGED = re.compile(rf"\b(?:age[ds]?|ages|over|under) (?:(?:{NUMBER_WORDS}|\d+) (?:to|and|or|-) )?$", re.I)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-]*\d[A-Za-z0-9\-]*|\d+(?:\.\d+)?[A-Za-z][A-Za-z0-9]*")
_ZERO = re.compile(
    "(?!元|度|下|分|点|折|块|费|[%％.:])[\u4e00-\u9fff]| (?!dollars|degrees|percent)[a-z]{3}"
)  # 0糖: it negates
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.I)
_CLOCK = re.compile(r"(?<!\d)([01]?\d|2[0-3]):([0-5]\d)(?!\d)")


def find_quantities(text: str, *, every: bool = False) -> list[Quantity]:
    """Every number of the text that says something, dates excepted, in the order of the text.

    every: also a day, a week, a year in general (``一年``), which are facts of an ad but claims of no copy.
    """
    return list(_found_in(text, every))


@lru_cache(maxsize=2048)  # one line is read for many of its claims
def _found_in(text: str, every: bool) -> tuple[Quantity, ...]:
    plain = fold(text)
    taken = [(day.start, day.end) for day in find_dates(text)]
    if not every:
        taken += idle(plain)
    if any(char > "\u33ff" for char in plain):
        taken += sales_days(plain)
    found: list[Quantity] = []
    for quantity in _scan(plain, taken, every):
        if not any(quantity.start < end and start < quantity.end for start, end in taken):
            found.append(quantity)
            taken.append((quantity.start, quantity.end))
    return tuple(sorted(found, key=lambda quantity: quantity.start))


def _scan(plain: str, taken: list[tuple[int, int]], every: bool) -> Iterator[Quantity]:
    for start, end, kind, value, unit in find_spoken(plain, _read):
        yield Quantity(start, end, kind, value, unit)
    for match in _CLOCK.finditer(plain):
        minutes = int(match[1]) * 60 + int(match[2])
        yield Quantity(match.start(), match.end(), "time", Decimal(minutes), Unit("clock"))
    for match in _NAME.finditer(plain):
        quantity = _name(plain, match)
        if quantity is not None:
            yield quantity
    for match in _ORDINAL.finditer(plain):
        yield Quantity(match.start(), match.end(), "ordinal", Decimal(match[1]), Unit("ordinal"))
    for match in _ARABIC.finditer(plain):
        value = Decimal(match[0].replace(",", ""))
        end = match.end()
        if value == 0 and _ZERO.match(plain, end):
            continue
        if (scale := _MULTIPLIERS.match(plain, end)) is not None:
            value *= _MULTIPLIER[scale[0].strip().lower()]
            end = scale.end()
        yield _with_unit(plain, match.start(), end, value)
    passed = (_IDIOMS, _WEEKDAY) if every else (_IDIOMS, _WEEKDAY, _GENERAL)
    idioms = [match.span() for pattern in passed for match in pattern.finditer(plain)]
    for match in _CHINESE.finditer(plain):
        if any(match.start() < end and start < match.end() for start, end in idioms):
            continue
        quantity = _chinese(plain, match)
        if quantity is not None:
            yield quantity
    for match in _SPECIAL.finditer(plain):
        word = match[0].lower()
        if word.startswith("half"):
            yield Quantity(match.start(), match.end(), "discount", Decimal("0.5"), Unit("left"))
        else:
            times = Decimal(3 if word[:2] in ("tr", "th") else 2)
            yield Quantity(match.start(), match.end(), "multiple", times, Unit("multiple"))
    for match in _WORDS.finditer(plain):
        quantity = _with_unit(plain, match.start(), match.end(), read_english(match[0]))
        if match[0].lower() not in ("one", "zero") or quantity.unit.dimension not in ("", "count"):
            yield quantity
    for place, char in enumerate(plain):
        if ord(char) < 0x80 or "\u3007" <= char <= "\u9fff":  # ideographs are read above
            continue
        if (fraction := unicodedata.numeric(char, -1.0)) >= 0:
            yield _with_unit(plain, place, place + 1, Decimal(str(fraction)))


def _read(text: str) -> Decimal | None:
    if text.isdigit():
        return Decimal(text)
    if text.lower() in UNDER_HUNDRED:
        return Decimal(UNDER_HUNDRED[text.lower()])
    return read_chinese(text)


def _name(plain: str, match: re.Match[str]) -> Quantity | None:
    """A word of letters and digits (5G, L9, H265); None where it is a number with a unit."""
    if match[0][0].isdigit():
        digits = _ARABIC.match(match[0])
        rest = match[0][digits.end() :] if digits else ""
        if match_unit(rest) is not None or re.fullmatch(r"(?i)st|nd|rd|th|bn", rest):
            return None
        if rest in ("k", "M"):
            return None
    elif _BEFORE.search(match[0].rstrip("0123456789.-")):
        return None
    return Quantity(match.start(), match.end(), "model", Decimal(0), Unit("name"), match[0].lower().replace("-", ""))


def _chinese(plain: str, match: re.Match[str]) -> Quantity | None:
    word, start, end = match[0], match.start(), match.end()
    if word == "百分百":
        return Quantity(start, end, "percent", Decimal(100), Unit("percent"))
    if word in ("半价", "半折", "减半", "对折"):
        return Quantity(start, end, "discount", Decimal("0.5"), Unit("left"))
    if word == "一半":
        return Quantity(start, end, "percent", Decimal(50), Unit("percent"))
    if word == "半":
        return _with_unit(plain, start, end, Decimal("0.5"))
    if (
        start
        and word[0] in "十百千万亿"
        and (plain[start - 1] in "几数" or (plain[start - 1] == "上" and word[0] != "十"))
    ):
        return (
            None
            if plain[end : end + 1] == "褶"
            else Quantity(start - 1, end, "number", Decimal(0), BARE, plain[start - 1 : end])
        )
    if _NEIGHBOURS.fullmatch(word):  # 六七 is six or seven
        return _with_unit(plain, start, end, Decimal(DIGITS[word[0]]) + Decimal("0.5"))
    if "分之" in word:
        under, _, over = word.partition("分之")
        below, above = read_chinese(under), read_chinese(over)
        if not below or above is None:
            return None
        return Quantity(start, end, "percent", above / below * 100, Unit("percent"))
    if word in "零〇" and match_unit(plain[end : end + 3], starts=True) is None:
        return None  # 零糖: it negates
    if len(word) > 1 and word[-1] == "一" and word[-2] in DIGITS and word[-2] not in "零〇" and "点" not in word:
        word, end = word[:-1], end - 1  # 一百六十八一次
    if len(word) > 1 and word[-1] == "千" and plain[end : end + 1] in ("克", "米", "瓦", "卡", "赫"):
        word, end = word[:-1], end - 1
    if len(word) > 1 and word[-1] == "两" and word[-2] != "两" and match_unit(plain[end:], starts=True):
        word, end = word[:-1], end - 1  # 十五两天
    elif len(word) > 1 and word[-1] == "两" and word[-2] != "两":  # 四两, 十两: of weight
        weighed = read_chinese(word[:-1])
        return None if weighed is None else _with_unit(plain, start, end - 1, weighed)
    value = read_chinese(word)
    if value is None:
        return None
    if start and plain[start - 1] == "第":
        return Quantity(start - 1, end, "ordinal", value, Unit("ordinal"))
    quantity = _with_unit(plain, start, end, value)
    if word == "一" and (quantity.unit.dimension.startswith("count") or plain[end : end + 1] == "折"):
        return None
    if quantity.unit.dimension == "count:pack" and _CLIPPED.search(word):  # 八百八管孩子: no 管 of anything
        quantity = Quantity(start, end, "number", value, BARE)
    lone_scale = len(word) == 1 and word in "十百千万亿"
    return None if lone_scale and quantity.unit.dimension == "" else quantity


def _with_unit(plain: str, start: int, end: int, value: Decimal) -> Quantity:
    before, after = plain[:start], plain[end:]
    if (symbol := _BEFORE.search(before)) is not None:
        money = match_unit(_SYMBOL.get(symbol[1], symbol[1].upper()))
        if money is not None:
            return Quantity(start - len(symbol[0]), end, "price", value * money[0].factor, money[0])
    if before.endswith("第"):
        return Quantity(start - 1, end, "ordinal", value, Unit("ordinal"))
    if (times := _TIMES.match(after)) is not None and (other := _ARABIC.match(plain, end + times.end())) is not None:
        inherited = _with_unit(plain, other.start(), other.end(), value)
        if inherited.unit.dimension == "length":  # 200×35 厘米
            return Quantity(start, end, inherited.kind, inherited.value, inherited.unit)
        if inherited.unit.dimension in ("volume", "mass"):
            return Quantity(start, end, "number", value, BARE)  # 24 × 250 ml
    if _MORE_OF_UNIT.match(after):  # 八个多钟头
        end, after = end + 1, after[1:]
    more = _AND_MORE.match(after)
    found = match_unit(after[more.end() :], starts=True) if more is not None else None
    if found is not None and more is not None:
        end, after = end + more.end(), after[more.end() :]
    else:
        found = match_unit(after.lstrip(" -"), starts=True)
    if found is None and after[:1] in {"小", "大", "整"} and _PACKED.match(after[1:]):
        small = match_unit(after[1:], starts=True)
        found = (small[0], small[1] + 1) if small else None  # 六小块
    if found is not None and found[1] == 1 and _NO_MEASURE.match(after.lstrip(" -")):
        found = None
    if found is not None and after.lstrip(" -")[: found[1]] == "in" and not _INCHES.match(plain, end):
        found = None  # one in Trondheim
    if found is None and not _CLIPPED.search(plain[start:end]):
        found = _one_character(before, after, value)
    if found is None and (ansi := _ANSI.match(after)) is not None:
        found = match_unit(after[ansi.end() :], starts=True)
        if found is not None:
            end, after = end + ansi.end(), after[ansi.end() :]
    data = _GIGABYTES.match(after.lstrip())
    if data is not None and (data["ge"] or (value in _SIZES and not plain[end - 1].isascii())):
        found = (Unit("data", Decimal(1048576)), data.end())
    if found is not None and found[0].dimension == "time" and _OF_WEEK.match(after.lstrip(" -")):
        found = (Unit("count"), 1) if after.lstrip(" -").startswith("个") else found  # 六个礼拜天
    if found is not None and found[0].dimension == "left" and value == 1 and not _DISCOUNTED.search(before):
        found = None  # 喝完一折
    if found is not None and found[0].dimension == "left" and before[-1:] in {"步", "折", "对", "弯", "叠"}:
        return Quantity(start, end, "number", value, BARE)  # 三步一折
    if found is None:
        gap = _RANGE.match(after)
        far = _ARABIC.match(plain, end + gap.end()) or _CHINESE.match(plain, end + gap.end()) if gap else None
        if far is not None and (far[0][0].isdigit() or read_chinese(far[0]) is not None):
            inherited = _with_unit(plain, far.start(), far.end(), value)
            return Quantity(start, end, inherited.kind, inherited.value, inherited.unit)
        if (spread := _SPREAD.match(after)) is not None:
            spans = match_unit(spread[1])
            if spans is not None and spans[0].dimension in ("time", "months", "age", "length"):
                named = "duration" if spans[0].dimension in CALENDAR_NUMBERS else "measure"
                return Quantity(start, end, named, value * spans[0].factor, spans[0])
        if _AGED.search(before):
            return Quantity(start, end, "measure", value, Unit("age"))
        return Quantity(start, end, "number", value, BARE)
    unit, length = found
    pieces = value < 100 and "每块" in plain and after.lstrip(" -").startswith("块")
    if pieces or (unit.dimension == "currency:CNY" and value < 20 and _PIECE.match(after.lstrip(" -"))):
        unit = Unit("count:pack")
    end += len(after) - len(after.lstrip(" -")) + length
    if unit.dimension == "left":  # 折: 8 and 85 are written without the point
        return Quantity(start, end, "discount", value / (10 if value < 10 else 100), unit)
    tail = _TAIL.match(plain, end)
    if tail is not None and tail[0] == "一":
        counted = match_unit(plain[end + 1 :], starts=True)
        if plain[end + 1 : end + 2] in _AFTER_ONE or (counted is not None and counted[0].dimension.startswith("count")):
            tail = None  # 二十五米一趟
    if tail is not None:  # 一米二, 三块五, 一斤二两
        value += Decimal(DIGITS[tail[0][0]]) / 10
        if len(tail[0]) == 2 and tail[0][1] in DIGITS and tail[0][1] != "两":
            value += Decimal(DIGITS[tail[0][1]]) / 100
        end = tail.end()
    value *= unit.factor
    if unit.dimension == "percent" and (_OFF_AFTER.match(plain[end:]) or _OFF_BEFORE.search(before)):
        return Quantity(start, end, "discount", 1 - value / 100, Unit("left"))
    kind = {"currency": "price", "percent": "percent", "": "number", "count": "number"}.get(
        unit.dimension.split(":")[0]
    )
    if kind is None:
        kind = "duration" if unit.dimension in CALENDAR_NUMBERS else "measure"
    return Quantity(start, end, kind, value, unit)


def _one_character(before: str, after: str, value: Decimal) -> tuple[Unit, int] | None:
    """A unit that is part of many words: 里 of roads, 平 of floors."""
    following = after[1:2]
    if after[1:2] in {"有", "含", "包", "都", "全"}:
        following = "面"
    inside = before[-1:] in {"在", "含"} or following in {"面", "头", "外", "边"}
    if after.startswith("里") and 2 <= value < 1000 and not inside:
        return Unit("length", Decimal(500)), 1
    if after.startswith("平") and following not in _NOT_FLOOR:
        return Unit("area"), 1
    return None
