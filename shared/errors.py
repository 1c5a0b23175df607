"""Every error that AdTailor raises on purpose. Each class carries its HTTP status and whether a retry may help.

::

    AdTailorError                 500
    ├── BadInput                  400   the caller can mend it; names the field
    │   ├── TooLarge              413   a body, a batch or a text over its limit; names the limit
    │   └── Unprocessable         422   well-formed, but the values cannot be used
    ├── Unauthenticated           401
    ├── Forbidden                 403   also: consent is missing for what was asked
    ├── NotFound                  404
    ├── Conflict                  409
    ├── Closed                    500   an object that its owner has closed to us, by a key or a storage class
    ├── ArtifactError             500   a model file is absent, changed or of another version
    ├── Misconfigured             500   the deployment's settings are no such settings; the log says which and why
    └── Unavailable               503   a dependency is down or slow; carries retry_after, 5 s where it is not known
        └── ModelUnavailable      503   the LLM endpoint: the caller goes down the ladder instead of failing
"""

from __future__ import annotations

from typing import ClassVar


class AdTailorError(Exception):
    """Base of the tree. `detail` is written for the person who reads the answer."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    usual_retry_after: ClassVar[int | None] = None  # seconds

    def __init__(self, detail: str, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after = self.usual_retry_after if retry_after is None else retry_after

    def problem(self) -> dict[str, object]:
        """The error as an RFC 9457 problem document."""
        document: dict[str, object] = {
            "type": f"urn:adtailor:error:{type(self).__name__}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            document["field"] = self.field
        return document


class BadInput(AdTailorError):
    status = 400
    title = "Bad input"


class TooLarge(BadInput):
    status = 413
    title = "Too large"


class Unprocessable(BadInput):
    status = 422
    title = "Cannot be used"


class Unauthenticated(AdTailorError):
    status = 401
    title = "Not authenticated"


class Forbidden(AdTailorError):
    status = 403
    title = "Not allowed"


class NotFound(AdTailorError):
    status = 404
    title = "Not found"


class Conflict(AdTailorError):
    status = 409
    title = "Conflict"
    retryable = True


class Closed(AdTailorError):
    title = "Object cannot be read"


class ArtifactError(AdTailorError):
    title = "Model artefact refused"


class Misconfigured(AdTailorError):
    title = "Wrong settings"


class Unavailable(AdTailorError):
    status = 503
    title = "Temporarily unavailable"
    retryable = True
    usual_retry_after = 5


class ModelUnavailable(Unavailable):
    title = "Language model unavailable"
