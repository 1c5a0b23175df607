"""Which of the Chinese words of a copy are claims, once `chinese_segments` has read its runs.

A piece that the ad bears out is a supported claim. Of the others, what contradicts the ad is a claim; a listed
function, material, service, effect or the like is one; an everyday thing or quality only where the copy says that the
product has it; a word in no list only where the copy says so or where it is technical by its form.
"""

from __future__ import annotations

import re

from shared.policy.chinese_segments import WEEKDAY, denied_whole, is_soft, read_run
from shared.policy.evidence import SCENE, UNLISTED, Evidence, Word, in_ad, kind_of
from shared.policy.polarity import NEGATOR_STARTS
from shared.policy.said_of import said_of_product
from shared.policy.scenes import asked, given, meant_for, offered, owned, served, told_of_reader
from shared.policy.vocabulary import Vocabulary

_RUNS = re.compile(r"[\u3400-\u9fff]+")
_TECHNICAL = re.compile(
    r"[抗阻隔抑]|防(?![不着住])|[剂膜芯胶漆钢铝酸醇酶素肽酚酯钛锂硅]|芯片|认证|工艺|技术|涂层|材质|面料|专利|配方"
    r"|系统|模式|功能|引擎|算法|电机|马达|传感"
    r"|精华|提取|纤维|合金|级别?$|[款版型]$"
)
_AND = re.compile(r"\s*(?:[、,]|[,、]?\s*(?:和|与|及|或|以及|还有))\s*")
_SUPPLIED = re.compile(r"自备|自带|自理|自负|自付|自费|另购|另付|另算|另收|另计|另外|自己带")
_WAIVED = re.compile(
    r"(?:自备|自带|自行准备|不用|无需|无须|不必|不需要?|免去?|不含有?|零添加|零|不带|没有?|无|不限|不加|省去|告别"
    r"|不是|不支持|不能|不可|[都也从绝永再]不)[^，。！？；]{0,6}$"
)
_READER_DOES = re.compile(r"[挤跑赶排找翻搬扛守等喊叫催盯](?:去|到|遍|着)?$")
_BRING = re.compile(
    r"[^，。！？]{0,4}(?:自己|自行|你)(?:带|备|准备|买|配|挑|扛|拿|找|选)|[^，。！？]{0,3}(?:另外|另)(?:买|购|配)"
)
_YOUR_OWN = re.compile(r"[你我他她](?:的|那|这)?$")
_RESTS = re.compile(r"[^，。！？]{0,4}(?:不上课|没课|不开|休息|歇|放假|不用来|停)")
_SHUT_OUT = re.compile(r"不(?:适|接|收|招|宜|让|许|对|建议|推荐|能|可)|谢绝|禁|勿|除|非|免")
_UNTRIED = re.compile(r"(?:从没|从未|没有?|未曾|不曾)[^，。！？]{1,2}过[^，。！？]{0,2}$")
_HASSLE = re.compile(r"(?:不用再?|无需再?|不必再?|不需要?再?|省得|免得)(?P<verb>[^，。！？；]{1,3})$")
_NEEDS = frozenset("带备准买用插装配充接连穿交付加花预开另自额办填学懂会有签持提养做审出")
_LEFT_OUT = re.compile(r"\s?(?:另配|另购|另买|自购|自备|自带|另付|自理)")
_SAID_AWAY = re.compile(
    r"(?:不是|并非|绝非|哪是|别|不再|告别|甩掉|不怕|拒绝|不想|忘掉|丢掉|哪怕没|远离|逃离|不像"
    r"|不用再?|何必|与其)[^，。！？；]{0,5}$"
)
_LIKE = re.compile(r"(?:像|好像|仿佛|如同|宛如|犹如|似|胜过|赛过|当作|当成|变成)[^，。！？；]{0,6}$")
_WARNED = re.compile(
    r"(?:的[^。！？]{0,12})?[就请都可]?(?:先别|别|等|不宜|慎|请先|先看|不建议|避开|不要|不能|不可|绕开)"
)
_DEGREE, _DEGREE_AFTER = re.compile(r"[偏更很超特极又]$"), re.compile(r"得像|[款版号底]|乎乎|绵绵|绒绒|了[一两]|的那种")
_LIKENED = re.compile(r"似的|一样|般|那样|也似")
_HELD = re.compile(
    r"开课|开班|开播|开讲|开营|开门|上课|更新|直播|集合|见面|发车|开抢|到货|推送|截止|上新|特价|半价|排练|聚|举办"
    r"|停课|营业|闭馆|讲座|课|场|期|逢|开火|出发|约"
)
_PRAISE = re.compile(
    r"百搭|实用|时尚|鲜艳|舒适|耐看|高级感|质感|大气|轻奢|显气质|洋气|减龄|潮流|个性|精致|高端|大容量|轻便|好穿"
)
_SPOKEN = re.compile(r"[你我他她它吗呢吧啊了着就也还都谁哪让给被把来去]|[？！?!…～]|一件|一整|一杯|一")
_CLAUSE = re.compile(r"[，。！？；：,!?;\n]")
_ENGLISH_DAYS_TEXT = (
    "monday tuesday wednesday thursday friday saturday sunday mondai tuesdai wednesdai thursdai fridai saturdai sundai"
)
_ENGLISH_DAYS = frozenset(_ENGLISH_DAYS_TEXT.split())


def cover_chinese(plain: str, taken: bytearray, marks: bytearray, evidence: Evidence, known: Vocabulary) -> list[Word]:
    """The claims that the Chinese words of a folded copy make, outside the characters that are `taken` (1)."""
    found: list[Word] = []
    for match in _RUNS.finditer(plain):
        start = match.start()
        while start < match.end():
            if taken[start]:
                start += 1
                continue
            end = start
            while end < match.end() and not taken[end]:
                end += 1
            found += read_run(plain, start, end, marks, evidence, known)
            start = end
    terse = _is_terse(plain, taken, found)
    found = _listed(_enumerated(found, plain, evidence), plain)
    starts = {word.start for word in found} | {place for place in range(len(plain)) if taken[place]}
    ends = {word.end for word in found} | {place + 1 for place in range(len(plain)) if taken[place]}

    def said(word: Word) -> bool:
        return said_of_product(plain, word.start, word.end, starts, ends, lambda text: in_ad(text, evidence))

    kept = []
    for word in found:
        if word.support is not None:
            kept.append(word)
        elif word.kind == "negation":
            quality = _is_quality(word, plain, known)
            if _contradicts(word, plain, marks, evidence, known) and (
                not quality or (said(word) and (word.end - word.start > 1 or _stressed(plain, word.start, word.end)))
            ):
                kept.append(word)
        elif word.kind == "list":
            if not asked(plain, word.end):
                kept.append(Word(word.start, word.end, "feature", None))
        elif (
            word.kind == UNLISTED
            or (terse and word.kind != "audience" and word.end - word.start > 1)
            or _claims(word, plain, evidence, known)
        ):
            kept.append(word)
    if terse:
        kept += _bare(plain, [word for word in kept if word.kind != UNLISTED])
    return [
        word
        for word in _joined(kept)
        if word.kind != UNLISTED or (word.end - word.start > 1 and (terse or _states(plain, word, evidence)))
    ]


def _stressed(plain: str, start: int, end: int) -> bool:
    """Whether an adjective of one character is plainly the product's: 偏硬, 更轻, 软得像云, 短款."""
    return (
        _DEGREE.search(plain[max(0, start - 2) : start]) is not None
        or _DEGREE_AFTER.match(plain[end : end + 3]) is not None
    )


def _joined(words: list[Word]) -> list[Word]:
    """Unsupported neighbours as one claim, of the kind of its first listed part."""
    out: list[Word] = []
    for word in sorted(words, key=lambda word: word.start):
        last = out[-1] if out else None
        if last is not None and last.support is None and word.support is None and last.end == word.start:
            kind = word.kind if last.kind == UNLISTED else last.kind
            out[-1] = Word(last.start, word.end, kind, None)
        else:
            out.append(word)
    return out


def _is_terse(plain: str, taken: bytearray, words: list[Word]) -> bool:
    """Whether a copy is a list of properties, most of them the ad's, rather than sentences: each clause claims then."""
    clauses = list(re.finditer(r"[^，,。；;、]+", plain))
    if len(clauses) < 3 or _SPOKEN.search(plain) or max(match.end() - match.start() for match in clauses) > 10:
        return False
    borne = bytearray(taken)
    for word in words:
        if word.support is not None and word.kind != SCENE:
            borne[word.start : word.end] = b"\x01" * (word.end - word.start)
    whole = sum(all(borne[place] or plain[place].isspace() for place in range(*match.span())) for match in clauses)
    return 2 * whole >= len(clauses)


def _bare(plain: str, words: list[Word]) -> list[Word]:
    """The words of praise in a list of properties, which say something of the product there."""
    return [
        Word(match.start(), match.end(), "feature", None)
        for match in _PRAISE.finditer(plain)
        if not any(word.start < match.end() and match.start() < word.end for word in words)
    ]


def _enumerated(words: list[Word], plain: str, evidence: Evidence) -> list[Word]:
    """With what the copy puts into a list of the ad's as claims: 佳能、尼康、富士 where the ad has the first two."""
    out: list[Word] = []
    for word in words:  # the characters of one unlisted word
        last = out[-1] if out else None
        if last is not None and last.kind == word.kind == UNLISTED and last.end == word.start:
            out[-1] = Word(last.start, word.end, UNLISTED, None)
        else:
            out.append(word)
    for place, word in enumerate(out):
        if word.kind != SCENE and (word.support is not None or word.kind in ("negation", "schedule")):
            continue
        for other in (place - 1, place + 1):
            if not 0 <= other < len(out) or out[other].support in (None, "audience", "domain", SCENE):
                continue
            low, high = sorted((word, out[other]), key=lambda one: one.start)
            gap = plain[low.end : high.start]
            if (
                (gap == "加" and place > other)
                or ("、" in gap and _AND.fullmatch(gap))
                or (gap in ("和", "与", "及") and "、" in plain[max(0, low.start - 5) : low.start])
            ) and _in_list(plain[out[other].start : out[other].end], evidence):
                out[place] = Word(word.start, word.end, "list", None)
                break
    return out


def _in_list(term: str, evidence: Evidence) -> bool:
    """Whether the ad has the term in a list."""
    listing = re.compile(rf"[、/和与及]\s?{re.escape(term)}|{re.escape(term)}\s?(?:[、/]|[和与及](?!其))")
    return any(listing.search(text) for name, text, _ in evidence.texts if name not in ("audience", "domain"))


def _listed(words: list[Word], plain: str) -> list[Word]:
    """A scene word in a list with what the ad has is a claim; the others are left out."""
    out: list[Word] = []
    for place, word in enumerate(words):
        if word.kind != SCENE:
            out.append(word)
            continue
        beside = []
        if place:
            beside.append((words[place - 1], plain[words[place - 1].end : word.start]))
        if place + 1 < len(words):
            beside.append((words[place + 1], plain[word.end : words[place + 1].start]))
        if any(
            other.kind != SCENE and other.support not in (None, "audience", "domain") and _AND.fullmatch(gap)
            for other, gap in beside
        ) and given(plain, word.start, word.end):
            out.append(Word(word.start, word.end, "feature", None))
    return out


def _is_quality(word: Word, plain: str, known: Vocabulary) -> bool:
    return kind_of(plain[word.start : word.end], known) == "comparison"


def _contradicts(word: Word, plain: str, marks: bytearray, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a word that the ad has with the other polarity denies the ad, rather than tells of the reader."""
    start, end = word.start, word.end
    term = plain[start:end]
    if asked(plain, end) or _WARNED.match(plain[end : end + 18]):
        return False
    if not marks[end - 1] and _BRING.match(plain[end : end + 8]):
        return False  # 充电宝记得自己带
    if marks[end - 1] and plain[max(0, start - 3) : start].endswith(("不会", "不懂")) and "的" in plain[end : end + 3]:
        return False  # 不会报价的画手
    if term in known.people and not marks[end - 1]:
        return meant_for(plain, start, end)
    if term in known.people and not _SHUT_OUT.search(plain[max(0, start - 8) : start] + "|" + plain[end : end + 4]):
        return False  # 不耽误孩子上学
    if marks[end - 1]:
        if "除了" in plain[max(0, start - 6) : start]:
            return False
        if plain[max(0, start - 2) : start].endswith(("没", "没有")) and plain.startswith("的", end):
            return False  # 没板凳的早点到
        if _READER_DOES.search(plain[max(0, start - 6) : start]) or _UNTRIED.search(plain[max(0, start - 8) : start]):
            return False  # 不用再挤医院, 从没拿过裱花袋
        if (hassle := _HASSLE.search(plain[max(0, start - 8) : start])) and hassle["verb"][0] not in _NEEDS:
            return False  # 不用端着水箱来回跑
        if _LEFT_OUT.match(plain[end : end + 4]):
            return True
        return (
            _WAIVED.search(plain[max(0, start - 12) : start]) is not None
            or plain[start] in NEGATOR_STARTS
            or bool(marks[start])
        )
    if _supplied(term, evidence, known):
        return offered(plain, start, end)
    if is_soft(term, known) and not _is_quality(word, plain, known):
        return offered(plain, start, end) or served(plain, start, end)
    if term not in known.concepts and end - start < 3 and not denied_whole(term, evidence):
        return offered(plain, start, end) or served(plain, start, end)
    return not told_of_reader(plain, start, end) or offered(plain, start, end)


def _supplied(term: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether the ad says that the reader brings, or pays, what the term means."""
    fields = {
        held[True]
        for concept, _ in known.concepts.get(term, ())
        if (held := evidence.concepts.get(concept)) and True in held
    }
    for name, text, _ in evidence.texts:
        place = text.find(term)
        if place >= 0 and _SUPPLIED.search(text[max(0, place - 6) : place + len(term) + 10]):
            return True
        if name in fields and place < 0 and _SUPPLIED.search(text):
            return True
    return False


def _claims(word: Word, plain: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a listed word that the ad does not account for is said of the product."""
    start, end = word.start, word.end
    term = plain[start:end]
    if word.kind == "schedule":
        return _scheduled(plain, start, end, evidence)
    if term in known.people:
        return meant_for(plain, start, end)
    if is_soft(term, known):
        if end - start == 1 and word.kind == "comparison":
            return False
        return given(plain, start, end) or owned(
            plain, start, end, known.scenes.get(term, ()), lambda text: in_ad(text, evidence)
        )
    if given(plain, start, end):
        return True
    before = plain[max(0, start - 14) : start]
    if _WARNED.match(plain[end : end + 12]):
        return False
    if (
        _LIKE.search(before)
        or _LIKENED.match(plain[end : end + 3])
        or (_SAID_AWAY.search(before) and word.kind not in ("offer", "efficacy"))
    ):
        return False
    if word.kind == "material":
        return not asked(plain, end) and not _YOUR_OWN.search(plain[max(0, start - 3) : start])
    return not told_of_reader(plain, start, end)


def _scheduled(plain: str, start: int, end: int, evidence: Evidence) -> bool:
    """Whether a day of the week is the product's: the ad names others, or the copy says what takes place then."""
    if _RESTS.match(plain[end : end + 8]):
        return False
    if any(WEEKDAY.search(text) for _, text, _ in evidence.texts) or evidence.stems.keys() & _ENGLISH_DAYS:
        return not told_of_reader(plain, start, end)
    stop = _CLAUSE.search(plain, end)
    return _HELD.search(plain[end : stop.start() if stop else len(plain)]) is not None


def _states(plain: str, word: Word, evidence: Evidence) -> bool:
    """Whether a word that no list has is the product's, or a technical term by its form."""
    start, end = word.start, word.end
    if given(plain, start, end) or owned(plain, start, end, (), lambda text: in_ad(text, evidence)):
        return True
    return _TECHNICAL.search(plain[max(0, start - 1) : end + 2]) is not None
