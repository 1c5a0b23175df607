"""Texts about everything, Chinese and English, written for this project: `check_texts.txt`.

The built encoder is compared with its full-precision model on them, and the classifier takes their mean as its centre.
"""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("check_texts.txt")


def check_texts() -> list[str]:
    """The lines of the file."""
    return _FILE.read_text(encoding="utf-8").splitlines()
