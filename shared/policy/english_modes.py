"""Ways in which a service is given, as English copy says them in many words, and what an ad must say for each.

``Watch every lesson again``, ``come to our calm room``, ``cancelled if it drizzles``: claims wherever they stand.
"""

from __future__ import annotations

import re
from functools import lru_cache

from shared.policy.evidence import Evidence, Word

_SENTENCE = re.compile(r"[^.!?;。！？；,，]+")
_NOT = re.compile(r"\b(?:no|not|never|without|cannot|can't|don't|doesn't|isn't|aren't|nor)\b|不|无|没", re.I)

# What a copy says, and what of the ad bears it out: in a part of a sentence without a negation.
_MODES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(said, re.I), re.compile(told, re.I))
    for said, told in (
        (
            r"\b(?:watch|listen|see|stream)\b[^.!?;]{0,24}\b(?:again|afterwards)\b|\bcatch up later\b",
            r"record|replay|catch[- ]up|on[- ]demand|access|rewatch|self[- ]paced|watch back|回放|回看|录|永久",
        ),
        (
            r"\b(?:meet us (?:in|at)|come to our|(?:in|at) our (?:\w+ )?(?:studio|clinic|rooms?|hall|shop|cellar|bar"
            r"|office|kitchen)"
            r"|church hall|face to face in)\b",
            r"studio|clinic|rooms?\b|hall|shop|in[- ]person|centre|center|venue|meet at|located|street|gym|café|cafe"
            r"|pub|inn|farm|park|road"
            r"|office|school|house|门店|到店|线下|校区|诊所",
        ),
        (
            r"\b(?:live|stream(?:ed|ing)?)\b[^.!?;]{0,24}\b(?:kitchen|sofa|home|zoom|screen|laptop)\b"
            r"|\bjoin from (?:your|the) (?:sofa|home|kitchen|bed)\b",
            r"online|live|stream|video|zoom|remote|virtual|app\b|phone|线上|直播|在线",
        ),
        (
            r"\bin an? (?:\w+ )?group of\b|\bgroup (?:class|lesson|session)",
            r"group|class|cohort|people|places|seats|max|team|club|circle|班|组|人",
        ),
        (
            r"\b(?:solo (?:walks?|strolls?|sessions?|lessons?|class)|one[- ]to[- ]one|one[- ]on[- ]one"
            r"|private (?:lessons?|sessions?|class|tuition))",
            r"one[- ]to[- ]one|one[- ]on[- ]one|1[- ]?(?:to|on|:|对)[- ]?1|private|individual|solo|personal"
            r"|一对一|私教",
        ),
        (
            r"\bat your own pace\b|\bwhenever you like\b|\bin your own time\b|\bany time of (?:the )?(?:day|night)\b",
            r"own pace|self[- ]paced|on[- ]demand|any ?time|access|recorded|app\b|download|24/7|always|随时|录播",
        ),
        (r"\bfull[- ]time\b", r"full[- ]time|全日制|全职"),
        (
            r"\b(?:minimum|tied in|locked in|signed (?:up|in|on)|commit\w*)[^.!?;]{0,12}\b(?:for |to )?(?:a|one"
            r"|two) (?:year|month)s?\b|\ba year minimum\b",
            r"contract|minimum|commit|annual|per year|a year|签约|合同",
        ),
        (
            r"\brain or shine\b|\bwhatever the weather\b|\bin all weathers?\b",
            r"all[- ]weather|rain or shine|whatever the weather|indoors?|风雨|雨天",
        ),
        (
            r"\b(?:cancelled|canceled|called off|postponed|moved) (?:if|when) (?:it|the|there)\b",
            r"cancelled if|canceled if|postponed|rained? off|if it rains|取消|改期",
        ),
        (
            r"\bwhile you wait\b|\bthat (?:same )?(?:night|day|evening)\b(?= ?[.,!;]|$)|\bthere and then\b"
            r"|\bon the same (?:day|visit)\b|\bsame[- ]day\b",
            r"same[- ]day|while you wait|on the spot|on the day|walk[- ]in|same visit|immediately|instant"
            r"|当天|当场|即时",
        ),
        (
            r"\b(?:we(?:['’]ll)? (?:come|drive|travel|pop round) to (?:you|your)|at your (?:own )?(?:home|house"
            r"|place)\b|home visits?)\b",
            r"home|visit|mobile|come to you|your (?:door|house|place)|上门",
        ),
        (
            r"\bcancel (?:on the day|any ?time|an hour|the same day|whenever|at the last minute|minutes before)",
            r"cancel any ?time|any ?time|no contract|skip or cancel|same day|随时取消|随时退",
        ),
        (
            r"\bas many (?:times )?as you (?:like|want)\b|\bas often as you (?:like|want)\b",
            r"unlimited|any ?number|as (?:many|often)|no limit|不限|无限",
        ),
        (
            r"\bleave (?:it|them|the baby|your \w+) with us\b|\bdrop (?:it|them) off\b",
            r"drop[- ]off|leave|collect|crèche|creche|childcare|寄存|托管",
        ),
        (
            r"\bbring your own (?!(?:\w+ )?(?:ideas|story|stories|opinions|jokes|excuses))",
            r"bring|own|not included|自备|自带",
        ),
        (r"\b(?:for|just) (?:one|a single) night\b", r"one[- ]night|single night|any number of nights"),
        (
            r"\bsold out\b|\bwaiting list\b|\bonly \w+ (?:places|spots|seats|tickets) left\b",
            r"sold out|waiting list|left\b|limited|售罄|仅剩",
        ),
        (
            r"\bbrought to you by\b|\bsponsored by\b|\bin partnership with\b",
            r"sponsor|partner|brought to you|funded|合作|赞助",
        ),
        (
            r"\b(?:listen to it|also a podcast|as a podcast|audio version|in print|printed edition"
            r"|paperback edition)\b",
            r"podcast|audio|listen|print|paperback|播客|音频|纸质",
        ),
        (
            r"\bdownload(?:s|able|ed)?\b",
            r"download|offline|pdf|template|printable|app\b|works offline|saved|export|下载|离线|缓存",
        ),
    )
)


_LENT = re.compile(r"\b(?:provided|supplied|included|lent|all (?:materials|equipment)|提供|含)", re.I)


@lru_cache(maxsize=512)
def _told(texts: tuple[str, ...]) -> str:
    """The parts of an ad's sentences that deny nothing."""
    parts = (match[0] for text in texts for match in _SENTENCE.finditer(text))
    return "\n".join(part for part in parts if not _NOT.search(part))


def modes(plain: str, evidence: Evidence) -> list[Word]:
    """The phrases of a copy for a way of giving the service that the ad does not have."""
    texts = tuple(text for name, text, _ in evidence.texts if name not in ("audience", "domain"))
    whole = _told(texts)
    out: list[Word] = []
    for said, told in _MODES:
        match = said.search(plain)
        if match is not None and match[0].lower().startswith("bring your own") and not _LENT.search(whole):
            continue  # nothing is said of what is there
        if (
            match is not None
            and not told.search(whole)
            and not _NOT.search(plain[max(0, match.start() - 24) : match.start()])
        ):
            out.append(Word(*match.span(), "feature", None))
    return out
