"""Where a Chinese copy names a time that is not the ad's: more often, at once, on another day, in another season.

The ad says 每月第一个周二 and the copy 每周二; the ad 周六上午 and the copy 周六晚上; the ad nothing of when it is sent
and the copy 当天就发.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int, str]  # [start, end) and kind of a claim that the ad does not bear out
_CLAUSE = re.compile(r"[，。；！？,;!?\n]")
_EVERY_DAY = re.compile(
    r"每[天日晚]|天天|日更|全年无休|\bdaily\b|\bevery (?:day|evening|night)\b|周一至周日|周一到周日|一周七天", re.I
)
_DAILY_SAID = re.compile(r"每[天日晚]|天天")
_WEEKLY_SAID = re.compile(r"每个?(?:周|星期|礼拜)[一二三四五六日天末]|周周|每周都?|逢周[一二三四五六日末]")
_RARER = re.compile(
    r"每个?月(?:的)?第|每个?月\s?\d+\s?[日号]|每个?月(?=[\d一二两三四]\s?[次回场期])|每月(?:最后|首个|一次)|隔周|双周|单周|两周一[次期场]|每两周|每季|每年"
    r"|\bmonthly\b|(?:first"
    r"|second|third|fourth|last) \w+days? of (?:the|each|every) month|\bfortnight",
    re.I,
)
_ON_HOLIDAY = re.compile(
    r"(?:定在|就在|安排在|放在|选在)(?P<h>元旦|春节|除夕|元宵|清明|五一|端午|儿童节|六一|七夕|中秋|国庆|重阳|圣诞|平安夜|情人节|母亲节|父亲节|劳动节)"
)
_EVERY_WEEK = re.compile(r"每周(?!末?前)|每星期|每逢?周[一二三四五六日末]|\bweekly\b|\bevery week", re.I)
_TAKES_PLACE = re.compile(r"开|播|讲|课|更|见|聚|跑|练|办|答疑|推送|发|约|活动|集合|营业|上线|送|[点:：]")
_PARTS = (
    ("morning", re.compile(r"早上|上午|清晨|早晨|早场|早班|早(?=[\d一二三四五六七八九十]+[点:：])")),
    ("noon", re.compile(r"中午|午间")),
    ("afternoon", re.compile(r"下午|午后")),
    ("evening", re.compile(r"晚上?|夜里?|傍晚")),
)  # fmt: skip
_DAY_PART = re.compile(
    r"(?P<day>(?:周|星期|礼拜)[一二三四五六日天末])的?(?P<part>早上|上午|清晨|早晨|中午|下午|午后|晚上?|傍晚|夜里)"
)
_AD_DAY = re.compile(
    r"(?:周|星期|礼拜)(?P<first>[一二三四五六日天末])(?:\s?(?:至|到|[-~—–])\s?(?:周|星期|礼拜)?(?P<last>[一二三四五六日天]))?|工作日|每[天日]"
)
_RANGE = re.compile(
    r"(?:周|星期|礼拜)(?P<first>[一二三四五六日天])\s?(?:至|到|[-~—–])\s?(?:周|星期|礼拜)?(?P<last>[一二三四五六日天])"
)
_HOUR = re.compile(r"(?<!\d)(\d{1,2})(?:[:：]\d{2}|\s?[点时])")
_ORDER = {day: place for place, day in enumerate("一二三四五六日")} | {"天": 6}
_SAME_DAY = re.compile(
    r"(?:当[天日晚场]|次日|隔[天日]|第二天|立刻|马上|即刻|秒)(?:[上下中]午|晚上|早上)?(?:之内|内)?(?:[\u4e00-\u9fff]{0,4}?(?=就))?(?:就|即|便|也|都"
    r"|还)?(?:能|可以?|会)?"
    r"(?:全部|都)?(?P<act>出具?|扫|交[付片]|取|送|发货?|到[货账手]?|退|改|拿|装|修|约|报名?|入住|预约|下单|交付|取消|生效|开通|答复|回复|上门|完工|寄|来|做"
    r"|制|提|抱|拎)"
)
_AT_ONCE = re.compile(
    r"当[天日晚场]|次日|隔[天日]|即时|立即|马上|随时|现场|秒|立等|同日|小时内|分钟|\bsame.day\b|\binstant|\bnext.day\b",
    re.I,
)
_SEASON = re.compile(
    r"(?P<s>[春夏秋冬])季?的?(?:采|收|摘|款|装(?!点|进|满)|产|制|酿|茶|版|营|班|期|开课|开营|限定|上新|头采)"
)
_HOLIDAY = re.compile(r"(?P<s>[暑寒])[假期](?:班|营|档|开|特训|课)")
_CLOSED_ON = re.compile(r"(?:周|星期)([一二三四五六日天])[^，。；]{0,6}?(?:休|停|闭|歇|不开|不营业|不接)")
_OPEN_ALWAYS = re.compile(
    r"(?:(?:周|星期)(?P<first>[一二三四五六日天])(?:至|到|[-~—–])(?:周|星期)?(?P<last>[一二三四五六日天])|天天|每天都?(?=开|营业)|全年无休|一周七天|周周不休)"
    r"(?=[^，。！？]{0,8}(?:开|营业|能|可|都|接|在|放|见))"
)
_NAMED_DAY = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天末])")
_AND_DAYS = re.compile(r"(?:\s?[、，,和与及/]\s?[一二三四五六日天](?![\u4e00-\u9fff]?[个次节款种]))*")
_ENGLISH_DAYS = (
    "mon(?:day|\\b)",
    "tues?(?:day|\\b)",
    "wed(?:nesday|\\b)",
    "thu(?:rsday|\\b)",
    "fri(?:day|\\b)",
    "sat(?:urday|\\b)",
    "sun(?:day|\\b)",
)
_ALSO_THEN = re.compile(
    r"^[^，。！？；]{0,3}(?:都|也|均)(?:有[场课班]|能[来约报]|可[约来]|开|营业|上课|来)|^(?:早上|上午|中午|下午|晚上?|傍晚)?[\d一二三四五六七八九十]+[点:：]"
)


def clause_of(plain: str, start: int, end: int, breaks: re.Pattern[str] = _CLAUSE) -> tuple[int, int]:
    """The [start, end) of what stands between two `breaks` around a span: a clause, or a sentence."""
    low = max((match.end() for match in breaks.finditer(plain, 0, start)), default=0)
    stop = breaks.search(plain, end)
    return low, stop.start() if stop else len(plain)


def too_often(plain: str, whole: str) -> Iterator[Span]:
    """Every day, or every week, what takes place less often."""
    daily = _DAILY_SAID.search(plain)
    if daily and re.search(r"每?周[一二三四五六日末]|每星期|每月|工作日", whole) and not _EVERY_DAY.search(whole):
        _, high = clause_of(plain, *daily.span())
        rest = plain[daily.end() : high]
        hours = set(re.findall(r"[\d一二三四五六七八九十两]+(?=[点:：])", rest))
        if (hours and _TAKES_PLACE.search(rest)) or re.search(
            r"直播|答疑|开课|开讲|更新|推送|集合|上课|开放|营业|坐诊|出诊", rest
        ):
            yield (*daily.span(), "date")
            return
    weekly = _WEEKLY_SAID.search(plain)
    if weekly and _RARER.search(whole) and not _EVERY_WEEK.search(_RARER.sub("", whole)):
        yield (*weekly.span(), "qualifier")
    elif (
        weekly
        and re.search(r"\d\s?月\s?\d+\s?[日号]", whole)
        and not re.search(r"周|星期|礼拜|每[月年]|week|day\b", whole, re.I)
    ):
        yield (*weekly.span(), "date")
    for match in _ON_HOLIDAY.finditer(plain):
        if match["h"] not in whole:
            yield (*match.span("h"), "date")


def _days_between(first: str, last: str | None) -> frozenset[int]:
    if first == "末":
        return frozenset({5, 6})
    low = _ORDER[first]
    high = _ORDER[last] if last else low
    return frozenset(range(low, high + 1)) if low <= high else frozenset({*range(low, 7), *range(high + 1)})


def other_days(plain: str, whole: str) -> Iterator[Span]:
    """Days from which to which, and parts of a day, that are not the ad's."""
    own = [_days_between(match["first"], match["last"]) for match in _RANGE.finditer(whole)]
    if not own and re.search(r"(?<!个)(?<!\d )工作日|平日", whole):
        own.append(frozenset(range(5)))
    if not own:
        named = [_days_between(match[1], None) for match in _NAMED_DAY.finditer(whole)]
        own = [frozenset[int]().union(*named)] if named else []
    closed = {_ORDER[match[1]] for match in _CLOSED_ON.finditer(whole)}
    if closed:
        for match in _OPEN_ALWAYS.finditer(plain):
            if match["first"] is None or closed & _days_between(match["first"], match["last"]):
                yield (*match.span(), "date")
        return
    if own and not _EVERY_DAY.search(whole):
        for match in _RANGE.finditer(plain):
            mine = _days_between(match["first"], match["last"])
            if not any(mine <= days for days in own):
                yield (*match.span(), "date")
    told: dict[int, set[str]] = {}
    for match in _AD_DAY.finditer(whole):
        days = (
            _days_between(match["first"], match["last"])
            if match["first"]
            else frozenset(range(5 if match[0] == "工作日" else 7))
        )
        stop = re.search(r"[。；\n]|(?:周|星期)[一二三四五六日天末]", whole[match.end() :])
        rest = whole[match.end() : match.end() + (stop.start() if stop else 24)][:24]
        if stop and stop[0][0] in "周星" and re.fullmatch(r"[、和与及,，\s]{0,3}", rest):
            following = whole[match.end() : match.end() + 24]
            rest = re.split(r"[。；\n]", following)[0]
        parts = _parts_of(rest)
        for day in days:
            told.setdefault(day, set()).update(parts)
    for match in _DAY_PART.finditer(plain):
        part = _parts_of(match["part"])
        for day in _days_between(match["day"][-1], None):
            if told.get(day) and not part & told[day]:
                yield (*match.span(), "date")
                break


def _and_days(whole: str, place: int) -> str:
    """What follows a named day as further ones: 周一、四."""
    more = _AND_DAYS.match(whole, place)
    return more[0] if more else ""


def unnamed_days(plain: str, whole: str) -> Iterator[Span]:
    """A day of the week on which something takes place, too, where the ad names others."""
    told: set[int] = set()
    for match in _AD_DAY.finditer(whole):
        if match["first"]:
            told |= _days_between(match["first"], match["last"])
            told |= {_ORDER[day] for day in _and_days(whole, match.end()) if day in _ORDER}
    for place, name in enumerate(_ENGLISH_DAYS):
        if re.search(rf"\b{name}", whole, re.I):
            told.add(place)
    if re.search(r"\bweekdays\b", whole, re.I):
        told |= set(range(5))
    if not told or _EVERY_DAY.search(whole) or re.search(r"工作日", whole):
        return
    for match in _NAMED_DAY.finditer(plain):
        days = _days_between(match[1], None)
        rest = _NAMED_DAY.sub("", plain[match.end() : match.end() + 12]).lstrip("、和")
        if not days <= told and _ALSO_THEN.match(rest):
            yield (*match.span(), "date")


def _parts_of(text: str) -> set[str]:
    found = {name for name, pattern in _PARTS if pattern.search(text)}
    hours = [int(hour) for hour in _HOUR.findall(text)]
    if not found & {"afternoon", "evening"}:
        found |= {_part_at(hour) for hour in hours}
    if len(hours) > 1 and hours[0] < hours[-1]:
        found |= {_part_at(hour) for hour in range(hours[0], hours[-1])}
    return found | ({"noon"} if "morning" in found and "afternoon" in found else set())


def _part_at(hour: int) -> str:
    return "morning" if hour < 12 else "noon" if hour == 12 else "afternoon" if hour < 18 else "evening"


def at_once(plain: str, whole: str) -> Iterator[Span]:
    """On the same day, where the ad has no such thing."""
    whole = re.sub(r"(?:不|非|未|无法)(?:能|可)?当[天日]", "", whole)
    for match in _SAME_DAY.finditer(plain):
        if match[0].startswith("第二天") and re.search(r"提前|前一天|前1天", whole):
            continue
        if _AT_ONCE.search(whole) is None or (
            match[0][:2] in ("当天", "当日", "次日", "隔天", "第二")
            and not re.search(r"当[天日晚]|次日|隔[天日]|即时|立即|同日|same|next", whole)
        ):
            yield (*match.span(), "duration")


def other_season(plain: str, whole: str) -> Iterator[Span]:
    """A season, or a school holiday, that the ad does not name."""
    for pattern in (_SEASON, _HOLIDAY):
        for match in pattern.finditer(plain):
            if (
                match["s"] not in whole
                and "四季" not in whole
                and not re.search(r"spring|summer|autumn|winter|fall\b", whole, re.I)
            ):
                yield (*match.span(), "date")
