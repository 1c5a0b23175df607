"""What a number of a Chinese ad or copy counts and is of: 24 只 a 袋, 90 minutes a 节, 298 元 a month."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from shared.policy.derived import Fact
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import Unit

WHOLE, ANY, THING = "", "*", "thing"  # what a number is of: the product, whatever it is, one of an English noun
DAYS = {"day": Decimal(1), "week": Decimal(7), "month": Decimal(30), "quarter": Decimal(90), "year": Decimal(365)}
TIMES = {name: key for key, names in {
    "day": "天 日 晚 夜 day days night nights", "week": "周 星期 礼拜 week weeks", "month": "月 month months",
    "quarter": "季 季度 quarter", "year": "年 year years", "hour": "小时 钟头 时 hour hours", "minute": "分钟 minute",
}.items() for name in names.split()}  # fmt: skip
_KINDS = {name: key for key, names in {
    "session": "节 课 课时 堂 讲 次 回 期 集 场 更 session sessions lesson lessons class classes episode episodes "
        "issue",
    "person": "人 位 名 口 同事 朋友 同学 孩子 大人 小孩 学员 成人 家长 学生 person people guest guests",
}.items() for name in names.split()}  # fmt: skip
_LOOSE = frozenset("个种款件项样类道套")  # measure words that say less than their noun
PER_BEFORE = re.compile(
    r"(?:(?P<each>每|单|[人日月年周]均|平均|(?<![统唯专第万之])一|\beach |\bper |\bevery )"
    r"(?P<tail>(?:个|种|款|件|项|类)?[^\d，。；！？：、,;!?]{0,12}?)(?:\d+(?:\.\d+)?\s?(?:分钟|小时|克|公斤|毫升)\s?)?)$",
    re.I,
)
_PER_AFTER = re.compile(
    r"^\s?(?:(?:/|每|一|就?(?:有|出|做|换|完|用|吃|喝|看|得|学)[了掉完]?一)\s?(?P<zh>[个种款]?[\u4e00-\u9fff]{1,2})"
    r"|(?:a|per|each|every) (?P<en>[a-z]+))",
    re.I,
)
SPAN_CARD = re.compile(
    r"(?:(?P<u>[年月季周日])(?:度|票)?(?:会?费|会员|卡|租金?|付|订|套餐)|(?P<en>annual|yearly|monthly|weekly))[^，。；\d]{0,6}$",
    re.I,
)
RENEWED = re.compile(r"^\s?(?:内|左右)?(?:一换|更换|换一?次|一[次回](?!性)|清洗|换新)")
_SIZED_OF = re.compile(r"^\s?[×xX*]\s?$|^ of $")  # 7克×20袋, 12 sessions of 40 minutes
_TIMES_BEFORE = re.compile(r"^\s?[×xX*]\s?$")
_NOUN_ONLY = re.compile(r"^(?![^，。]*[共总计])[\u4e00-\u9fff\s]{0,4}$")
_EACH_HAS = re.compile(r"各(?:有|带|含|送|赠|可存|记)?\s?$")
CLAUSE_MARKS = "，。；！？,;!?\n"
CLAUSE = re.compile(rf"[{CLAUSE_MARKS}]")
_BESIDE = 16  # characters between two numbers beyond which neither is said of the other
_NUMERAL = re.compile(r"^[\d.,，零〇一二三四五六七八九十百千万亿两俩半余多几来\s]+")
_SAVED = re.compile(
    r"(?:减|降|省|抵|返|退|优惠|券|补贴|折扣|便宜|少付?|折价|立省|直降|\boff|save)[^，。；\d]{0,4}$", re.I
)
_MORE = re.compile(r"(?:超出|超过|每增加|加收?|另加|另付|另收|多付|补|押金|extra|plus)[^，。；\d]{0,4}$", re.I)
RANGE_AFTER, RANGE_BEFORE = (
    re.compile(r"\s?(?:[-~–—～至到]|to|and)\s?\d"),
    re.compile(r"\d\s?(?:[-~–—～至到]|to|and)\s?$"),
)
_PRICED, _PRICES = re.compile(r"\s?\d+(?:\.\d+)?\s?元"), re.compile(r"\d\s?元")
_BUYS, _BOUGHT = (
    re.compile(r"(?:买|拍|囤|购|入手|满|任选)\s?$"),
    re.compile(r"\s?(?:起|[减送包享打]|立减|优惠|以上|及以上)"),
)
_LABEL = re.compile(r"([\u4e00-\u9fff]{2}|[A-Za-z]{2,})[各约共为仅只达有含重近超也就要才个\s：:]{0,3}$")
_OFF = re.compile(r"\s?(?:off\b|优惠|折扣|红包|券|补贴)", re.I)
_SIDE = re.compile(r"([长宽高重厚深])\s?约?$")
_FIRST = re.compile(
    r"首[次单月年期节个晚杯件]|第一[次个单]|头一?[次个单月节回晚]|第[二2][件杯双张台只套位份瓶盒]|\bsecond\b|新[人客]|新用户|新会员|新学员|体验价"
)
_PLAIN_LABELS = frozenset(
    [
        "单次",
        "每次",
        "每节",
        "每天",
        "每日",
        "可以",
        "最多",
        "至少",
        "最长",
        "价格",
        "学费",
        "费用",
        "售价",
        "只要",
        "一次",
        "每人",
        "共计",
        "全程",
        "时长",
        "单价",
        "每周",
        "每月",
        "大约",
    ]
)
_PARTIES = frozenset(("person", "户", "组", "家", "间", "队", "车", "桌"))
_PERIODICAL = frozenset({*DAYS, "session", "学期", "学年", "疗程"})
_CHOICES = frozenset(
    [
        "颜色",
        "花色",
        "配色",
        "口味",
        "味道",
        "香型",
        "款式",
        "尺码",
        "图案",
        "色号",
        "肤色",
        "馅料",
        "造型",
        "场景",
        "语言",
        "语种",
        "城市",
        "校区",
        "门店",
    ]
)
_MEASURES = frozenset(
    "箱桶份壶碟锅碗杯筐提幅把扇顶枝朵束卷册本团串管排支瓶盒包袋片粒颗枚罐只双副对台部根块条张页字词句页层座间辆株棵泡饼贴滴勺匙顿"
)
PAIR = re.compile(
    r"(?:一对(?!一)|成[对双]|(?<!一)双份|俩|姐弟|兄妹|姐妹|兄弟|夫妻|母女|父子|母子|父女|情侣)([\u4e00-\u9fff]{2})?"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity with what it counts (`key`) and what it is of (`per`), and the clause of the text that says it."""

    field: str
    quantity: Quantity
    told: str
    key: str
    per: str = WHOLE
    clause: tuple[int, int] = (0, 0)
    label: str = ""  # what stands right before it: 眼轴 of 眼轴 4 次
    bought: bool = False  # how many of the product are bought: 买两盒
    first: bool = False  # said of the first time only
    saved: bool = False  # taken off a price
    more: bool = False  # put on top of it
    spread: bool = False  # one end of a range
    said: str = ""  # the clause that says it
    one_of: str = ""  # its measure word with the noun after it
    made: str = ""  # how it is worked out; empty: as it stands

    @property
    def value(self) -> Decimal:
        return self.quantity.value

    @property
    def dimension(self) -> str:
        return self.quantity.unit.dimension


@dataclass(frozen=True, slots=True)
class Implied:
    """An ad's numbers, and those that they imply."""

    every: tuple[Number, ...] = ()  # one for each of the ad's quantities
    stated: tuple[Number, ...] = ()  # those that differ
    worked: tuple[Number, ...] = ()
    keys: frozenset[str] = frozenset()  # what the ad counts
    contents: frozenset[str] = frozenset()  # what there are several of in the product
    ones: frozenset[str] = frozenset()  # what there is one of, by its measure word and noun
    lodging: bool = False  # whether nights are sold
    ranged: frozenset[int] = frozenset()  # places of the stated numbers that are an end of a range
    reduced: bool = False  # whether one price takes the place of another


def read_number(fact: Fact, text: str, facts: Sequence[Fact]) -> Number:
    field, quantity, told = fact
    start, end = quantity.start, quantity.end
    if not text or end == 0:
        named = _key_of_name(field.removeprefix("attributes.")) if quantity.unit.dimension == "" else ANY
        return Number(field, quantity, told, named if named != ANY else _key_of_unit(quantity.unit))
    low = max(text.rfind(mark, 0, start) for mark in CLAUSE_MARKS) + 1
    stop = CLAUSE.search(text, end)
    high = stop.start() if stop else len(text)
    key = _key(text[start:end], text[end : end + 4], quantity.unit)
    if key == ANY and quantity.unit.dimension == "" and field.startswith("attributes."):
        key = _key_of_name(field.removeprefix("attributes."))
    per = _per(text, low, start, end, money=quantity.unit.dimension.startswith("currency"))
    if per == WHOLE and _EACH_HAS.search(text[low:start]):
        before = [one for where, one, _ in facts if where == field and 0 < one.end <= start and is_count(one)]
        if before:
            nearest = before[-1]
            per = _key(text[nearest.start : nearest.end], text[nearest.end : nearest.end + 4], nearest.unit)
    if per == WHOLE and not is_count(quantity):
        for where, other, _ in facts:
            beside = -_BESIDE < other.start - end < _BESIDE or -_BESIDE < start - other.end < _BESIDE
            if not beside or where != field or other is quantity or other.end == 0:
                continue
            if (
                field
                and quantity.unit.dimension == "time"
                and 0 <= start - other.end <= 4
                and is_count(other)
                and _key(text[other.start : other.end], text[other.end : other.end + 4], other.unit) == "session"
                and _NOUN_ONLY.match(text[other.end : start])
            ):
                per = "session"
                continue
            if (_TIMES_BEFORE.search(text[other.end : start]) and 0 < start - other.end < 4 and is_count(other)) or (
                _SIZED_OF.match(text[end : other.start])
                and 0 < other.start - end < 5
                and "×xX*".find(text[end : other.start].strip()) >= 0
            ):
                per = _key(text[other.start : other.end], text[other.end : other.end + 4], other.unit)
            elif (
                0 < start - other.end < 16
                and re.match(r"[a-z ]* (?:of|at) $", text[other.end : start], re.I)
                and is_count(other)
            ):
                per = _key(text[other.start : other.end], text[other.end : other.end + 12], other.unit)
    head, tail = text[low:start], text[end : end + 8]
    labelled = _LABEL.search(head) or _SIDE.search(head)
    noun = re.match(r"[\u4e00-\u9fff]{2}", tail)
    return Number(
        field,
        quantity,
        told,
        key,
        per,
        (low, high),
        label=labelled[1] if labelled else "",
        bought=bool(_BUYS.search(head) or _BOUGHT.match(tail)) or _is_lot(quantity, text, end),
        first=_FIRST.search(head) is not None,
        saved=bool(_SAVED.search(head) or _OFF.match(tail)),
        more=_MORE.search(head) is not None,
        spread=bool(RANGE_AFTER.match(text[end:]) or RANGE_BEFORE.search(text[:start])),
        said=text[low:high],
        one_of=text[end - 1] + noun[0] if noun else "",
    )


_APIECE = re.compile(r"\s?(?:each\b|apiece\b|(a head|per head|each person)\b)", re.I)


def _is_lot(quantity: Quantity, text: str, end: int) -> bool:
    """Whether so many are priced beside another price: 四盒 66 元."""
    return (
        1 < quantity.value <= 6 and _PRICED.match(text[end : end + 10]) is not None and len(_PRICES.findall(text)) > 1
    )


def compatible(mine: Number | None, one: Number, known: Implied) -> bool:
    """Whether a number of a copy may be one of the ad's of the same value: of the same period, of the same thing."""
    if mine is None:
        return True
    if one.label and one.label not in mine.said:
        for other in known.stated:  # 密封圈也质保五年, where the five years are the body's
            if (
                other.label in mine.said
                and other.label
                and other.label != one.label
                and other.value != mine.value
                and other.dimension == one.dimension
                and other.key == one.key
                and other.clause != one.clause
                and not _grams_plain(other.label)
            ):
                return False
    if mine.per != one.per and mine.per in _PERIODICAL and one.per in _PERIODICAL:
        return False
    if mine.per != one.per and {mine.per, one.per} <= _PARTIES:
        return False
    if one.spread and re.search("[都全每].{0,3}(?:只有|仅|才)", mine.said):
        return False
    each = mine.per in _PERIODICAL or "每" in mine.said or "单" in mine.said
    if one.first and mine.per != WHOLE and each and not mine.first:
        return False
    if mine.dimension.startswith("currency") and mine.per not in (WHOLE, ANY) and one.per != mine.per:
        for other in known.stated:  # a card of ten at 680 is not 680 a lesson
            beside = (other.field, other.clause) == (
                one.field,
                one.clause,
            ) and other.quantity.start < one.quantity.start
            if beside and other.key == mine.per and other.value > 1 and is_count(other.quantity) and other.per == WHOLE:
                return False
    if mine.label != one.label and rivalled(mine, known):
        return False
    if mine.one_of in known.ones and mine.value > 1:
        return False
    if is_count(mine.quantity) and is_count(one.quantity) and not counts_alike(one, mine, known):
        return False
    return not (
        mine.key in _CHOICES
        and not set(one.key) & set(mine.key)
        and not (one.key in (ANY, THING) and (one.field.startswith("attributes.") or one.key == THING))
        and is_count(one.quantity)
        and one.label not in _CHOICES
    )


def _grams_plain(label: str) -> bool:
    """Whether a label only says how a number is meant."""
    return label in _PLAIN_LABELS


def rivalled(mine: Number | None, known: Implied) -> bool:
    """Whether the ad gives another value right after the same word: 眼轴 4 次 in the copy, 眼轴 2 次 in the ad."""
    if mine is None or not mine.label or mine.dimension in ("clock", "ordinal"):
        return False
    rivals = [
        other for other in known.every
        if other.label == mine.label and other.dimension == mine.dimension and other.key == mine.key
    ]  # fmt: skip
    return bool(rivals) and all(other.value != mine.value for other in rivals)


def counts_alike(one: Number, mine: Number, known: Implied) -> bool:
    """Whether a number of an ad may count what the copy's does: 两支 is not 两条 where the ad has 支 as well."""
    if mine.key in (ANY, THING) or mine.key not in known.keys or one.key == mine.key:
        return True
    return one.key in (ANY, THING) and one.dimension in ("", "count")


def is_count(quantity: Quantity) -> bool:
    return quantity.unit.dimension.partition(":")[0] in ("", "count") and quantity.value == int(quantity.value)


def _key_of_unit(unit: Unit) -> str:
    named = unit.dimension.partition(":")[2]
    return {"lesson": "session", "episode": "session", "person": "person"}.get(named, ANY)


def _key_of_name(name: str) -> str:
    """What the bare number of an attribute counts."""
    if re.search(r"名额|人数|班额|限额|人$|group|capacity|places|people", name, re.I):
        return "person"
    if re.search(r"课时|[节次集期课]数|课$|sessions|lessons|episodes|classes", name, re.I):
        return "session"
    return ANY


def _key(span: str, following: str, unit: Unit) -> str:
    """What a number counts: its measure word, or the noun after a measure word that says little."""
    word = _NUMERAL.sub("", span).strip(" -")
    if not word and (found := re.match(r"\s?([\u4e00-\u9fff]|[a-z]+)", following, re.I)):
        word, following = found[1], following[found.end() :]
    return name_of(word, following) if word else _key_of_unit(unit)


def name_of(word: str, following: str) -> str:
    if word[:2] in ("学期", "学年", "疗程", "公斤", "公里", "毫升"):
        return word[:2]
    for name in (word, word[:2], word[:1]):
        if name.lower() in TIMES:
            return TIMES[name.lower()]
        if name.lower() in _KINDS:
            return _KINDS[name.lower()]
    if word[0].isascii():
        return THING
    if word[0] in _LOOSE:
        noun = word[1:] or following
        found = re.match(r"[\u4e00-\u9fff]{1,2}", noun)
        return name_of(found[0], "") if found and len(found[0]) > 1 else ANY
    return word[0] if len(word) == 1 or word[0] in _MEASURES else word[:2]


def _per(text: str, low: int, start: int, end: int, *, money: bool) -> str:
    """What the number at ``[start, end)`` of a text is of: 每节 75 分钟, 19元/月; empty where it is of the whole."""
    if (apiece := _APIECE.match(text[end : end + 12])) is not None:
        return "person" if apiece[1] else ANY
    after = _PER_AFTER.match(text[end : end + 16])
    if after is not None:
        name = after["zh"] or after["en"]
        if name[0] not in _LOOSE or len(name) > 1:
            found = name_of(name[1:] if name[0] in _LOOSE else name, "")
            if (
                after["zh"]
                and text[end : end + 1] == "一"
                and found not in DAYS
                and found not in ("session", "person")
                and name[0] not in _MEASURES
                and name[0] not in "升斤公两米克户组家桌队"
            ):
                found = WHOLE
            if found != WHOLE:
                return found
    if RENEWED.match(text[end : end + 8]):
        return ANY
    before = PER_BEFORE.search(text[low:start])
    if before is None:
        card = SPAN_CARD.search(text[low:start]) if money else None
        if card is None:
            return WHOLE
        return TIMES.get(
            card["u"] or "", {"a": "year", "y": "year", "m": "month", "w": "week"}[(card["en"] or "y")[0].lower()]
        )
    each, tail = before["each"], before["tail"]
    if each[-1] == "均":
        return {"人": "person", "日": "day", "月": "month", "年": "year", "周": "week"}.get(
            each[0], ANY if not tail else of_what(tail)
        )
    return of_what(tail)


def of_what(tail: str) -> str:
    if not tail.strip():
        return ANY
    if tail[0] in "每一个" and len(tail) > 1:
        tail = tail[1:]
    found = re.match(
        r"(?:下来)?(?:每|一)?(?P<x>小时|分钟|星期|礼拜|季度|钟头|课时|学期|学年|疗程|公斤|公里|毫升|[个种款件项类][\u4e00-\u9fff]{1,2}"
        r"|[\u4e00-\u9fff]|[a-z]+)",
        tail,
        re.I,
    )
    if found is None:
        return ANY
    return name_of(found["x"], tail[found.end() :])


def number_of(plain: str, claim: Quantity) -> Number | None:
    """What a quantity of a folded copy counts and is of; None where it is read otherwise."""
    return next((one for one in numbers_of(plain) if one.quantity.start == claim.start), None)


@lru_cache(maxsize=64)
def numbers_of(plain: str) -> tuple[Number, ...]:
    found = [("", quantity, "") for quantity in find_quantities(plain, every=True) if not quantity.literal]
    numbers = [read_number(fact, plain, found) for fact in found]
    for match in PAIR.finditer(plain):
        two = Quantity(match.start(), match.end(), "number", Decimal(2), Unit("count"))
        numbers.append(Number("", two, "", name_of(match[1], "") if match[1] else ANY))
    return tuple(numbers)
