"""Clean, check, de-duplicate and normalise what is sent. Pure functions; training and serving share them.

A change that alters what any of them returns raises `PREPROCESS_VERSION`: model artefacts record it and refuse to load
under another one.
"""

from shared.preprocess.ads import parse_ad
from shared.preprocess.events import deduplicate_events, parse_event
from shared.preprocess.text import PREPROCESS_VERSION, clean_text, match_key, to_simplified

__all__ = [
    "PREPROCESS_VERSION",
    "clean_text",
    "deduplicate_events",
    "match_key",
    "parse_ad",
    "parse_event",
    "to_simplified",
]
