"""Use case of functions/generate: ad + interests -> copy that fits, is true and lawful.

Start at `service.Generating`.
"""

from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView
from shared.generating.service import MAX_COPIES, Generating

__all__ = ["MAX_COPIES", "Brief", "CopyRequest", "CopyResult", "Generating", "JobView"]
