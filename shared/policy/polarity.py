"""What turns a statement round or bounds it: negations, and qualifiers of quantities, in Chinese and English."""

from __future__ import annotations

import re

from shared.policy.vocabulary import LONGEST, Vocabulary, frame, stem

_NEGATORS_TEXT = (
    "不想被 不再被 不被 不可以 不可 不支持 无法 不含有 不含 不用再 不用 不必 不需要 不需 不添加 不加 不带 "
    "不是 不会 不再 不要 不能 不 无需 无须 无添加 无 没有 没 免去 免 零添加 零 非 未 别 勿 毋 拒绝 告别 "
    "除了 不靠 不掺 不沾 不碰 没放 没加 没用 不适合 不适用于 不适用 不宜 不建议 不推荐 慎用 禁用 "
    "不作 不开 禁止 严禁 谢绝 请勿 不接 不收 不设 不留 不卖"
    " 不做 不打 不安排 不涉及 不参与 不招 不刷 不涂 不抹 不喷 不放 不搞 不推 不拍 不配 不送 不附 不装 不教 远离"
    " 省去 省掉 摆脱 杜绝 需自备 请自备 须自备 自备 请自带 需自带 须自带 者自带 自行准备 自行携带"
)
_NEGATORS = tuple(sorted(_NEGATORS_TEXT.split(), key=len, reverse=True))
NEGATOR_STARTS = frozenset(word[0] for word in _NEGATORS)
_ANEW = tuple(word for word in _NEGATORS if len(word) > 1)
_BREAKS = frozenset('也就都却而但还又才更让能可即便所以只，。！？；：,.!?;:—…（）()~～「」《》“”"\n')
_CONNECTORS = frozenset("、和与或及跟")
_SKIPPED = (
    "任何",
    "额外",
    "添加",
    "一点",
    "半点",
    "多余",
    "人工",
    "什么",
    "的",
    "一",
    "个",
    "有",
    "到",
    "再",
    "太",
    "很",
)
_ADVERBS_TEXT = (
    "不过 不仅 不但 不同 不断 不少 不错 不论 不管 不如 不是 不只 不止 不光 不久 不妨 不禁 不觉 不时 不知 无论 无数"
    " 无比 没事 非常 未来 未必 别人 别样 别致 别墅 别的 无限 无穷 无边 无际 无声 无忧 无价 无敌 "
    "无缝 无框 无线 无痕 无骨 无非 无奈 无疑 不妨 不愧"
    " 不由 不凡 不朽 不息 不已 不但 不一 不等 不定 不俗 不日 不单 不止 不免 不觉 不住 不满 不够 "
    "不足 不到 不对 不行 不成 非凡 非遗 免费 免得 免税 免单 未免 未央 没准 别有 别具 别出"
    " 毋庸 不锈 不倒 不老 不夜"
)
_ADVERBS = frozenset(_ADVERBS_TEXT.split())
_FAR_TEXT = (
    "不用 无需 无须 不必 不需要 不需 不可 不能 不支持 不含 不包含 不可以 需自备 请自备 须自备 自备 请自带 需自带"
    " 须自带 者自带 不适合 不适用于 不适用 不宜 不建议 禁止 严禁"
)
_FAR = frozenset(_FAR_TEXT.split())
_AROUND = 24  # characters beside a Chinese one, within which a pattern with one in it lies: it takes at most 16
# Where every Chinese way to negate stands: such characters, and whatever stands between two of them.
_HAN_RUNS = re.compile(rf"[\u4e00-\u9fff](?:[^\u4e00-\u9fff]{{0,{2 * _AROUND}}}[\u4e00-\u9fff])*")
_REACH = 4  # characters that a negation reaches, connectors starting anew
_AFTER = re.compile(
    r"([\u4e00-\u9fff]{1,4}?)(?:(?:也|都|全|一[滴点丝粒颗勺毫]都?)?(?:从?没(?:有|放|加|用|添|含|掺"
    r"|打|喷|抹)?过?|没往里[放加]|不用|不加|不放|不含)(?=[，。！；、\s]|$)|零添加|为零|(?:也|都)?是零(?=[，。！；、\s]|$)|全无|免谈|清零|不提供"
    r"|不支持|不报销|不退|不接|不包含|除外|\s?(?:需|请"
    r"|由个人|个人)?(?:自备|自带|自理|自负|自付)|(?:也|都)?(?:不用|无需|不必|不需要?)(?:自己|自行"
    r"|你)?(?:停|换|开|改|插|掏|付|交)(?=[，。！；、\s]|$)|(?:我们|本店|店里|这里|一律|概)?不(?:打开|拆|碰"
    r"|修|卖|做)(?=[，。！；]|$)|\s?[(（](?:不含|另购|需?自备|不提供)|(?:统统|全部|通通"
    r"|都)?(?:请出"
    r"|赶出|踢出|拒之门外)|不了(?=[，。！？\s]|$)|(?:要|得|需|须|可以?)?另外?[购付配买售卖置]|单独(?:出售|购买|[售卖购])|自购|得用自家的|(?:也|都)?请绕道|\s不含|\s不支持|\s无(?![线框痕骨糖])|\s无需"
    r")"
)
_BARRED = re.compile(
    r"([^，。；！？（(]{1,16}?)(?:禁用|慎用|不宜|勿用|不适用|忌用|请勿使用|不可参加|不得参加"
    r"|不参与|不参加|不享受|不计入"
    r"|(?:暂|尚|目前|均|也|都)?(?:不|未)(?:支持|开放|接待?|收|提供|处理|承接|发货|配送|包括|包含"
    r"|在内|入内)(?=[，。；、！]|$)"
    r"|[（(]?(?:需|须|请|要)?(?:(?<![不无])另外?[购付收计算买]|自[购理备费]|另行购买|额外收费"
    r"|加收)(?=[，。；、！）)]|$)"
    r"|(?<=[周期拜][一二三四五六日天末])(?:店?休息?|休诊|停诊|闭馆|歇业?|轮休|不开|不营业|打烊"
    r"|关门)|(?<=[周期拜][一二三四五六日天末])(?:我们|店里|馆里|店家)(?:休息|歇|不开|关门))"
    r"|((?:雨|雪|风|雷|雾|台风|恶劣|下雨|天气)[^，。；！？]{0,6}?)(?:则|时|将|会|就)?(?:取消|顺延"
    r"|改期|暂停|延期|停[课办跑])"
)
_NONE_OF = re.compile(
    r"([\u4e00-\u9fff、]{1,10}?)(?:也|都|全|是|统统)(?:都)?没有的?(?=[，。！；]|$)"
)  # 激素和防腐剂都没有
_NOTHING_ELSE = re.compile(
    r"除了[^，。！？]{1,8}，?(?:就|什么|别的|其他|其它|再)?[^，。！？]{0,3}(?:没有?|不加|不放|不含)"
)
_FEE = re.compile(
    r"(?:不(?:另|再|额外)?收[你您]?|无|免|零|没有?)[\u4e00-\u9fff]{1,3}费|(?:不用|无需|无须|不必"
    r"|不需要?|免)(?:你|您|自己|自行)?(?:自?[带备]|准备|携带|买(?!单))"
    r"|[不没]\w过(?=[\u4e00-\u9fff])"
)  # 不收停车费 speaks of free parking, 无需自带鼓棒 of sticks at hand
_FEE_AFTER = re.compile(
    r"费用?(?:我们|本店|一律|统统|通通|全部?|也|都)?(?:一[分毛厘]钱?|分文|一概)?(?:也|都)?(?:不(?:再|另|额外)?收|不取|免)"
    r"|(?:也|都|就)?(?:不用|无需|无须|不必|不需要?|不劳)(?:你|您|自己|自行)?(?:再|另外?)?(?:自?[带备]|准备|携带|[买购配])"
)  # 手续费一分不收 and 教材不用另买 speak of what comes with it, as the above
_AFTER_ENGLISH = re.compile(
    r"\b([A-Za-z]+)(?: (?:are|is|was|were|do|does) not\b| (?:(?:can |will |must )?stays?|stayed|kept|left|is|are)"
    r" (?:out|away|home|behind|off)\b| (?:need not apply|(?:do|does)n['’]t (?:count|apply|come|feature))\b| never"
    r" (?:made|makes|goes|went|gets?)\b| (?:aren|isn|don|doesn)['’]t\b| (?:not included|sold separately|extra)\b)"
    r"|\b(?:bring (?:your|their) own|leave (?:the|your)) ([A-Za-z]+)"
    r"|\b([A-Za-z]+)(?::| -|) (?:none|no|not (?:included|available|allowed|supplied|provided|needed|required))"
    r"(?=\s*(?:$|\n|[.;,]))",
    re.I,
)

_WORD = re.compile(r"[A-Za-z0-9]+(?:['’][A-Za-z]+)?|[.,;:!?—()\n]")
_NOT = frame("polarity.not")
NEGATORS = frame("polarity.phrases")  # that begin a listed phrase of their own
_PASSED = frame("polarity.passed")
_STOPS = frame("polarity.stops")
_STARTERS = frozenset(".!?—\n;:")
_FREE = re.compile(
    r"([A-Za-z]+)(?:[ -]and[ -]([A-Za-z]+))?-free\b|(?<!\d )\b(?!delivery\b|shipping\b|returns?\b|entry\b|trial\b"
    r"|\w*(?:day|week|month|year|hour|minute|video|lesson|class|session|course|call|sample)s?\b)(\w+)\s+free\b(?=\s*[,"
    r".;!?]|$|\s+(?:and|formula|recipe))",
    re.I,
)
_FREE_OF = re.compile(r"\bfree (?:of|from)\b", re.I)
_NON = re.compile(r"\bnon-?(?=[a-z]{3})", re.I)


def negated(plain: str, known: Vocabulary, *, terse: bool = False) -> bytearray:
    """For each character of a folded text, 1 where a negation covers it, else 0.

    terse: the text is an ad's, where 不散瞳 negates although 不散 is a word.
    """
    marks = bytearray(len(plain))
    _mark_chinese(plain, known, marks, terse)
    _mark_english(plain, known, marks)
    return marks


def _mark_chinese(plain: str, known: Vocabulary, marks: bytearray, terse: bool) -> None:
    chinese = [(max(0, run.start() - _AROUND), run.end() + _AROUND) for run in _HAN_RUNS.finditer(plain)]
    if not chinese:
        return
    place = 0
    while place < len(plain):
        char = plain[place]
        if char not in NEGATOR_STARTS:
            place += 1
            continue
        negator = next((word for word in _NEGATORS if plain.startswith(word, place)), "")
        term = _term_at(plain, place, known)
        joined = (
            terse and len(term) == 2 and term in known.neutral and term not in known.concepts and term not in _ADVERBS
        )
        if negator and 0 < len(term) - len(negator) < len(_term_at(plain, place + len(negator), known)):
            joined = True  # 无香精 is no 无香
        if (len(term) > len(negator) and not (joined and negator)) or not negator:
            rest = term[len(negator) :]
            tail = negator != "" and (rest in known.concepts or (len(rest) > 1 and known.knows(rest)))
            if tail:  # 免安装 is a word, and its 安装 is negated
                marks[place + len(negator) : place + len(term)] = b"\x01" * (len(term) - len(negator))
            place += max(len(term), 1)
            if tail and plain[place : place + 1] in ("和", "与", "及", "或"):
                place = _scope(plain, place, marks, _REACH)  # 不加糖与香精
            continue
        if (0 < place < len(plain) - 1 and negator[:1] in "不没" and plain[place - 1] == plain[place + 1]) or (
            plain.startswith("没有", place) and plain[place - 1 : place] == "有"
        ):
            place += 1  # 稳不稳, 是不是, 有没有
            continue
        if _FEE.match(plain, place) or (negator == "除了" and _NOTHING_ELSE.match(plain, place)):
            place += len(negator)
            continue
        place = _whole(plain, place + len(negator), marks, _REACH + 2 * (negator in _FAR), known)
    for match in (match for low, high in chinese for match in _BARRED.finditer(plain, low, high)):
        if _FEE_AFTER.search(match[0]):
            continue
        start, end = match.span(1 if match[1] else 2)
        marks[start:end] = b"\x01" * (end - start)
    for match in (match for low, high in chinese for match in _NONE_OF.finditer(plain, low, high)):
        marks[match.start(1) : match.end(1)] = b"\x01" * (match.end(1) - match.start(1))
    if any(char in plain for char in "零无不免除自另没统"):
        for match in (match for low, high in chinese for match in _AFTER.finditer(plain, low, high)):
            if _FEE_AFTER.search(match[0]):
                continue
            for position in range(*match.span(1)):
                marks[position] = 1


def _whole(plain: str, start: int, marks: bytearray, most: int, known: Vocabulary) -> int:
    """As `_scope`, and to the end of the word in which that stops: 不使用抗生素."""
    stop = _scope(plain, start, marks, most)
    if stop >= len(plain) or not marks[stop - 1] or plain[stop] in _BREAKS:
        return stop
    for first in range(max(start, stop - 3), stop):
        for last in range(min(len(plain), stop + 2), stop, -1):
            if known.knows(plain[first:last]):
                marks[stop:last] = b"\x01" * (last - stop)
                return last
    return stop


def _term_at(plain: str, place: int, known: Vocabulary) -> str:
    for length in range(min(LONGEST, len(plain) - place), 1, -1):
        term = plain[place : place + length]
        if known.knows(term):
            return term
    return ""


def _scope(plain: str, start: int, marks: bytearray, most: int) -> int:
    """Marks what a negation ending at `start` covers; returns where reading goes on."""
    place, reach = start, 0
    while place < len(plain) and reach < most:
        skipped = next((word for word in _SKIPPED if plain.startswith(word, place)), "")
        char = plain[place]
        if skipped == "的" and 0 < reach < 3 and plain[start - 1] in "没未想不":
            break  # 没修的底片, 不想看的题材
        if skipped:
            for position in range(place, place + len(skipped)):
                marks[position] = 1
            place += len(skipped)
        elif char in _CONNECTORS:
            reach = 0
            place += 1
        elif (place > start and char in NEGATOR_STARTS and plain.startswith(_ANEW, place)) or char in _BREAKS:
            break
        elif place > start and char in "退换" and plain[place - 1] in "意件适合欢对":
            break  # 不满意退
        elif char.isascii() and char.isalnum():
            end = place
            while end < len(plain) and plain[end].isascii() and plain[end].isalnum():
                marks[end] = 1
                end += 1
            place, reach = end, reach + 2
        else:
            marks[place] = 1
            place, reach = place + 1, reach + (not char.isspace())
    return place


def _mark_english(plain: str, known: Vocabulary, marks: bytearray) -> None:
    words = list(_WORD.finditer(plain))
    if not words:
        return
    place = 0
    while place < len(words):
        word = words[place][0].lower().replace("’", "'")
        if word not in _NOT and not word.endswith("n't"):
            place += 1
            continue
        then = words[place + 1][0].lower() if place + 1 < len(words) else ""
        if (word == "no" and then == "one") or word == "nobody":
            place = _english_scope(words, place + 1 + (word == "no"), marks)
            continue
        if (
            then in ("more", "fewer", "less", "later", "only", "matter", "longer")
            or (word == "nothing" and then != "to")
            or (word == "neither" and then in ("has", "have", "do", "does", "is", "are", "did"))
        ):
            place += 2
            continue
        phrase = _phrase_at(words, place, known)
        if phrase > 1:
            if word in NEGATORS and phrase == 2 and _phrase_at(words, place, known, stated=True) > 1:
                for position in range(*words[place + 1].span()):
                    marks[position] = 1
            place += phrase
            continue
        place = _english_scope(words, place + 1, marks)
    for match in _FREE.finditer(plain):
        for group in (1, 2, 3):
            for position in range(*match.span(group)) if match[group] else ():
                marks[position] = 1
    for match in _AFTER_ENGLISH.finditer(plain):
        group = match.lastindex or 1
        for position in range(*match.span(group)):
            marks[position] = 1
    for match in _FREE_OF.finditer(plain):
        following = next((n for n, word in enumerate(words) if word.start() >= match.end()), len(words))
        _english_scope(words, following, marks)
    for match in _NON.finditer(plain):
        for one in words:
            if one.start() <= match.end() < one.end():
                marks[match.end() : one.end()] = b"\x01" * (one.end() - match.end())


def _phrase_at(words: list[re.Match[str]], place: int, known: Vocabulary, *, stated: bool = False) -> int:
    """How many words a listed phrase that begins here has (``never miss``); 0 where there is none.

    stated: only of those that state something (``no dishwasher``).
    """
    found = [stem(word[0].lower().replace("’", "'")) for word in words[place : place + 5]]
    for length in range(len(found), 1, -1):
        term = " ".join(found[:length])
        if term in known.concepts if stated else known.knows(term):
            return length
    return 0


def _english_scope(words: list[re.Match[str]], start: int, marks: bytearray) -> int:
    place, reach = start, 0
    while place < len(words) and reach < 3:
        word = words[place][0].lower()
        if word in ("or", "nor", ","):
            following = words[place + 1][0].lower() if place + 1 < len(words) else ""
            if reach == 0 or (word == "," and following not in ("no", "or", "nor")):
                break
            reach = 1
        elif word in _STOPS:
            break
        elif word not in _PASSED:
            for position in range(*words[place].span()):
                marks[position] = 1
            reach += 1
        place += 1
    return place


# What bounds a quantity. The classes are ordered by nothing: _KEEPS says which fact bears which claim.
_BEFORE = (
    ("max", re.compile(
        r"(?<![A-Za-z])(?:最多|顶多|撑死|(?<![只难])不过|最长|最高|最大|最快|最热|最亮|最强|最久|最远"
r"|最重|最深|最厚|最宽|至多|能(?:伸|升|调|拉|撑|开|长)[到至]|可达|长达|高达|多达|可至|不超过"
r"|别超过?|别[\u4e00-\u9fff]?过|不要超过|不超"
        r"|不多于|up to|no more than|not more than|never more than|never over|at most|within|as (?:much|many|long"
        r"|far|wide|tall|big|high|heavy) as|maximum(?: of)?|max|until)[^\d.!?。！？，,约]{0,8}$", re.I)),
    ("under", re.compile(
        r"(?<![A-Za-z])(?:不到|没到|没满|未到|未满|不足|不满|少于|低于|小于|under|less than|below"
r"|fewer than|lighter than|shorter than)[^\d"
        r".!?。！？，,]{0,3}$", re.I)),
    ("over", re.compile(
        r"(?<![A-Za-z])(?:超过|超|逾|不止|高于|大于|多于|突破|over|more than|exceed(?:s|ing)?|beyond|above|upwards"
        r" of|longer than|better than)\s?(?:的)?[^\d.!?。！？，,]{0,2}$", re.I)),
    ("min", re.compile(
        r"(?:至少|最少|起码|不少于|不低于)[^\d\s.!?。！？，,]{0,4}$|(?<![A-Za-z])(?:低至"
r"|(?<!down )from|starting (?:at|from)|starts? (?:at|from)|at"
        r" least|no less than|minimum(?: of)?|as (?:little|low|few) as|ages?)\s?(?:just |only )?$", re.I)),
    ("lowest", re.compile(r"最低(?:[档温速至到仅只要价]|可至|可到){0,2}\s?$")),
    ("near", re.compile(r"(?<![A-Za-z])(?:将近|接近|近|(?<![赶尽加更又很飞])快|nearly|almost|close to|approaching"
r"|not quite|just (?:under|shy of|short of)|a (?:shade|whisker|touch|hair|little) (?:under"
r"|below|less than|short of))\s?$", re.I)),
    ("approx", re.compile(
        r"(?<![A-Za-z])(?:大约|约莫|约|大概|差不多|about|around|roughly|approximately|some"
        r"|approx\.?|circa|or so)\s?$", re.I)),
)  # fmt: skip
_AFTER_QUANTITY = (
    ("min", re.compile(
        r"^\s?(?:起(?![来床身飞点])|及以上|或以上|\+|and (?:up|over|older|above)|or (?:more|older|above)"
        r"|upwards?)", re.I)),
    ("over", re.compile(
        r"^\s?(?:多(?![少种样次功彩款位数用方半面边么])|余|出头|以上|之上|开外|\+|plus\b)", re.I)),
    ("max", re.compile(
        r"^\s?(?:就(?![是有要像])|(?:都|也)?(?:扛得住|受得[住了]|顶得住|撑得住|耐得住|不怕|装得下"
r"|放得下|坐得下)|一夜(?:之)?[里内]|后(?:再|才)|[字人位名]?以内|之内|里头|里面"
r"|内(?![置含衬胆部容在])|封顶|or (?:less|fewer)|max\b"
        r"|maximum|at most|tops\b)", re.I)),
    ("under", re.compile(r"^\s?(?:以下|之下|不到|都不到|也不到|还不到|都不用|都不要|都没有)", re.I)),
    ("approx", re.compile(r"^\s?(?:左右|上下|or so|ish)", re.I)),
)  # fmt: skip
_TIME_ENDS = frozenset("天日周月年时钟拜期秒分晚")  # 三天就能到 is a bound, 十六岁就能来 is none
_LATER = re.compile(r"后(?![天面续期悔台置备厨])")
_STILL_LATER = re.compile(r"后(?:还|也|都|仍|依然|照样|依旧)")  # 三十天后还能换, of 30 天内
_INSIDE = re.compile(r"里(?![面头程])")
_WITHIN = re.compile(r"[多余来](?=[\u4e00-\u9fff])")  # 八十多盒, 二十来天
_KEEPS: dict[str, frozenset[str]] = {
    "": frozenset({"", "approx", "over", "near"}),
    "max": frozenset({"", "max", "under", "approx"}),
    "reach": frozenset({"", "max", "under", "approx"}),
    "under": frozenset({"under", "max"}),
    "min": frozenset({"", "min", "over", "lowest"}),
    "lowest": frozenset({"", "min", "over", "lowest"}),
    "over": frozenset({"over"}),
    "some": frozenset({"", "approx", "near", "over"}),
    "approx": frozenset({"", "approx", "near"}),
    "near": frozenset({"near", "approx"}),
}


def bound(plain: str, start: int, end: int) -> str:
    """What bounds the quantity at ``[start, end)``: max, under, min, over, near, approx, or nothing (empty)."""
    after = plain[end : end + 14]
    if plain[end - 1] in "天周月年时钟拜期" and _INSIDE.match(after):
        return "max"
    if _STILL_LATER.match(after):
        return "over"
    if plain[end - 1] in "周月年天期拜" and _LATER.match(after) and not plain[:start].endswith("满"):
        return "max"
    if (more := _WITHIN.search(plain[start:end])) is not None:
        return "some" if more[0] == "来" else "over"
    if plain[start] == "半" and start and plain[start - 1] in "大小":
        return "over" if plain[start - 1] == "大" else "some"
    before = plain[max(0, start - 26) : start]
    if before.rstrip().endswith(("不到", "没到", "没满", "未满", "不足", "不满", "不及")):
        return "under"
    for name, pattern in _AFTER_QUANTITY:
        if pattern.match(after) and not (after.lstrip().startswith("就") and plain[end - 1] not in _TIME_ENDS):
            return name
    for name, pattern in _BEFORE:
        if pattern.search(before):
            return name
    return ""


def keeps(claim: str, fact: str, *, price: bool) -> bool:
    """Whether a claim bounded so is no stronger than a fact bounded so (``up to 10 h`` is no ``10 h``)."""
    if fact in _KEEPS[claim]:
        return True
    if fact == "min" and not price:  # three and up: for three too
        return claim in ("", "over")
    return False
