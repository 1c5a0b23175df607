"""Reads a line of an ad as a reviewer would and says whether it breaks a rule, whatever words it uses.

A claim reader's encoder with another adapter (infra/training/train_policy_reader.py trains it, ``make models`` puts it
beside the reader): what is read is the jurisdiction and the ad's domain, and after them the line. Of its first token's
state come log-odds that it must not be shown, and of each rule a score that it is the one broken. Rules with words of
their own (`shared.policy.rules`) are heard besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.domain import Language
from shared.errors import ArtifactError
from shared.models.reader import ADAPTER_PARTS, ROW_TOKENS, TEXT_TOKENS, ClaimReader
from shared.policy.likeness import Like, likeness

ADAPTER = "policy.npz"
REMEMBERED = 4096  # lines
ALONE = 1.0  # log-odds
# Of a longer text the rest is judged by its n-grams: so many parts take the reader half a second.
MOST_PARTS = 64

Span = tuple[int, int]

_HAN = re.compile(r"[\u3400-\u9fff]")
# A sign with a figure behind it stands within a number or a time.
_CLAUSE = re.compile(r"(?:[^，；：。！？,;:.!?\n]|[,:.](?=\d))+(?:[，；：。！？,;:.!?\n]+|$)")
_SENTENCE = re.compile(r"(?:[^。！？!?.\n]|\.(?=\S))+(?:[。！？!?.\n]+\s*|$)")


class PolicyReader:
    """Reads lines of one language. `reader`: whose encoder it uses; `folder`: of its artefact."""

    def __init__(self, reader: ClaimReader, folder: Path) -> None:
        about = learned(folder.name, reader.metadata)
        with np.load(folder / ADAPTER) as arrays:
            given = {name: np.asarray(arrays[name], np.float32) for name in arrays.files}
        values = {name: value * given.get(f"{name}.scale", 1.0) for name, value in given.items()}
        self._reader = reader
        self._adapter = {name: value for name, value in values.items() if name.endswith(ADAPTER_PARTS)}
        self._heads = {name: value for name, value in values.items() if name.endswith((".weight", ".bias"))}
        self._threshold = float(about["threshold"])
        self._lifted = float(about["lifted"]) - self._threshold
        self._rules: list[str] = list(about["rules"])
        self._known = frozenset(about["lifts"])
        self.judged = lru_cache(maxsize=REMEMBERED)(self._judged)

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterator[Like]:
        """The parts of a folded text that break one of the rules, and of each the clause that speaks most for it.

        margin: how much nearer than usual (log-odds) a part is stopped.
        """
        parts = self._reader.parts(text)
        for start, part in parts[:MOST_PARTS]:
            if not any(map(str.isalnum, part)):
                continue
            odds, order, within = self._verdict(part, domain, jurisdiction)
            rule = next((self._rules[place] for place in order if self._rules[place] in rules), None)
            if not odds <= -margin and rule is not None:  # what is no number is a doubt
                low, high = self._worst(part[slice(*within)], domain, jurisdiction)
                yield Like(start + within[0] + low, start + within[0] + high, rule)
        for start, part in parts[MOST_PARTS:]:
            for like in likeness(part, rules, english=jurisdiction != "CN", margin=margin):
                yield Like(start + like.start, start + like.end, like.rule)

    def _verdict(self, part: str, domain: str | None, jurisdiction: str) -> tuple[float, tuple[int, ...], Span]:
        """`judged` of a part as a whole, or of the sentence in it that is worst alone, and where that stands: lawful
        sentences around a violation hide it. A sentence is read more surely beside the others: alone it needs `ALONE`
        more. What is no number comes first."""
        found = [(*self.judged(part, domain, jurisdiction), (0, len(part)))]
        sentences = [match.span() for match in _SENTENCE.finditer(part) if any(map(str.isalnum, match[0]))]
        for low, high in sentences if len(sentences) > 1 else ():
            odds, order = self.judged(part[low:high].strip(), domain, jurisdiction)
            found.append((odds - ALONE, order, (low, high)))
        return max(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0])

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> frozenset[str]:
        """The rules whose words at that place of a folded text mean something else: all that the reader has learned,
        where the text and the sentence there are surely lawful; none in a text that is too long to be read at once."""
        if len(self._reader.parts(text)) > 1:
            return frozenset()
        own = next((match[0] for match in _SENTENCE.finditer(text) if match.start() <= place < match.end()), text)
        sure = all(self.judged(one, domain, jurisdiction)[0] < self._lifted for one in dict.fromkeys((text, own)))
        return self._known if sure else frozenset()

    def _judged(self, line: str, domain: str | None, jurisdiction: str) -> tuple[float, tuple[int, ...]]:
        """Log-odds beyond the threshold that the line breaks a rule, and the rules' numbers, the likeliest first."""
        (state,) = self._states([line], domain, jurisdiction)
        scores = self._head("rules", state)
        return self._odds(state), tuple(np.argsort(-scores).tolist())

    def _worst(self, part: str, domain: str | None, jurisdiction: str) -> Span:
        """The clause of a part that breaks a rule most."""
        clauses = [match.span() for match in _CLAUSE.finditer(part) if any(map(str.isalnum, match[0]))]
        if len(clauses) < 2:
            return 0, len(part)
        states = self._states([part[low:high] for low, high in clauses], domain, jurisdiction)
        low, high = clauses[int(np.argmax([self._odds(state) for state in states]))]
        return low + len(part[low:high]) - len(part[low:high].lstrip()), low + len(part[low:high].rstrip())

    def _states(self, lines: Sequence[str], domain: str | None, jurisdiction: str) -> list[NDArray[np.float32]]:
        head = self._reader.ids(header(domain, jurisdiction))
        rows = [self._reader.ids(line) for line in lines]
        each = (ROW_TOKENS - len(head)) // TEXT_TOKENS
        states: list[NDArray[np.float32]] = []
        for start in range(0, len(rows), each):
            found = self._reader.states(head, rows[start : start + each], self._adapter)
            states += [np.tanh(self._heads["pooled.weight"] @ one + self._heads["pooled.bias"]) for one in found]
        return states

    def _head(self, name: str, state: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._heads[f"{name}.weight"] @ state + self._heads[f"{name}.bias"])

    def _odds(self, state: NDArray[np.float32]) -> float:
        return float(self._head("odds", state)[0]) - self._threshold


def learned(name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader's artefact says of its adapter for ad law.

    Raises:
        ArtifactError: nothing, or not all of it.
    """
    about: dict[str, Any] = metadata.get("policy", {})
    if not {"threshold", "lifted", "lifts", "rules"} <= set(about):
        raise ArtifactError(f"artefact {name} says nothing of its {ADAPTER}: build it again (`make models`)")
    return about


def header(domain: str | None, jurisdiction: str) -> str:
    """What a line is read after."""
    return f"{jurisdiction} {domain or 'any'}"


def reads(text: str, jurisdiction: str) -> Language | None:
    """Which language's reader knows such texts' law: Chinese ones are judged in China, others elsewhere; None: none."""
    chinese = bool(_HAN.search(text))
    return None if chinese != (jurisdiction == "CN") else "zh" if chinese else "en"
