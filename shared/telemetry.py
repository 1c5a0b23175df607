"""Logger and metrics (AWS Lambda Powertools): a leaf that any module may import.

Log ids of requests, decisions and jobs; never a person's external id, event text or an interest's name. Of an exception
the log has its kind and where it was raised, not its message: that quotes values (``KeyError: 'ann@example.com'``).
"""

from __future__ import annotations

import traceback
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import MetricUnit

_DEEPEST = 10  # of a chain of exceptions


def raised(error: BaseException) -> str:
    """Kinds and places of an exception and of those that led to it, the first one first, without what they say."""
    told: list[str] = []
    one: BaseException | None = error
    while one is not None and len(told) < _DEEPEST:
        response = getattr(one, "response", None)
        fault = response.get("Error") if isinstance(response, dict) else None
        code = f" ({fault.get('Code')})" if isinstance(fault, dict) else ""  # of AWS
        told.append(f"{''.join(traceback.format_tb(one.__traceback__))}{type(one).__name__}{code}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n\n".join(told[::-1])


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' own, without the messages of exceptions."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return raised(ei[1])

    def serialize(self, log: Any) -> str:
        log.pop("exception_notes", None)
        return super().serialize(log)


logger = Logger(service="adtailor", logger_formatter=_Formatter(use_rfc3339=True, serialize_stacktrace=False))
# Their dimension "service" is POWERTOOLS_SERVICE_NAME, the stack's name: two stacks in one account stay apart.
metrics = Metrics(namespace="AdTailor")

__all__ = ["MetricUnit", "logger", "metrics", "raised"]
