"""Versions of what a text is judged by. Apart from the ledger and the packs' rules, which take half a second to load:
banked copy is served on a comparison of versions alone.
"""

from __future__ import annotations

from shared.domain import Wording
from shared.policy.likeness import version as likeness_version
from shared.policy.packs import document, packs_names
from shared.policy.reading import VERSION as READING_VERSION
from shared.policy.vocabulary import VERSION

QUOTING = "quoting-8"  # of what may be quoted, and of what may stand beside it
LAW = "law-3"  # of the readers of ad law
JUDGING = "judge-1"  # of what a language model is asked about a text's claims, where the wording is *judged*


def claims_version() -> str:
    """Version of the term groups, the words and the readers of the claim ledger."""
    rules = (document("claims")["version"], document("claims.zh")["version"], VERSION)
    return "+".join((*rules, f"reading-{READING_VERSION}", QUOTING))


def packs_version() -> str:
    """Versions of the rule packs, as responses name them, and of the readers beside them."""
    return f"{packs_names()}+likeness-{likeness_version()}+{LAW}"


def wording_version(wording: Wording) -> str:
    """A wording, and what its judge is asked where it has one."""
    return f"{wording}+{JUDGING}" if wording == "judged" else wording
