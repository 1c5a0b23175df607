"""Use case of functions/generate: ad + interests -> copy that fits, is true and lawful.

Start at `service.Generating`.
"""

from shared.generating.catalogue import MAX_AD_IDS, MAX_SEGMENTS, PassRequest
from shared.generating.gate import warm
from shared.generating.prompts import TONES, Styles, Tone
from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView
from shared.generating.reviews import MAX_REVIEWS, MAX_TEXT, Review
from shared.generating.service import MAX_COPIES, Generating

__all__ = [
    "MAX_AD_IDS",
    "MAX_COPIES",
    "MAX_REVIEWS",
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "TONES",
    "Brief",
    "CopyRequest",
    "CopyResult",
    "Generating",
    "JobView",
    "PassRequest",
    "Review",
    "Styles",
    "Tone",
    "warm",
]
