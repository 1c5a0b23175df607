"""The answers of the copy task as a page: facts, candidates, what the gate refused and why, what was shown.

``python -m infra.evaluate copy --products F --limit 50 --report copy.html``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from infra.evaluate.copy_task import Answer
    from shared.domain import Copy

MOST = 200  # products on a page


def write_report(path: Path, answers: Sequence[Answer], figures: dict[str, Any]) -> None:
    """Writes one self-contained HTML page."""
    # Everything on the page comes from models and advertisers: autoescape is what keeps it text.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["traced"] = traced
    page = environment.get_template("copy_report.html.j2").render(answers=answers[:MOST], figures=figures)
    path.write_text(page, encoding="utf-8")


def traced(copy: Copy) -> Markup:
    """The text with each claim marked; its title says which field supports it."""
    parts: list[Markup] = []
    at = 0
    for claim in sorted(copy.claims, key=lambda one: one.span):
        start, end = claim.span
        if start < at:
            continue
        parts.append(escape(copy.text[at:start]))
        title = f"{claim.kind}: {claim.support or 'unsupported'}"
        parts.append(Markup('<mark title="{}">{}</mark>').format(title, copy.text[start:end]))
        at = end
    parts.append(escape(copy.text[at:]))
    return Markup("").join(parts)
