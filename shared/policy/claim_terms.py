"""The fixed terms of a copy that claim something, and what in an ad supports them.

Offers, comparisons, superlatives and promises by the patterns of ``packs/claims.json`` and ``packs/claims.zh.json``; a
term is borne out by the fact of the ad that says the same, or by one that its group names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.domain import Claim
from shared.policy.english_claims import charged
from shared.policy.facts import Facts, quantity_support
from shared.policy.numerals import Quantity
from shared.policy.polarity import bound
from shared.policy.vocabulary import stems, vocabulary
from shared.policy.words import means

_HAN = re.compile(r"[\u3400-\u9fff]")
_FREE = re.compile(
    r"(?<!-)\bfree\b(?! (?:of|from)\b)|complimentary|no charge|on the house|costs? nothing|bursar|免费|赠", re.I
)
_AUTO = re.compile(r"\bauto|\bself[- ]|\bitself\b|自动|自", re.I)
_SENT = frozenset({"delivery", "shipping", "postage", "carriage", "batteries", "tax", "insurance"})
_FOREVER = re.compile(r"\blifetime\b|\bfor ?(?:ever|life)\b|\bpermanent|永久|终身", re.I)
_QUALIFIER = re.compile(
    r"^最[长多高大低少快迟晚远重短早厚轻久亮暗强弱冷热宽窄深浅]$|^(?:the )?(?:most|best|latest|lowest|highest)$", re.I
)
_EVERY = re.compile(
    r"不限|随时|每[次节回周天月]|人人|所有|任何|永久|终身|无限|全部|不管|无论|随便|永远|一口价|无理由|无条件|任意"
    r"|全国|全球|全天"
)
_DIGITS = str.maketrans("一二两三四五六七八九", "1223456789")
_AMOUNT = re.compile(
    r"^[也就只要约能可在到提前撑用吹跑听放存装]{0,3}(?:[\d半]|一(?:周|天|年|个月|小时|分钟|晚)"
    r"|[周下本][一二三四五六日天末周月]|星期|明天|后天|前一天|当天|[来去跑打练做]?一[趟次回节])"
)
_PARTS = re.compile(r"[，。！？；：,!?;]|的一")
# What bears out a universal of a copy, by what it speaks of.
_UNIVERSAL = (
    (
        re.compile(r"人人|谁都|所有人|个个|来的|到场的"),
        re.compile(r"每[人位名个]|人人|人均|所有|全部|全员|均|各一|不限|\b(?:each|every|all|anyone)", re.I),
    ),
    (
        re.compile(r"任[意你您]|随[意便你您]|由你|多少|[借换拿带][几多]|几[天次回节个]都"),
        re.compile(r"任意|任选|随意|随便|自选|自由|可选|不限|无限|\bany", re.I),
    ),
    (
        re.compile(r"任何|所有|无论|不管|不论|哪[个种款家位]"),
        re.compile(r"任何|所有|全部|各[种类款大]|均可|皆可|不限|通用|\b(?:any|all|every|each|whatever)", re.I),
    ),
    (
        re.compile(r"全程|从头到尾|始终|一直"),
        re.compile(r"全程|始终|一直|从头|全部|\b(?:throughout|whole|entire|always)", re.I),
    ),
    (
        re.compile(r"每|天天|次次|逐|样样|款款|件件|台台|道道|节节|月月|年年|场场|几[天次回节个]都"),
        re.compile(
            (
                r"每|天天|[/／]\s?[天日晚周月年次节人位]|次次|逐|各|均|日更|周更|全年|\b(?:each|every|daily"
                r"|weekly|per|all)"
            ),
            re.I,
        ),
    ),
    (re.compile(r"整|全[车套机身屋店馆场]"), re.compile(r"整|全|\b(?:whole|entire|full)", re.I)),
    (re.compile(r"随时"), re.compile(r"随时|24\s?小时|全天|任何时|\bany ?time", re.I)),
    (
        re.compile(r"全部|全都|一律|统统|通通"),
        re.compile(r"全部|全都|均|皆|都|所有|每|一律|\b(?:all|every|each)", re.I),
    ),
)
_FREQUENCY = {
    "每日": re.compile(
        r"每[天日晚]|天天|日更|\bdaily\b|\bevery (?:day|night|evening|morning)\b|\bnightly\b|周一至周[六日]|全年", re.I
    ),
    "每周": re.compile(r"每周|每星期|周[一二三四五六日]|周更|\bweekly\b|\bevery week\b|days?\b", re.I),
    "每月": re.compile(r"每个?月|月更|月刊|\bmonth", re.I),
}
_AS_USUAL = re.compile(
    (
        r"风雨无阻|照常|照旧|无休|雨天(?!顺延|取消|改|停|延)|不受[^，。]{0,4}影响|室内|indoor"
        r"|rain or shine|whatever the weather|all weather"
    ),
    re.I,
)
_DIPLOMA = re.compile(
    (
        r"(?:发|颁|授予?|获|领取?|得|拿|考取|结业|结课|附)[^，。；]{0,10}(?:证|学分|奖状|文凭)"
        r"|certificate of|certificate included|diploma"
    ),
    re.I,
)
_CHEAPER = re.compile(r"比(?P<than>[\u4e00-\u9fff]{2,5}?)(?:更|还)?(?:划算|便宜|省|合算|实惠|少)")
_BEGINNERS = re.compile(
    (
        r"零基础|无基础|无需?.{0,3}基础|初学|入门|不要求|无.{0,4}经验|不限.{0,3}(?:水平|基础)|新手"
        r"|小白|\b(?:beginner|no (?:\w+ )?(?:experience|background)|from scratch|all levels|novice"
        r"|starter)"
    ),
    re.I,
)
_SENT_FREE = re.compile(
    (
        r"包邮|免邮|免运费|免费(?:配送|寄送|送货|取送|往返)|(?:运费|邮费|快递)[^，。；]{0,8}(?:我方"
        r"|店铺|卖家|商家|平台|承担|免费|全免)|\b(?:free|complimentary) (?:\w+ ){0,2}(?:shipping"
        r"|delivery|postage|returns?)|ships? free|postage free|free postage"
    ),
    re.I,
)
_DENIED = re.compile(
    r"(?:不支持|不提供|不可以?|不能|没有?|无法|谢绝|不含|不接|不收|不是|不做|不用|无需|无须|不必"
    r"|免|无|非|未|不)[^，。！？；]{0,4}$"
)
_NAMED = re.compile(
    r"(?:发|颁|授予?|获|领取?|得|拿|送|给)(?:你|您|一张|一本|的)?(?P<name>[^，。！？；]*?)(?:证书?"
    r"|学分|奖状|文凭|执照)$"
)
_RETURN_IF = re.compile(
    (
        r"[未需须除不如凭][^，。；]{0,12}(?:退|换)|(?:退|换)[^。；]{0,10}(?:未|需|须|除|不[^满])"
        r"|\b(?:if|unless|unworn|unused|except|not)\b"
    ),
    re.I,
)
_HAS_EACH = re.compile(
    r"[都全](?:有|配|含|带|送|附)(?P<y>(?!自己|各自|不同|[一两二三四五六七八九十])[\u4e00-\u9fff]{2,4})$"
)
_PHONE = re.compile(
    r"手机|小程序|蓝牙|无线网|联网|智能|远程|微信|公众号|\b(?:app|wi-?fi|bluetooth|phone|smart|remote)", re.I
)
_MEMBERS = re.compile(r"老顾客|老客|老用户|老学员|新客|新人|会员|学生|老人|首单|早鸟|团购|拼团")
_LESS = re.compile(r"[省少贵多低高]$|便宜$|划算$|[长短重轻早晚厚]$")
_RIVAL_ALONE = re.compile(
    r"别家|同行|大牌|普通|传统|老款|旧款|同类|市面|一般|其他|其它|竞品|上一代|进口|专柜|别人|名牌|品牌|外面|同价"
)
_THAN = re.compile(r"比([^，。]{1,6})还")
_RIVAL = re.compile(
    r"别家|同行|大牌|普通|传统|老款|旧款|同类|市面|一般|其他|其它|竞品|上一代|进口|专柜|线下|超市"
    r"|别人|原装|名牌|品牌|外面|同价"
)
_NO_NEED = re.compile(r"无需|不需|不用|无须|不必|不限|no need|not required|without", re.I)
_FIGURE = re.compile(
    r"^比(?:[一半两][杯顿份碗张包双场瓶斤条支束盒次节趟][^，。]{1,6}(?:便宜|少|贵|轻|还)|(?:翻|看|刷|听|喝|吃|发"
    r"|写|打|睡|心|梦|风|云|雨|雪|月|星|花|春|夏|秋|冬|蝉|猫|狗|妈|爸|老板|闹钟|导航|朋友|邻居|同事|室友|对象|情话"
    r"|晚安|奶茶|午睡|拥抱|太阳|手机|公式|日历)[^，。]{0,6}还|(?:请假|打车|外卖|加班|堵车|排队|点外卖|看电影|报班)[^，"
    r"。]{0,3}(?:划算|便宜|省|轻松|快))"
)


@dataclass(frozen=True, slots=True)
class _Group:
    id: str
    kind: str
    pattern: re.Pattern[str]
    each: bool  # every term stands for itself, rather than any for all
    chinese: bool  # only of copies with a Chinese character


@cache
def term_rows() -> list[dict[str, Any]]:
    """The term groups of both languages; those of one name are two groups."""
    folder = Path(__file__).with_name("packs")
    documents = [json.loads((folder / name).read_text(encoding="utf-8")) for name in ("claims.json", "claims.zh.json")]
    return [row | {"zh": place == 1} for place, document in enumerate(documents) for row in document["terms"]]


@cache
def term_groups() -> tuple[_Group, ...]:
    rows = term_rows()
    return tuple(
        _Group(row["id"], row["kind"], re.compile("|".join(row["patterns"]), re.I), bool(row.get("each")), row["zh"])
        for row in rows
    )


def term_claims(
    text: str, plain: str, group: _Group, facts: Facts, quantities: Sequence[Quantity], taken: bytearray
) -> list[Claim]:
    borne = (
        [
            (quantity.start, by)
            for quantity in quantities
            if quantity.kind == "price"
            and _HAN.search(plain)
            and (by := quantity_support(plain, quantity, bound(plain, quantity.start, quantity.end), facts))
        ]
        if group.kind == "comparison"
        else []
    )
    claims = []
    chinese = _HAN.search(plain) is not None
    for match in group.pattern.finditer(plain):
        near = _AMOUNT.match(plain[match.end() :]) or any(
            0 <= quantity.start - match.end() <= 6
            and not (chinese and _PARTS.search(plain[match.end() : quantity.start]))
            for quantity in quantities
        )
        if near and _QUALIFIER.match(match[0]):
            taken[match.start() : match.end()] = b"\x01" * len(match[0])
            continue
        support = _term_support(match[0], group, facts)
        if support is not None and chinese and group.each and not _agrees(plain, match, facts):
            support = None
        if support is not None and group.id == "free" and not chinese and charged(plain, *match.span(), facts.texts):
            support = None
        if support is None and group.kind == "comparison":
            if (_FIGURE.search(match[0]) or _likened(match[0])) and not any(
                0 <= quantity.start - match.end() <= 3 for quantity in quantities
            ):
                taken[match.start() : match.end()] = b"\x01" * len(match[0])
                continue
            if chinese and _LESS.search(match[0]) and not _RIVAL_ALONE.search(match[0]):
                stop = _PARTS.search(plain, match.end())
                last = min(match.end() + 6, stop.start() if stop else len(plain))
                if any(match.end() <= quantity.start < last for quantity in quantities):
                    taken[match.start() : match.end()] = b"\x01" * len(match[0])
                    continue  # how much is judged itself: 比单买省四十
            support = next((by for start, by in borne if 0 <= start - match.end() <= 3), None)
        following = re.match(r"[A-Za-z']+", plain[match.end() :])
        if group.id == "comparison" and following and means(following[0].lower(), facts.words, vocabulary()):
            continue  # more linen than cotton, of both
        if support is None and group.id == "included" and stems(match[0].split()[0]) not in vocabulary().concepts:
            continue  # kindness included
        claims.append(Claim(match.span(), text[match.start() : match.end()], group.kind, support))
    return claims


def _agrees(plain: str, match: re.Match[str], facts: Facts) -> bool:
    """Whether the ad has a term as the copy does, denied or not: 无理由退换 is no 不支持无理由退换."""
    term = match[0]
    said = [
        bool(marks[place])
        for name, text, marks in facts.words.texts
        if name != "audience"
        for place in _places(text, term)
    ]
    if not said:
        return True
    denied = _DENIED.search(plain[max(0, match.start() - 8) : match.start()]) is not None
    return denied in said


def _places(text: str, term: str) -> list[int]:
    return [place.start() for place in re.finditer(re.escape(term), text)]


def _term_support(term: str, group: _Group, facts: Facts) -> str | None:
    if group.id == "free":
        if facts.free is not None:
            return facts.free
        for field, fact in facts.texts:
            if _FREE.search(fact):
                return field
    if group.id == "free-from" and (support := means(term[: -len("-free")], facts.words, vocabulary(), negative=True)):
        return support
    if group.id == "included":
        thing = term.split()[0]
        held = facts.words.stems.get(stems(thing), {}).get(False)
        return held or (means(thing, facts.words, vocabulary()) if thing.lower() in _SENT else None)
    if group.id == "itself" and (does := next((field for field, fact in facts.texts if _AUTO.search(fact)), None)):
        return does
    if group.id == "forever" and (kept := next((field for field, fact in facts.texts if _FOREVER.search(fact)), None)):
        return kept
    if group.id == "gift" and "领" in term:
        return next((field for field, fact in facts.texts if re.search("领|获赠|发放?|赠|送", fact)), None)
    if group.id == "gift" and (
        given := next(
            (
                by
                for by, fact in facts.texts
                if re.search(r"(?<![不接护])[送赠](?![货到给上])|获[^，。；]{0,8}[一\d]", fact)
            ),
            None,
        )
    ):
        return given
    if group.id == "licence" and not re.match("[一二三]类", term):
        for place in range(max(1, len(term) - (1 if term.endswith("省级") else 2))):
            if told := next((by for by, fact in facts.texts if _squeezed(term[place:]) in _squeezed(fact)), None):
                return told
    if group.id == "gift" and (support := means("附赠", facts.words, vocabulary())):
        return support
    if group.id == "frequency":
        return next((field for field, fact in facts.texts if _frequent(term, fact)), None)
    if group.id == "we-do":
        return next((field for field, fact in facts.texts if term[-1] in fact or _SENT_FREE.search(fact)), None)
    if group.id == "refund" and (support := means("退款", facts.words, vocabulary())):
        return support
    if group.id == "no-condition":
        return next((field for field, fact in facts.texts if _NO_NEED.search(fact)), None)
    if group.id == "used-too":
        return None if any(_RETURN_IF.search(fact) for _, fact in facts.texts) else "description"
    if group.id == "universal":
        has = _HAS_EACH.search(term)
        if (
            has
            and not any(has["y"][:2] in fact for _, fact in facts.texts)
            and not means(has["y"], facts.words, vocabulary())
        ):
            return None
        return next(
            (
                field
                for said, borne in _UNIVERSAL
                if said.search(term)
                for field, fact in facts.texts
                if borne.search(fact)
            ),
            None,
        )
    if group.id == "as-usual":
        return next((field for field, fact in facts.texts if _AS_USUAL.search(fact)), None)
    if group.id == "diploma":
        named = _NAMED.search(term)
        name = (
            re.sub(r"[\s，]|结业|结课|毕业|培训|合格|电子|一张|一本|你|的|级|发|颁", "", named["name"]) if named else ""
        )
        if len(name) > 1 and not any(name[:2] in fact and name[-2:] in fact for _, fact in facts.texts):
            return None
        return next((field for field, fact in facts.texts if _DIPLOMA.search(fact)), None)
    if group.id == "fees":
        return next((field for field, fact in facts.texts if _SENT_FREE.search(fact)), None)
    if group.id == "no-condition" and (
        rented := next((by for by, fact in facts.texts if re.search("租|借", fact)), None)
    ):
        return rented  # 没有车也能来, where one may be hired
    if (
        group.id == "credential"
        and re.search("协会|学会|联盟|公会", term)
        and (
            body := next(
                (
                    by
                    for by, fact in facts.texts
                    if re.search(r"\b(?:association|society|guild|institute)\b", fact, re.I)
                ),
                None,
            )
        )
    ):
        return body
    if group.id == "not-a-grain":
        word = group.pattern.fullmatch(term)
        return means(word["w"], facts.words, vocabulary(), negative=True) if word else None
    if group.id == "after-use" and term[0] in "送赠":
        noun = re.match(r"[送赠]([\u4e00-\u9fff]+?)[一两二三][\u4e00-\u9fff]$", term)
        gift = re.escape(noun[1]) if noun else "$^"
        given = rf"(?:含|附|送|赠|配|发|领|获)[^，。；]{{0,10}}{gift}|{gift}[^，。；]{{0,8}}(?:送|附|首单|各一|赠)"
        return next((by for by, fact in facts.texts if re.search(given, fact)), None)
    if group.id == "beginners":
        return next((field for field, fact in facts.texts if _BEGINNERS.search(fact)), None)
    if group.id == "only" and term.startswith("出生"):
        return next((field for field, fact in facts.texts if "出生" in fact), None)
    if term == "冠军":
        return next((field for field, fact in facts.texts if term in fact), None)
    if (
        group.id == "rank"
        and term.endswith("奖")
        and (won := next((by for by, fact in facts.texts if term[-3:] in fact), None))
    ):
        return won
    if group.id == "comparison" and (cheaper := _CHEAPER.match(term)) is not None:
        if re.match("[一两二三四五六七八九十半单]", cheaper["than"]):
            return next((by for by, quantity, _ in facts.quantities if quantity.kind == "price"), None)
        return next((field for field, fact in facts.texts if cheaper["than"] in fact), None)
    if group.id == "by-phone":
        return next((field for field, fact in facts.texts if _PHONE.search(fact)), None)
    if group.id == "function":
        verb = term[-2:]
        return means(verb, facts.words, vocabulary()) or next(
            (field for field, fact in facts.texts if verb in fact), None
        )
    if group.id == "only-these":
        return next((field for field, fact in facts.texts if re.search(r"仅|只|限|\bonly\b", fact, re.I)), None)
    if group.id == "deal" and re.search("不(?:另|额外)?(?:加[钱价]|加收|收费|收钱)", term):
        return next(
            (field for field, fact in facts.texts if _FREE.search(fact) or "不另" in fact or "无额外" in fact), None
        )
    if group.id == "deal" and "借" in term:
        return next((field for field, fact in facts.texts if re.search(r"借|租|\b(?:loan|lent|borrow)", fact)), None)
    if group.id == "deal" and _MEMBERS.match(term):
        return next((field for field, fact in facts.texts if _MEMBERS.match(term)[0] in fact), None)  # type: ignore[index]
    if group.id == "rating" and term == "回头客":
        return next((field for field, fact in facts.texts if re.search("老客|老用户|老顾客|回头客", fact)), None)
    if group.id in ("deal", "unbounded") and _FOREVER.search(term.replace("一辈子", "终身")):
        kept = next((field for field, fact in facts.texts if _FOREVER.search(fact)), None)
        if kept:
            return kept
    if group.id == "unbounded" and "补" in term:
        return next((field for field, fact in facts.texts if re.search("补|make.?up", fact)), None)
    if group.id == "deal" and "不满意" in term:
        return next((field for field, fact in facts.texts if re.search(r"退|\brefund|money back", fact)), None)
    if group.id == "unbounded":
        every = _EVERY.findall(term)
        if not all(any(word in fact for _, fact in facts.texts) for word in every):
            return None
        return next((field for field, fact in facts.texts if any(word in fact for word in every)), None)
    if group.id in ("requirement", "source", "extra-service", "homework"):
        term = term.partition("的")[0] if group.id == "source" else term
        pieces = [term[place : place + 2] for place in range(2, len(term) - 1)]
        for place in range(2, len(term) - 1):
            for size in range(2, 6):
                if (support := means(term[place : place + size], facts.words, vocabulary())) is not None:
                    return support
        return next((field for field, fact in facts.texts if any(piece in fact for piece in pieces)), None)
    if group.id == "not-a-drop":
        word = group.pattern.fullmatch(term)
        return means(word["w"], facts.words, vocabulary(), negative=True) if word else None
    if not term.isascii() and term in vocabulary().concepts and (support := means(term, facts.words, vocabulary())):
        return support
    if group.id == "keeps" and (support := means(term.split()[-1], facts.words, vocabulary())):
        return support
    if group.kind == "superlative" and not term.isascii():
        patterns = [re.compile(re.escape(term) + r"(?![^，。；]{0,6}[\d一二三四五六七八九十百千])")]
        return next((field for field, fact in facts.texts if patterns[0].search(fact)), None)
    wanted = _squeezed(term)
    for field, fact in facts.texts:
        if wanted in _squeezed(fact) if group.each else group.pattern.search(fact):
            return field
    return "end" if group.id == "limited-time" and facts.ends and "限时" in term else None


def _likened(term: str) -> bool:
    """Whether a Chinese comparison likens to what is no rival: 比早餐店还省心."""
    than = _THAN.match(term)
    if than is None or _RIVAL.search(than[1]):
        return False
    known = vocabulary()
    pieces = [than[1][a:b] for a in range(len(than[1])) for b in range(a + 2, len(than[1]) + 1)]
    return not any(
        piece in known.concepts
        and piece not in known.common
        and piece not in known.people
        and not all(concept in known.soft for concept, _ in known.concepts[piece])
        for piece in pieces
    )


def _frequent(term: str, fact: str) -> bool:
    """Whether a fact says that something takes place as often as the term says."""
    period = "每日" if term[:2] in ("天天", "每天", "每晚", "每日") else term[:2]
    return _FREQUENCY[period].search(fact) is not None


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\-]", "", text).lower().translate(_DIGITS)
