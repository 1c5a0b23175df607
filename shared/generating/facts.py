"""The ad's facts as a prompt may quote them: short, one line each, and data only.

A product text may hold what a model would take for a command ("ignore the above and …", a chat template's role marks,
the end of our own delimiter). None of it gets as far as the prompt; what remains is judged by the gate like any text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.domain import Ad, Language
from shared.generating.templates import attribute_facts
from shared.generating.width import display_width
from shared.preprocess import clean_text

READ = 4000  # characters of a description that are looked at
TITLE_WIDTH = 120  # columns

# Control marks of the common chat templates: no product text holds one, and what comes after it is no fact.
_CONTROL = re.compile(
    r"<\|[\w\s.:-]{1,40}\|?>?|<\s*/?(?:start|end)_of_\w{1,10}\s*>|\[/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS)\]|<{2}/?SYS>{2}",
    re.I,
)
# Tags that could close a delimiter, and marks of headings and code.
_MARKS = re.compile(r"</?[\w\u3400-\u9fff][\w\s.:-]{0,40}>|^\s*#{1,6}\s|`{3,}\w*", re.M)
_ROLES = re.compile(
    r"(?:^|(?<=[\s。.!！?？；;]))(?:system|assistant|user|model|human|developer|系统|助手|用户)\s*[:：]", re.I
)
# Where a text stops describing and starts to command. Everything from the sentence that holds it on is left out.
_COMMANDS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,30}\b(?:the above|instructions?|prompts?|guidelines"
    r"|(?:above|previous|prior|preceding|earlier)\s+(?:text|rules?|messages?|content))\b"
    r"|\b(?:new|updated|real|following)\s+(?:system\s+)?instructions?\b|\bsystem\s+(?:prompt|message)\b"
    r"|\binstead\s*,?\s+(?:write|say|output|print|reply|respond|answer)\b"
    r"|\b(?:write|say|output|reply|respond|answer)\s+(?:only|exactly|with exactly)\b"
    r"|\byou\s+are\s+(?:now|no longer)\s+(?:an?|the|my|in)\b"
    r"|(?:^|\byou\s+(?:must|should|will|now)\s+)(?:act as|pretend to be)\b"
    r"|(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|绕过)[^。！？\n]{0,12}(?:以上|上述|上面的|前面的|指令|指示|提示词|规则|设定)"
    r"|(?:以上|上述|上面|之前|前面|先前)的?(?:指令|指示|提示词?|规则|要求)[^。！？\n]{0,8}(?:作废|无效|失效|忽略|取消)"
    r"|系统提示词|(?:新的|真正的)(?:指令|指示)|(?:你|您)(?:现在|从现在起)(?:是|扮演)|(?:你|您|请)(?:来|要)?扮演|假装你是"
    r"|(?:改为|改成|只能|必须|请|直接)(?:输出|复述|重复)|(?:改为|改成)(?:回复|回答)",
    re.I,
)
_SENTENCES = re.compile(r"(?<=[。！？!?\n])|(?<=\.)\s")
_CLAUSES = re.compile(r"[。；！？;!?，\n]|, |\.(?:\s|$)")
_BRACKETS = str.maketrans({"<": "＜", ">": "＞", "{": "（", "}": "）", "`": "'"})


def quoted(text: str, limit: int = READ) -> str:
    """`text` as data for a prompt: one line without role marks, and only as far as it does not command."""
    text = _MARKS.sub(" ", _CONTROL.split(text[:limit], maxsplit=1)[0])
    kept: list[str] = []
    for sentence in _SENTENCES.split(text):
        if _COMMANDS.search(sentence):
            break
        kept.append(sentence)
    text = _ROLES.sub(" ", clean_text(" ".join(kept), limit))
    return " ".join(text.translate(_BRACKETS).split())


def quoted_title(ad: Ad) -> str:
    """The title as a prompt quotes it; the brand, or nothing, where the title itself is a command."""
    title = quoted(ad.title) or quoted(ad.brand or "")
    while display_width(title) > TITLE_WIDTH:
        title = title[:-1]
    return title


def facts_of(
    ad: Ad, language: Language, *, most: int = 4, width: int = 44, attributes_below: int = 2, brand: bool = False
) -> list[str]:
    """Up to `most` facts of at most `width` columns in the advertiser's words: clauses of the description and, where
    these are fewer than `attributes_below`, attributes; first the brand, if asked for and not in the title."""
    clauses = [clause.strip() for clause in _CLAUSES.split(quoted(ad.description))]
    facts = _within(clauses, width)
    if len(facts) < attributes_below:
        said = [quoted(fact) for fact in attribute_facts(ad, language)]
        facts += [fact for fact in _within(said, width) if fact not in facts]
    if brand and ad.brand and ad.brand.lower() not in ad.title.lower():
        facts.insert(0, ("品牌" if language == "zh" else "brand ") + quoted(ad.brand))
    return facts[:most]


def _within(texts: Sequence[str], width: int) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text and display_width(text) <= width]
