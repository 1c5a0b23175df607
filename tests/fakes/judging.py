"""A language model that is asked whether an ad supports a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.domain import LANGUAGES
from shared.errors import ModelUnavailable
from shared.generating.judging import document, exam_lines
from shared.models.generator import ChatRequest, Completions, Usage
from tests.fakes.generation import ScriptedGenerator

KNOWN = {text: planted for language in LANGUAGES for _, text, planted in exam_lines(language)}


def text_of(request: ChatRequest) -> str:
    """The text that a judge is asked about."""
    content = request.messages[-1]["content"]
    return content.rsplit("<copy>\n" if "<copy>" in content else "<文案>\n", 1)[1].rsplit("\n</", 1)[0]


@dataclass
class JudgingGenerator(ScriptedGenerator):
    """Writes as it is told, and judges: lines of the exam as they are, of all others those that hold one of `doubts`
    as unsupported. says: another verdict. silent: does not answer as a judge."""

    doubts: tuple[str, ...] = ()
    says: Callable[[str], str] | None = None
    silent: bool = False
    judged: list[str] = field(default_factory=list)

    def complete(self, request: ChatRequest, *, timeout: float) -> Completions:
        if request.messages[0]["content"] not in {document()[language]["system"] for language in LANGUAGES}:
            return super().complete(request, timeout=timeout)
        text = text_of(request)
        self.judged.append(text)
        if self.silent:
            raise ModelUnavailable("the scripted judge is silent")
        answer = self.says(text) if self.says is not None else self.verdict(text)
        return Completions((answer,), Usage(300, 3, seconds=0.1), finished=1)

    def verdict(self, text: str) -> str:
        """What it says of a text by itself."""
        if text in KNOWN:
            return "UNSUPPORTED: all of it" if KNOWN[text] else "SUPPORTED"
        found = next((words for words in self.doubts if words in text), None)
        return "SUPPORTED" if found is None else f"UNSUPPORTED: {found}"

    @property
    def heard(self) -> list[str]:
        """The texts that it was asked about, beside its exam's."""
        return [text for text in self.judged if text not in KNOWN]
