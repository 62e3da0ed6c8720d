"""What clients are told when something is wrong: the codes of distribution-spec, "Error Codes", with their statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orlop.errors import Error

__all__ = ["Failure", "document"]

# The code's status and what it says where nothing better is known, both as the reference registry has them.
_CODES: Mapping[str, tuple[int, str]] = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (400, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DENIED": (403, "requested access to the resource is denied"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (400, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "RANGE_INVALID": (416, "invalid content range"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "TAG_INVALID": (400, "manifest tag did not match URI"),
    "UNAUTHORIZED": (401, "authentication required"),
    "UNAVAILABLE": (503, "service unavailable"),
    "UNKNOWN": (500, "unknown error"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
}


class Failure(Error):
    """A request that fails; `detail` is any JSON value, `headers` go with the answer.

    `more` are further details, each told as an error of its own with the same code.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        detail: Any = None,
        more: Sequence[Any] = (),
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        usual_status, usual_message = _CODES[code]
        super().__init__(message or usual_message)
        self.code = code
        self.status = status or usual_status
        self.headers = dict(headers or {})
        self.details = (detail, *more)


def document(failure: Failure) -> dict[str, Any]:
    """Return the JSON document that tells of a failure."""
    return {
        "errors": [
            {"code": failure.code, "message": failure.message} | ({} if detail is None else {"detail": detail})
            for detail in failure.details
        ]
    }
