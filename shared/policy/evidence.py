"""What an ad says, as words and concepts, and what of it bears out a term of a copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.policy.scenes import owned, told_of_reader
from shared.policy.vocabulary import Vocabulary, stem

# What says that the product has what follows, or is for whom follows, or for whom went before.
_FOR = re.compile(
    r"(?:适合|专为|专给|面向|针对|给|让|为|连)[^，。！？；]{0,6}$"
    r"|\b(?:safe|suitable|suited|designed|made|great|perfect|ideal|built|gentle enough|good|right|fit|approved|just)"
    r" (?:for|by|with)[^.,;!?]{0,14}$",
    re.I,
)
_MAY = re.compile(
    r"(?:也能|都能|也可|都可|可用|能用|专用|专属|款|版|适用|也适|也放心|放心|安心|无忧|友好|可以用|也可以|都可以|都会用)"
    r"|[ -](?:friendly|safe|approved|ready|proof|can use|too\b)",
    re.I,
)
# What says so at the head of a clause, and after the word.
HEAD = re.compile(
    r"(?:^|[，。！？；：、,\s])(?:还|也|另)?(?:可|支持|带(?![上着去到走回出你我他她它娃狗猫孩爸妈])|提供|设|有|送(?![给你我他她它走别上去到]))[^，。！？；]{0,3}$"
)
THEN = re.compile(
    r"(?:友好|签名|跟拍|推荐|亲授|坐诊|授课|带队|领衔|代言|加持|入驻|监制|研发|免费|齐全|赠送|附赠|全包|可退|可洗|可选)"
    r"|[ -](?:is |are )?(?:friendly|welcome|included|provided|available|supplied|approved|recommended|guaranteed"
    r"|on hand|on site"
    r"|thrown in|at no cost|optional)\b",
    re.I,
)
SCENE = "scene"  # kind of a word that only sets a scene, until what stands beside it is known
UNLISTED = "unlisted"  # kind of a word in no list, until it is known whether the copy says it of the product


@dataclass(slots=True)
class Evidence:
    """An ad's words: its fields with their negations, stems and concepts by polarity (True: negated) to the field."""

    texts: list[tuple[str, str, bytearray]] = field(default_factory=list)
    stems: dict[str, dict[bool, str]] = field(default_factory=dict)
    concepts: dict[int, dict[bool, str]] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)  # of scenes, in which the ad is
    starts: list[frozenset[int]] = field(default_factory=list)  # of Chinese words, text by text
    denied: str = ""  # what negations of the ad cover, a line each


@dataclass(frozen=True, slots=True)
class Word:
    """A piece ``[start, end)`` of a copy that is not neutral. `support` is the ad's field; None where there is none."""

    start: int
    end: int
    kind: str
    support: str | None


def sets_scene(term: str, plain: str, start: int, end: int, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a word that the ad does not account for only sets a scene."""
    scenes = known.scenes.get(term)
    if scenes is None or owned(plain, start, end, scenes, lambda word: in_ad(word, evidence)):
        return False
    if any(scene in evidence.fields for scene in scenes) and not told_of_reader(plain, start, end):
        return False
    before = plain[max(0, start - 28) : start]
    if "people" not in scenes and HEAD.search(before):
        return False
    if THEN.match(plain[end : end + 16]):
        return False
    return "people" not in scenes or not (_FOR.search(before) or _MAY.match(plain[end : end + 12]))


def in_ad(word: str, evidence: Evidence) -> bool:
    """Whether the ad itself, not the audience's name, has the word."""
    if word.isascii():
        held = evidence.stems.get(stem(word.lower().replace("’", "'")), {})
        return any(name != "audience" for name in held.values())
    return any(word in text for name, text, _ in evidence.texts if name != "audience")


def meaning(term: str, negative: bool, evidence: Evidence, known: Vocabulary) -> str | None:
    """The field that bears out a listed term."""
    for concept, turned in known.concepts.get(term, ()):
        held = evidence.concepts.get(concept)
        if held is not None and (negative != turned) in held:
            return held[negative != turned]
        for opposite in known.opposites.get(concept, ()):
            held = evidence.concepts.get(opposite)
            if held is not None and (negative == turned) in held:
                return held[negative == turned]
    return None


def kind_of(term: str, known: Vocabulary) -> str:
    pairs = known.concepts.get(term)
    return known.kinds[pairs[0][0]] if pairs else "feature"


def stem_support(word: str, negative: bool, evidence: Evidence, known: Vocabulary) -> str | None:
    held = evidence.stems.get(word)
    if held is not None and negative in held:
        return held[negative]
    return meaning(word, negative, evidence, known)


def merged(words: Sequence[Word], plain: str) -> list[Word]:
    """Unsupported neighbours as one claim."""
    out: list[Word] = []
    for word in words:
        last = out[-1] if out else None
        if (
            last is not None
            and word.support is None
            and last.support is None
            and plain[last.end : word.start].strip(" -") == ""
        ):
            kind = last.kind if word.kind in ("feature", UNLISTED) and last.kind != UNLISTED else word.kind
            out[-1] = Word(last.start, word.end, kind, None)
        else:
            out.append(word)
    return out


def bear(name: str, term: str, negative: bool, known: Vocabulary, evidence: Evidence) -> None:
    """Adds the concepts that a term of the ad's field `name` bears."""
    for concept, turned in known.evidence.get(term, ()):
        _hold(concept, negative != turned, name, known, evidence)


def _hold(concept: int, negative: bool, name: str, known: Vocabulary, evidence: Evidence) -> None:
    held = evidence.concepts.setdefault(concept, {})
    if negative in held:
        return
    held[negative] = name
    for broader in known.broader.get(concept, ()):
        _hold(broader, negative, name, known, evidence)
