"""Writes the API's contract to ``infra/openapi.json``: ``python -m infra.openapi``.

A test compares it with the code, so that no change of the API goes unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).with_name("openapi.json")


def contract() -> dict[str, Any]:
    """The OpenAPI document of the four functions together."""
    from infra.local.api import build

    return build().openapi()


def render(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    CONTRACT.write_text(render(contract()), encoding="utf-8")
    print(f"wrote {CONTRACT.name}: {len(contract()['paths'])} paths")
