"""What the clauses of a Chinese copy say of more than the ad does: a list longer than the ad's, a thing given that it
does not give, a condition left out, an amount beside the wrong thing.

Each word may stand in the ad while the sentence does not: 单饼也包邮 where two are sent free, 密封圈也质保 5 年 where
the pot has five years and the seal one. The clauses of the copy are held against those of the ad that have the same
words; what turns the ad round is told by `chinese_reversals`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.policy.chinese_reversals import (
    CLAUSE,
    DENIES,
    EXEMPT,
    HAN_RANGE,
    NUMERALS,
    conflicting,
    doubled,
    exceptions,
    exchanged,
    paired,
    spared,
    taken_in,
    terms_of,
)
from shared.policy.evidence import Evidence, Word, meaning
from shared.policy.vocabulary import Vocabulary

_FREE_OF = re.compile(
    rf"(?P<subject>[{HAN_RANGE}]{{2,8}}?)(?:也|都|全部?|一律|统统)?(?:免费(?!试|体验|领|咨询)|不(?:另"
    r"|额外)?收[费钱]|不要钱|不花钱|白送|不另收费|包了|全包|全免|免了|免收|不用[交付])"
)
_GRATIS = re.compile(r"免费|含|送|赠|提供|不收|附|配|备|包|\bfree|included|provided|comes? with", re.I)
_ZERO = re.compile(
    rf"(?<![{HAN_RANGE}\d]零)(?<![\d一二三四五六七八九十百千])零(?P<noun>(?!食|钱|售|碎|星|头|件|工|下"
    r"|点|花|散|落|嘴|用|基础|距离|负担|压力|门槛"
    rf"|失误|差评|时差|经验|元|起点|开始|买|存|用钱|散|排|风险|距|首付)[{HAN_RANGE}]{{2,3}})"
)
_BENEFIT = re.compile(r"包邮|免邮|免运费|半价|立减|免费(?!取消|停车|退)|[送赠](?=一|[\d两三]|袋|盒|份)|返现|免单|减免")
_CONDITION = re.compile(
    r"满\s?[\d一二三四五六七八九十百千]+|[买购凑]\s?[\d一二两三四五六七八九十]+|首[次单月年期件]"
    r"|第[二三四五]|前\s?[\d一二三四五六七八九十百]+\s?[名位人单件]"
    r"|新(?:客|用户|人|会员|学员|生|店)|老(?:客|用户|会员|学员|带新)|会员|学生|工作日|平日|周中"
    r"|周[一二三四五六日末]|早鸟|团购|拼团|推荐|晒单|好评|复购|续(?:费|报|订)"
    r"|[两二三四五六2-6]\s?[人件盒箱瓶袋份位]|年付|年卡|套餐|套装|预约|之内|以内|前(?=[，。；\s]"
    r"|报名|下单|取消|通知)|提前|满\s?\d+\s?[岁元]|\d+\s?岁"
)
_LENT = re.compile(
    rf"(?P<thing>[{HAN_RANGE}]{{2,4}}?)(?:现场|店里|到店|当场|我们|这里|都|也|全|一并|一起|统一|免费|替你|给你|帮你|为你)*"
    r"(?:现场[借租]|可借|可租|能借|能租|有得借|借给|借你|备好|备齐|备着|准备好|管够|有售"
    r"|随便[用拿借]|全包|一起到|同到|随[箱盒车机]到)"
)
_LENDS = re.compile(
    r"(?<![不无未需自没])(?:备有|借出|出借|可借|借(?![着助鉴给你口])|现场有|备好|准备[了好]"
    r"|赠(?!品)|附(?![近和])|附送|含(?!在)|提供|(?<![之以天月年日期时周])内有|随箱有)(?:了|上|着"
    r"|有)?(?:[一两三二]?[个只把条根张本套副双枚瓶罐盒包支块片对台件册份])?"
    rf"(?P<thing>[{HAN_RANGE}]{{2,6}})"
)
_PROVIDES = re.compile(
    r"提供|给|发|含|附|送|赠|配|借|租|备|带|包|免费|有售|一起|套装|清单|\b(?:includ|provid|suppl"
    r"|availab|lent|loan|rent|with|comes|free|covers)",
    re.I,
)
_FREE_FOR = re.compile(rf"免费(?P<thing>[{HAN_RANGE}]{{2}})")
_FREELY_TEXT = (
    "体验 领取 参加 参与 试用 试听 试看 试学 试读 试睡 试穿 入场 入内 进场 听课 观看 收听 收看 阅"
    "读 下载 使用 注册 预约 报名 咨询 订阅 享受 享用 获得 获取 领走 拿走 开放 加入 送你 送到 给你"
    " 带走 上门 学习 吃喝 玩耍 品尝 排队 看到 听到"
)
_FREELY = frozenset(_FREELY_TEXT.split())
_AMOUNT = re.compile(
    r"(?P<n>\d+(?:\.\d+)?|[一二两三四五六七八九十百]+)\s?(?P<unit>小时|分钟|公斤|厘米|毫米|毫升|年"
    r"|天|个月|次|节|元|块|克|瓦|度|折|米|升|周|码|档)"
)
_CARRIES = re.compile(
    rf"(?P<what>[{HAN_RANGE}]{{2}})(?:自带|还带|另带|带有|带|配有|配|附有"
    rf"|附)(?P<thing>(?![你我他她它来去回走着上出给娃孩宝狗猫爸妈朋])[{HAN_RANGE}]{{2,4}})(?=[，。！、；"
    r"]|$)"
)
_LIST = re.compile(rf"[{HAN_RANGE}]{{1,6}}(?:、[{HAN_RANGE}]{{1,8}}){{1,6}}(?:[和与及加][{HAN_RANGE}]{{1,8}})?")
_ITEM = re.compile(rf"[{HAN_RANGE}]+?(?=[、和与及加]|$)|(?<=[、和与及加])[{HAN_RANGE}]+")
_SPEAKS = frozenset("你我他她它谁哪随任想用走去来看听说吃喝玩睡坐跑练挑选买囤送拿")
_GIVES = re.compile(
    r"(?<![不无未没自需接护转播发输运])(?:附赠|附带|附送|附(?![近和])|赠送|赠(?!品)"
    r"|送(?![货到给上你您我去餐修走别自])|内含|含(?![在泪量金蓄苞笑])|配有|配了|外加|另加|再加"
    rf"|加送|还送|还附|还有(?=[{HAN_RANGE}]{{2,5}}一[只把条张本套副双枚瓶罐盒包支块件]))"
    rf"(?P<things>[{HAN_RANGE}\d]{{2,8}}(?:[、和与及][{HAN_RANGE}\d]{{1,8}}){{0,4}})(?=[，。！；]|$)"
)
_NUMBERS = re.compile(
    r"^(?:[一两二三四五六七八九十\d]+[个只把条根张本套副双枚瓶罐盒包支块片对台件册份团顶公斤]*|了|上|有)"
)
_NUMBERED = re.compile(
    r"[一两二三四五六七八九十\d]+(?:公斤|毫升|[个只把条根张本套副双枚瓶罐盒包支块片对台件册份团顶克升斤])$"
)
_ALL_IN = re.compile(
    rf"(?P<things>[{HAN_RANGE}\d]{{2,8}}(?:[、和与及][{HAN_RANGE}\d]{{1,8}}?){{0,4}}?)(?:每人一[份个只条]"
    r"|人手一|(?:全都?|都|也|均|一起|一并|统统)(?:给你|替你|为你)?(?:含|包(?!容)|送|附|赠|免费"
    r"|配齐|齐全|备好|备齐|在学费里|在价里|算在|包在|含在|寄|发(?![现光愁呆])))"
)
_PRICED_THING = re.compile(r"另|自[备带购费理付]|[买售加租][^，。；]{0,6}\d|\d\s?元|[£$€¥]\s?\d")
_ALSO_THERE = re.compile(
    rf"(?P<thing>[{HAN_RANGE}]{{2,8}}?)也(?:都|一并|一起|替你|给你|帮你|已经?|就)?"
    r"(?:含在|含了|算在|包在|在里头|在里面|在内|在盒|立在|插在|配在|放在|装在|收在|塞在|夹在|躺在"
    r"|归你|是送的|是赠的|送的|包邮|免邮|发货|照收|照接|照送|照给|奉上"
    r"|备着|备好|修好|洗好|补好|附上|配好|送上|配齐|挂[了着在]|摆[好在上着]|摞|端[到上]|塞好|缠在"
    rf"|叠好|码好|搁在|铺好|煮好|烧好|泡好|烤好|沏好|按[{HAN_RANGE}]备|免(?!不了|不得)|归你|带走|带回家"
    r"|抱走"
    rf"|一[并起](?:讲|教|寄|送|给|查|测|做))"
)
_BOTH_DO = re.compile(
    rf"(?P<things>[{HAN_RANGE}]{{2,6}}(?:[、和与及跟到][{HAN_RANGE}]{{2,6}}){{1,3}}?)(?:都|均|全)(?:能|可以?"
    r"|看|收|接|治|查|测|来|讲|教|适|行|欢迎|有)"
)
_BESIDES = re.compile(
    r"之外，?(?:还|再|另外?|又)(?:有|送|给|做|教|讲|带|附|配|加)?(?:了|上|一回"
    rf"|一次)?(?P<thing>[{HAN_RANGE}]{{2,8}})|之外，?(?P<other>[{HAN_RANGE}]{{2,5}}?)也(?=[{HAN_RANGE}])"
)
_CHARGES = re.compile(r"元|块|另|费用|￥|¥|£|\$|€|收费|不含|自[备理费付]|extra|each|cost", re.I)
_STRICT = re.compile(
    r"满\s?[\d一二三四五六七八九十百千]+|[买购凑]\s?[\d一二两三四五六七八九十]+|首[次单月年期件]"
    r"|新(?:客|用户|人|会员|学员)|会员|学生|前\s?\d+\s?[名位人单件]|第[二三四五]"
)
_OWN = re.compile(r"自[备带购费理付]|另[购付收计算]|不含|不提供|不附|不送|需(?:穿|带|有)|须(?:穿|带|有)")


def find_stretched(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """What a folded copy says of more than the ad does: unsupported pieces ``[start, end)`` with their kinds."""
    clauses = _ad_clauses(evidence)
    yield from exceptions(plain, clauses, evidence, known)
    yield from _charged(plain, clauses)
    yield from _zero(plain, evidence, known)
    yield from _unconditional(plain, clauses)
    yield from exchanged(plain, "\n".join(clauses))
    yield from _provided(plain, clauses, evidence, known)
    yield from _mispaired(plain, clauses, known)
    yield from _included(plain, clauses, evidence, known)
    yield from spared(plain, clauses, evidence)
    yield from conflicting(plain, "\n".join(clauses))
    yield from taken_in(plain, clauses)
    yield from _besides(plain, clauses, evidence, known)
    yield from _also_there(plain, clauses, evidence, known)
    yield from _all_of_them(plain, clauses, evidence, known)
    yield from _given_things(plain, clauses, evidence, known)
    yield from _longer_lists(plain, clauses, evidence, known)
    yield from _carried(plain, "\n".join(clauses), evidence, known)
    yield from _gratis(plain, clauses, evidence, known)
    yield from paired(plain, clauses)
    yield from doubled(plain, "\n".join(clauses))


def _ad_clauses(evidence: Evidence) -> list[str]:
    """The clauses of the ad; those of an attribute are one."""
    clauses = []
    for name, text, _ in evidence.texts:
        if name in ("audience", "domain"):
            continue
        if name.startswith("attributes."):
            clauses.append(text)
        else:
            clauses += [match[0] for match in CLAUSE.finditer(text)]
    return clauses


def _charged(plain: str, clauses: list[str]) -> Iterator[Word]:
    """储物柜免费用 where the ad gives away something else."""
    for match in _FREE_OF.finditer(plain):
        subject = match["subject"]
        for size in (4, 3, 2):
            head = subject[-size:]
            having = [text for text in clauses if len(head) == size and head in text]
            if having:
                if not any(_GRATIS.search(text) for text in having) and all(map(_CHARGES.search, having)):
                    yield Word(match.start(), match.end(), "offer", None)
                break


def _mispaired(plain: str, clauses: list[str], known: Vocabulary) -> Iterator[Word]:
    """密封圈也质保 5 年 where the ad gives the seal one year and the pot five."""
    whole = "\n".join(clauses)
    for clause in CLAUSE.finditer(plain):
        amounts = list(_AMOUNT.finditer(clause[0]))
        if len(amounts) != 1:
            continue
        amount = amounts[0]
        if not _says(amount, whole):
            continue
        before = terms_of(clause[0][: amount.start()], whole, known)
        for term in before[:1] if before and clause[0].startswith(before[0]) else ():
            having = [text for text in clauses if term in text]
            others = [other for text in having for other in _AMOUNT.finditer(text) if other["unit"] == amount["unit"]]
            if others and not any(_says(amount, text) for text in having):
                yield Word(clause.start() + amount.start(), clause.start() + amount.end(), "qualifier", None)


def _says(amount: re.Match[str], text: str) -> bool:
    return re.search(rf"(?<![\d.一二三四五六七八九十百]){re.escape(amount['n'])}\s?{amount['unit']}", text) is not None


def _included(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """雪服 in 雪板雪鞋和雪服全含 where the ad lets it."""
    whole = "\n".join(clauses)
    for match in _ALL_IN.finditer(plain):
        place = match.start("things")
        for item in re.split(r"([、和与及])", match["things"]):
            start, place = place, place + len(item)
            thing = _NUMBERED.sub("", _NUMBERS.sub("", item))
            if not 2 <= len(thing) <= 6 or any(char in _SPEAKS for char in thing):
                continue
            head = thing[-2:]
            having = [text for text in clauses if head in text]
            if having:
                if not any(_gives(head, text) for text in having) and all(
                    _OWN.search(text) or _PRICED_THING.search(text) for text in having
                ):
                    yield Word(start, match.end(), "accessory", None)
            elif (
                re.search("[、和与及]", match["things"])
                and not any(thing[k : k + 2] in whole for k in range(len(thing) - 1))
                and head not in known.neutral
                and head not in known.people
                and not any(char in EXEMPT for char in thing)
                and meaning(thing, False, evidence, known) is None
                and meaning(head, False, evidence, known) is None
            ):
                yield Word(start, match.end(), "accessory", None)


def _gives(thing: str, text: str) -> bool:
    """Whether a clause of the ad gives the thing: 含装备租用, 毛巾免费."""
    return (
        re.search(
            rf"(?:(?<!不)含|附|送|赠|配|免费|提供|备有|包(?!装))[^，。；]{{0,12}}{re.escape(thing)}"
            rf"|{re.escape(thing)}[^，。；]{{0,5}}(?:含|附|送|免费|提供|全包|套装|借用|在内|各一)",
            text,
        )
        is not None
    )


def _also_there(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """谱架也立在旁边 where the ad has no such thing, or does not give it."""
    whole = "\n".join(clauses)
    for match in _ALSO_THERE.finditer(plain):
        thing = match["thing"]
        head = thing[-2:]
        having = [text for text in clauses if head in text]
        if match[0].endswith("免") and re.search(r"免|包邮|不收|\bfree\b", whole, re.I):
            continue
        if having:
            borne = any(
                _gives(head, text) or not (_OWN.search(text) or _PRICED_THING.search(text) or DENIES.search(text))
                for text in having
            )
        else:
            borne = any(thing[k : k + 2] in whole for k in range(len(thing) - 1)) or (
                meaning(head, False, evidence, known) is not None
            )
        if not borne and not any(char in "你我他她它谁这那" for char in thing):
            yield Word(*match.span(), "accessory", None)


def _all_of_them(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """青少年和成人都看 where the ad has one of the two."""
    whole = "\n".join(clauses)
    for match in _BOTH_DO.finditer(plain):
        items = [(one.start(), one[0]) for one in re.finditer(r"[^、和与及跟到]+", match["things"])]
        if len(items) < 2:
            continue
        borne = [
            any(item[k : k + 2] in whole for k in range(len(item) - 1))
            or meaning(item, False, evidence, known) is not None
            or meaning(item[-2:], False, evidence, known) is not None
            for _, item in items
        ]
        if not any(borne) or any(re.search("[周点月日号上下]午?|[早晚]", item) for _, item in items):
            continue
        for (start, item), own in zip(items, borne, strict=True):
            listed = any(
                known.concepts.get(term) or term in known.people or term in known.scenes for term in (item, item[-2:])
            )
            if not own and listed and len(item) > 1 and not any(char in EXEMPT for char in item):
                yield Word(match.start() + start, match.start() + start + len(item), "audience", None)


def _besides(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """视野检查 in 三样之外再做一回视野检查 where the ad has none."""
    whole = "\n".join(clauses)
    for match in _BESIDES.finditer(plain):
        name = "thing" if match["thing"] else "other"
        thing = _NUMBERS.sub("", match[name])
        if len(thing) < 2 or any(char in "你我他她它这那" for char in thing):
            continue
        pieces = [thing[k : k + 2] for k in range(len(thing) - 1)]
        if any(piece in whole for piece in pieces) or any(meaning(piece, False, evidence, known) for piece in pieces):
            continue
        yield Word(*match.span(name), "feature", None)


def _given_things(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """护照夹 in 送行李牌和护照夹 where the ad gives no such thing, or leaves it out."""
    whole = "\n".join(clauses)
    for match in _GIVES.finditer(plain):
        place = match.start("things")
        for item in re.split(r"([、和与及])", match["things"]):
            start, place = place, place + len(item)
            thing = _NUMBERED.sub("", _NUMBERS.sub("", item))
            if (
                len(thing) < 2
                or len(thing) > 6
                or any(char in EXEMPT or char in _SPEAKS or char in "自满心情份" for char in thing)
            ):
                continue
            head = thing[-2:]
            if head in known.neutral or head in known.people or thing in known.neutral:
                continue
            if meaning(thing, False, evidence, known) or meaning(head, False, evidence, known):
                continue
            said = [thing[k : k + 2] for k in range(len(thing) - 1) if thing[k : k + 2] in whole]
            if said and not all(piece in evidence.denied and _only_denied(piece, evidence) for piece in said[-1:]):
                continue
            yield Word(start, start + len(item), "accessory", None)


def _only_denied(piece: str, evidence: Evidence) -> bool:
    """Whether the ad has the piece only under a negation."""
    for name, text, marks in evidence.texts:
        place = text.find(piece)
        while place >= 0:
            if name != "audience" and not marks[place]:
                return False
            place = text.find(piece, place + 1)
    return True


def _longer_lists(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """沉香 in 老山檀、楠木、沉香粉 where the ad has the first two of the list."""
    whole = "\n".join(clauses)
    chinese = any("\u4e00" <= char <= "\u9fff" for char in whole)
    for match in _LIST.finditer(plain):
        items = [(one.start() + match.start(), one[0]) for one in _ITEM.finditer(match[0])]
        if len(items) < 3:
            continue
        own = [
            place
            for place, (_, item) in enumerate(items)
            if any(item[:size] in text for text in clauses for size in (len(item), 4, 3, 2) if 2 <= size <= len(item))
            or (len(item) == 1 and item in evidence.letters)
            or meaning(item, False, evidence, known)
            or meaning(item[:2], False, evidence, known)
            or (place < len(items) - 1 and any(item[k : k + 2] in whole for k in range(len(item) - 1)))
        ]
        if len(own) < 2:
            continue
        for place, (start, item) in enumerate(items):
            head = item[:2]
            if place in own or len(head) < 2 or any(char in EXEMPT or char in _SPEAKS for char in head):
                continue
            if any(char in NUMERALS for char in item) or (not known.knows(head) and not chinese):
                continue
            if head in known.neutral and place == len(items) - 1 and len(item) > 3:
                continue
            yield Word(start, start + min(len(item), 4), "feature", None)


def _carried(plain: str, whole: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """三件套带挂架 where the ad has no rack."""
    for match in _CARRIES.finditer(plain):
        thing = match["thing"]
        head = thing[-2:]
        if known.knows(plain[match.start() : match.start("thing")][-3:]) or any(char in NUMERALS for char in thing):
            continue
        if match["what"] not in whole or any(thing[place : place + 2] in whole for place in range(len(thing) - 1)):
            continue
        if any(char in EXEMPT for char in thing) or head in known.neutral or head in known.people:
            continue
        if meaning(thing, False, evidence, known) is None and meaning(head, False, evidence, known) is None:
            yield Word(*match.span("thing"), "accessory", None)


def _provided(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """运动服现场可借 where the ad tells the reader to wear one."""
    for pattern in (_LENT, _LENDS):
        for match in pattern.finditer(plain):
            if re.search(r"先|自己|记得|提前|请", match[0]):
                continue
            things = terms_of(match["thing"], "\n".join(clauses), known)
            if not things:
                continue
            having = [text for text in clauses if things[-1] in text]
            if not any(_PROVIDES.search(text) and not _OWN.search(text) for text in having) and not any(
                meaning(things[-1], True, evidence, known) is None and _PROVIDES.search(text) and not _OWN.search(text)
                for text in having
            ):
                yield Word(match.start(), match.end(), "accessory", None)


def _gratis(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """免费复测 where the ad has no such thing."""
    whole = "\n".join(clauses)
    for match in _FREE_FOR.finditer(plain):
        thing = match["thing"]
        if thing in whole or thing in _FREELY or any(char in EXEMPT for char in thing):
            continue
        if (thing[0] in whole and thing[1] in whole) or any(char in NUMERALS for char in thing):
            continue
        if meaning(thing, False, evidence, known) is None and meaning(thing, True, evidence, known) is None:
            yield Word(*match.span(), "offer", None)


def _zero(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """零噪音 where the ad denies none."""
    for match in _ZERO.finditer(plain):
        noun = match["noun"][:2]
        if match[0][:3] in known.neutral or any(match[0][:3] in text or noun in text for _, text, _ in evidence.texts):
            continue
        if meaning(noun, True, evidence, known) is None and meaning(match[0][:3], False, evidence, known) is None:
            yield Word(match.start(), match.start() + 3, "negation", None)


def _unconditional(plain: str, clauses: list[str]) -> Iterator[Word]:
    """单饼也包邮 where the ad says 买两饼包邮."""
    for match in _BENEFIT.finditer(plain):
        having = [text for text in clauses if match[0] in text]
        wanted = _STRICT if match[0].startswith("免费") else _CONDITION
        if not having or not all(wanted.search(text) for text in having):
            continue
        if not _CONDITION.search(plain) and not any(
            number in plain for text in having for number in re.findall(r"\d+(?:\.\d+)?", text)
        ):
            yield Word(match.start(), match.end(), "qualifier", None)
