"""What one line of copy may consist of, for engines that decode under a constraint.

Digits come only as the ad's own numbers in their usual spellings; every other character belongs to the language and is
none that opens a list, a tag or a second line. Numbers in words and everything else are left to the gate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain import Ad, Language
from shared.preprocess import clean_text

MOST_NUMBERS = 40
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# Character classes without their brackets, in the notation that GBNF and regular expressions share.
_LETTERS: dict[Language, str] = {
    "zh": "\u4e00-\u9fffA-Za-z ，。！？、；：“”‘’（）《》·…%~+&/.-",
    "en": "A-Za-zÀ-ÿ ,.!?;:'\"’“”()&%$€£/+–—-",
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """numbers: every spelling that may appear, longest first. A line may end in a line feed: base models end it so."""

    numbers: tuple[str, ...]
    language: Language

    def gbnf(self) -> str:
        """As a grammar of llama.cpp."""
        text = f"[{_LETTERS[self.language]}]"
        if not self.numbers:
            return f'root ::= text+ "\\n"?\ntext ::= {text}\n'
        numbers = " | ".join(f'"{number}"' for number in self.numbers)
        return f'root ::= text* (number text+)* number? "\\n"?\ntext ::= {text}\nnumber ::= {numbers}\n'

    def regex(self) -> str:
        """As a regular expression for the whole line (vLLM's structured outputs)."""
        text = f"[{_LETTERS[self.language]}]"
        if not self.numbers:
            return rf"{text}+\n?"
        number = f"(?:{'|'.join(re.escape(number) for number in self.numbers)})"
        return rf"{text}*(?:{number}{text}+)*{number}?\n?"


def constraint_of(ad: Ad, language: Language) -> Constraint:
    """The constraint for copy about this ad."""
    facts = [ad.title, clean_text(ad.description, 4000), ad.brand or "", *map(str, ad.attributes.values())]
    return Constraint(_spellings(facts), language)


def _spellings(facts: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for fact in facts:
        for number in _NUMBER.findall(fact):
            plain = number.rstrip(",").replace(",", "")
            found[plain] = None
            whole, _, part = plain.partition(".")
            if len(whole) > 3:
                found[f"{int(whole):,}" + (f".{part}" if part else "")] = None
            if part and not part.strip("0"):
                found[whole] = None
    kept = list(found)[:MOST_NUMBERS]
    return tuple(sorted(kept, key=lambda number: (-len(number), number)))
