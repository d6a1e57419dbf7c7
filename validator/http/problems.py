"""Refusals that only the validator has; all others are in core/errors.py, their meanings in core/problems.py.

A verdict, even a negative one, is an answer with HTTP 200. A refusal is the lack of an answer.
"""

from collections.abc import Mapping
from typing import Final

from core.errors import BodyTooLarge, Conflict, Refusal, RequestTimeout
from core.problem_document import headers_of as common_headers_of
from validator.http.rate_limit_headers import LimitReached


class ReservationConflict(Conflict):
    code = "reservation_conflict"


class ReservationEnded(Conflict):
    code = "reservation_ended"


class Unreadable(Refusal):
    """The stream of bytes cannot be read on (protocol.ProtocolFault); the connection ends with this answer."""

    code = "bad_request"


class ExpectationFailed(Refusal):
    code = "expectation_failed"


class HeadTooLarge(Refusal):
    code = "head_too_large"


class TransferCodingUnknown(Refusal):
    code = "transfer_coding_unknown"


class TooManyConnections(Refusal):
    code = "too_many_connections"


class VersionNotSupported(Refusal):
    code = "version_not_supported"


UNREADABLE: Final[Mapping[int, type[Refusal]]] = {
    kind.status: kind
    for kind in (
        Unreadable,
        RequestTimeout,
        BodyTooLarge,
        ExpectationFailed,
        HeadTooLarge,
        TransferCodingUnknown,
        TooManyConnections,
        VersionNotSupported,
    )
}
"""By the status of the ProtocolFault."""


def headers_of(refusal: Refusal) -> Mapping[str, str]:
    headers = common_headers_of(refusal)
    if isinstance(refusal, LimitReached):
        return {**headers, **refusal.headers}
    return headers
