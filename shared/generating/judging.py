"""A language model asked whether an ad supports every claim of a text: the judge of the wording *judged*.

A reader that fits into a Lambda layer doubts three in ten of a person's true paraphrases; a large model tells them from
false ones. It stands in the claim reader's place; the ledger's rules stay, and those of them that are sure are not
overruled. A small model believes everything or nothing, so who judges is examined first, on lines whose verdicts are
known. Where it does not answer, or has failed, nobody judges instead: the caller is told so.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from shared.domain import LANGUAGES, Ad, Claim, Language, Wording
from shared.errors import ModelUnavailable
from shared.generating.facts import quoted
from shared.generating.gate import JUDGING_SECONDS, Reader
from shared.models.generator import ChatRequest, TextGenerator
from shared.policy.likeness import Like
from shared.policy.reading import judged
from shared.preprocess import clean_text, match_key
from shared.telemetry import logger

FAILED_SECONDS = 5.0  # for which one that did not come is not asked for again
KEPT = 256  # failures that are remembered
EXAMINING = "the judge of claims is still being examined"
_MARKS = "\"'“”‘’「」『』《》.。,，;；:： "

EXAM_SECONDS = 20.0  # that a verdict of the exam may take
EXAM_AT_ONCE = 4  # lines of it: the endpoint writes meanwhile
MAY_MISS, MAY_REFUSE = 1, 2  # untrue and true lines of a language's exam about which a judge may be wrong

Span = tuple[int, int]


class NoVerdict(ModelUnavailable):
    """A model said something else than whether it believes a text."""


@cache
def document() -> dict[str, Any]:
    """What the judge is asked, and the words in which it answers."""
    path = Path(__file__).with_name("prompts") / "judge.json"
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def question(text: str, ad: Ad, language: Language, audience: Sequence[str] = ()) -> ChatRequest:
    """What is asked about a text. audience: names of interests that it may address."""
    asked = document()
    part = asked[language]
    said = [
        (name, f"{value:.15g}" if isinstance(value, float) else str(value)) for name, value in ad.attributes.items()
    ]
    said += [(name, _day(at)) for name, at in (("from", ad.start), ("until", ad.end)) if at is not None]
    attributes = [f"{quoted(name)}: {quoted(value)}" for name, value in said]
    told = [quoted(ad.title), quoted(ad.description), quoted(ad.brand or ""), *attributes]
    if audience:
        told.append(part["audience"].format(interests=", ".join(map(quoted, audience))))
    messages = [{"role": "system", "content": part["system"]}]
    for one in part["examples"]:
        messages.append({"role": "user", "content": part["request"].format(facts=one["facts"], text=one["text"])})
        messages.append({"role": "assistant", "content": one["answer"]})
    content = part["request"].format(facts="\n".join(one for one in told if one), text=quoted(text))
    messages.append({"role": "user", "content": content})
    return ChatRequest(
        messages,
        temperature=asked["temperature"],
        max_tokens=asked["max_tokens"],
        stop=("\n",),
    )


@dataclass(frozen=True, slots=True)
class Exam:
    """How a judge did: planted lines that it `missed` and true ones that it `refused`, of so many each."""

    missed: int
    refused: int
    planted: int
    true: int

    @property
    def passed(self) -> bool:
        return self.missed <= MAY_MISS and self.refused <= MAY_REFUSE

    def __str__(self) -> str:
        return f"missed {self.missed} of {self.planted} untrue lines, refused {self.refused} of {self.true} true ones"


@cache
def exam_lines(language: Language) -> tuple[tuple[Ad, str, bool], ...]:
    """Ads with lines and whether they state what the ad does not."""
    found: list[tuple[Ad, str, bool]] = []
    for line in Path(__file__).with_name("prompts").joinpath("judge-exam.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        ad = Ad(**{"ad_id": "-", "landing_url": "-"} | row["ad"])
        if ad.language == language:
            found += [(ad, text, planted) for planted, key in ((False, "true"), (True, "planted")) for text in row[key]]
    return tuple(found)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def verdict(answer: str, text: str) -> Span | None:
    """The characters of a text that an answer calls unsupported, all of them where it does not say which; None where it
    says that the ad supports the text.

    Raises:
        NoVerdict: the answer says neither.
    """
    asked = document()
    said = answer.strip().strip("*_`\"' ")
    if said.rstrip(".。").upper() == asked["supported"]:
        return None
    if not said.upper().startswith(asked["unsupported"].rstrip(":")):
        raise NoVerdict(f"the judge's answer is no verdict: {answer[:80]!r}")
    words = said[len(asked["unsupported"]) :].strip(_MARKS)
    start = text.lower().find(words.lower()) if words else -1
    return (start, start + len(words)) if start >= 0 else (0, len(text))


class Judge:
    """See `shared.generating.gate.Reader`: a model judges claims in the place of `reader`, which reads the law.

    seconds: that a verdict may take. examined: whether it has to pass an exam in a language before it is heard.
    """

    def __init__(
        self,
        generator: TextGenerator | None,
        reader: Reader,
        *,
        seconds: float = JUDGING_SECONDS,
        examined: bool = True,
    ) -> None:
        self._seconds = seconds
        self._examined = examined
        self._sittings: dict[Language, Future[Exam]] = {}
        self._generator = generator
        self._reader = reader
        self._failed: dict[str, tuple[float, ModelUnavailable]] = {}
        self._lock = threading.Lock()

    def weigh(
        self, text: str, ad: Ad, claims: Sequence[Claim], *, audience: Sequence[str] = (), strict: bool = False
    ) -> list[Claim]:
        """The claims after the model was asked (`shared.policy.reading.judged`).

        Raises:
            ModelUnavailable: it says nothing, or no verdict.
        """
        return judged(claims, text, self.doubted(text, ad, audience), strict=strict)

    def doubted(self, text: str, ad: Ad, audience: Sequence[str] = ()) -> Span | None:
        """The characters that the model calls unsupported; None where it believes the text. One that commands is
        believed in nothing, without being asked about.

        Raises:
            ModelUnavailable: see `weigh`.
        """
        if match_key(quoted(text)) != match_key(clean_text(text)):
            return 0, len(text)
        end = time.monotonic() + self._seconds
        self._admit(ad.language)
        return self._asked(text, ad, audience, max(0.1, end - time.monotonic()))

    def exam(self, language: Language) -> Exam:
        """How the model does on lines whose verdicts are known. An answer that is no verdict is a wrong one.

        Raises:
            ModelUnavailable: it does not answer.
        """

        def wrong(line: tuple[Ad, str, bool]) -> bool:
            ad, text, planted = line
            try:
                return (self._asked(text, ad, (), EXAM_SECONDS) is not None) != planted
            except NoVerdict:
                return True

        lines = exam_lines(language)
        with ThreadPoolExecutor(EXAM_AT_ONCE, "exam") as threads:
            results = list(zip(lines, threads.map(wrong, lines), strict=True))
        planted = [failed for (_, _, planted), failed in results if planted]
        true = [failed for (_, _, planted), failed in results if not planted]
        return Exam(sum(planted), sum(true), len(planted), len(true))

    def _admit(self, language: Language) -> None:
        """Raises ModelUnavailable where the model may not judge, or nobody knows yet."""
        if not self._examined:
            return
        self._recall(EXAMINING)
        sitting = self._sitting(language)
        try:
            exam = sitting.result(timeout=self._seconds)
        except TimeoutError:
            raise self._failing(EXAMINING, ModelUnavailable(EXAMINING)) from None
        except ModelUnavailable as error:  # an endpoint that is down has not failed
            with self._lock:
                if self._sittings.get(language) is sitting:
                    del self._sittings[language]
            raise self._failing(EXAMINING, error) from None
        if not exam.passed:
            raise ModelUnavailable(f"the language model cannot judge claims: it {exam}")

    def _sitting(self, language: Language) -> Future[Exam]:
        """The language's exam, begun in a thread of its own if it has not been: who asks need not wait for its end."""
        with self._lock:
            if language in self._sittings:
                return self._sittings[language]
            sitting: Future[Exam] = Future()
            self._sittings[language] = sitting

        def sit() -> None:
            try:
                exam = self.exam(language)
            except BaseException as error:  # who waits raises it
                sitting.set_exception(error)
                return
            log = logger.info if exam.passed else logger.error
            log("judge of claims examined", extra={"language": language, "exam": str(exam), "passed": exam.passed})
            sitting.set_result(exam)

        threading.Thread(target=sit, name="exam", daemon=True).start()
        return sitting

    def _asked(self, text: str, ad: Ad, audience: Sequence[str], seconds: float) -> Span | None:
        if self._generator is None:
            raise ModelUnavailable("there is no language model to judge claims")
        request = question(text, ad, ad.language, audience)
        key = request.messages[-1]["content"]
        self._recall(key)
        try:
            return verdict(self._generator.complete(request, timeout=seconds).texts[0], text)
        except ModelUnavailable as failure:
            self._failing(key, failure)
            raise

    def _recall(self, key: str) -> None:
        """Raises what failed a moment ago once more: whoever waits for several texts must not wait for each."""
        with self._lock:
            at, error = self._failed.get(key, (-math.inf, None))
        if error is not None and time.monotonic() - at < FAILED_SECONDS:
            raise type(error)(error.detail)

    def _failing(self, key: str, error: ModelUnavailable) -> ModelUnavailable:
        with self._lock:
            while len(self._failed) >= KEPT:
                del self._failed[next(iter(self._failed))]
            self._failed[key] = (time.monotonic(), error)
        return error

    def warm(self) -> None:
        """See `shared.generating.gate.Reader`. The model is examined meanwhile: the first text need not wait for it."""
        self._reader.warm()
        if self._examined:
            for language in LANGUAGES:
                self._sitting(language)

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        """See `shared.policy.rules.LawReader`."""
        return self._reader.alike(text, domain, jurisdiction, rules, margin)

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> Container[str]:
        """See `shared.policy.rules.LawReader`."""
        return self._reader.lifts(text, place, domain, jurisdiction)


def heard(
    wording: Wording, generator: TextGenerator | None, reader: Callable[[], Reader] | None
) -> Callable[[], Reader] | None:
    """Who is heard beside the rules: the reader, or under the wording *judged* the generator's model in its place."""
    if wording != "judged" or reader is None:
        return reader

    @cache
    def judge() -> Reader:
        return Judge(generator, reader())

    return judge
