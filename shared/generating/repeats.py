"""Copy that only repeats the words of the ad."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from shared.preprocess import match_key

COPIED = 0.8  # share of a text's characters from which it is a copy
_HAN = re.compile(r"[\u3400-\u9fff]")
_RUN = {True: 3, False: 6}  # characters from which a common run counts as copied: Chinese or not
_READ = 4000  # characters of a source that are looked at


def copied_share(text: str, sources: Sequence[str]) -> float:
    """The largest share of the text's characters that stand, in runs and in order, in one of the sources.

    1 for a source itself or a part of it; runs of under 3 Chinese or 6 other characters are chance and do not count.
    Width, case and punctuation make no difference.
    """
    plain = match_key(text)
    if not plain:
        return 1.0
    least = _RUN[bool(_HAN.search(plain))]
    shares = []
    for source in sources:
        blocks = SequenceMatcher(None, match_key(source[:_READ]), plain, autojunk=False).get_matching_blocks()
        shares.append(sum(block.size for block in blocks if block.size >= least) / len(plain))
    return max(shares, default=0.0)
