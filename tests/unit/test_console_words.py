"""The console's words: each that a view asks for is there, in both languages, and none is left over."""

from __future__ import annotations

import json
import re

from infra.console_site import FILES

SCRIPTS = {path.name: path.read_text() for path in (FILES / "js").glob("*.js")}
_STRING = r'"((?:[^"\\]|\\.)*)"'
_ROW = re.compile(rf"^  {_STRING}: \[\s*{_STRING},\s*{_STRING},?\s*\],$", re.MULTILINE)
WORDS = {key: (json.loads(f'"{zh}"'), json.loads(f'"{en}"')) for key, zh, en in _ROW.findall(SCRIPTS["words.js"])}
VIEWS = "\n".join(text for name, text in SCRIPTS.items() if name != "words.js")


def test_every_row_is_read() -> None:
    assert len(WORDS) == len(re.findall(r"^  \"", SCRIPTS["words.js"], re.MULTILINE))


def test_both_languages_say_something_with_the_same_values() -> None:
    for key, pair in WORDS.items():
        chinese, english = (sorted(set(re.findall(r"\{\d\}", text))) for text in pair)
        assert all(text.strip() for text in pair), key
        assert chinese == english, key


def test_what_is_in_chinese_is_chinese() -> None:
    same = {key for key, (zh, en) in WORDS.items() if not re.search(r"[\u4e00-\u9fff]", zh) and zh != en}
    assert same == set()


def test_every_word_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r'\bt\("([^"]+)"', VIEWS))
    assert asked - set(WORDS) == set()
    for group in dynamic():
        assert any(key.startswith(group) for key in WORDS), group


def test_no_word_is_left_over() -> None:
    literal = set(re.findall(r'"([a-z]+\.[^"]+|[a-z]+)"', VIEWS))
    groups = dynamic() | {f"{group}." for group in re.findall(r'\bword\("([^"]+)"', VIEWS)}
    left = {key for key in WORDS if key not in literal and not key.startswith(tuple(groups))}
    assert left == set()


def dynamic() -> set[str]:
    """First parts of keys that are put together: ``t(`event.${…}`)``."""
    return {start for start in re.findall(r"\bt\(`([a-z.]+)\$\{", VIEWS) if start}
