"""Logger and metrics (AWS Lambda Powertools): a leaf that any module may import.

Log ids of requests, decisions and jobs; never a person's external id, event text or an interest's name.
"""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="adtailor", use_rfc3339=True)
# Their dimension "service" is POWERTOOLS_SERVICE_NAME, the stack's name: two stacks in one account stay apart.
metrics = Metrics(namespace="AdTailor")

__all__ = ["MetricUnit", "logger", "metrics"]
