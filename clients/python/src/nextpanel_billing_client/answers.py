"""Answers and exceptions of the client.

Three things that are not the same: a verdict that says no, a service that cannot be asked, and a call that was wrong.
Only the first is about the license.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

_LONGEST_LINE: Final = 1000


def one_line(text: str) -> str:
    """The same text, fit for a log: on one line, not too long, with nothing in it that a terminal obeys.

    Half surrogate pairs are escaped: SQLite could store them, but not read them again.
    """
    line = "".join(each if each.isprintable() else _escaped(each) for each in text[:_LONGEST_LINE])
    return line if len(text) <= _LONGEST_LINE else f"{line}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def one_of(value: Any, *kinds: type) -> Any:
    """The same value. TypeError where its type is none the service sends: then the answer is not the service's."""
    if type(value) not in kinds:  # True is an int, too
        raise TypeError(f"unexpected type in an answer: {type(value).__name__}")
    return value


def _quota(value: Any) -> int | None:
    """How many are left, None where nothing is counted."""
    number: int | None = one_of(value, int, NoneType)
    return number


def _instant(value: Any) -> datetime | None:
    """An aware datetime in UTC, None where the service names none."""
    text: str | None = one_of(value, str, NoneType)
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return instant.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """May this license do that? `used`: how many of the resource you count yourself, for an answer while offline."""

    license_key: str = field(repr=False)
    feature: str
    fingerprint: str | None = field(default=None, repr=False)
    used: int | None = None

    def body(self) -> dict[str, str]:
        asked = {"license_key": self.license_key, "feature": self.feature}
        return asked if self.fingerprint is None else asked | {"fingerprint": self.fingerprint}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`remaining_quota` counts before the asked action; None: there is nothing to count.

    `as_of`: every change committed before this instant is in the answer (UTC, aware). `offline`: the service could not
    be asked, a lease answers, and `as_of` is when that was signed. `reduced`: the lease is past its full life, and
    answers for what runs already, not for anything new. `stale`: the service itself answers from memory.
    """

    valid: bool
    code: str
    remaining_quota: int | None
    as_of: datetime | None = None
    stale: bool = False
    offline: bool = False
    reduced: bool = False
    request_id: str | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Verdict":
        return cls(
            valid=one_of(answer["valid"], bool),
            code=one_line(one_of(answer["code"], str)),
            remaining_quota=_quota(answer["remaining_quota"]),
            as_of=_instant(answer["as_of"]),
            stale=one_of(answer["stale"], bool),
            request_id=one_of(answer["request_id"], str, NoneType),
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Something reserved for a short while. `remaining_quota` counts after it; None is unlimited."""

    reservation_id: str
    remaining_quota: int | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Hold | Declined":
        remaining = _quota(answer["remaining_quota"])
        if not one_of(answer["granted"], bool):
            return Declined(one_line(one_of(answer["code"], str)), remaining)
        return cls(one_of(answer["reservation_id"], str), remaining)


@dataclass(frozen=True, slots=True)
class Activation:
    """Identity of a panel. The secret of its API key lies in the store, and is not shown."""

    license_id: str
    instance_id: str
    key_id: str
    permissions: tuple[str, ...] = ()
    fingerprint: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RefusedReport:
    """A report that the service refuses for good; it waits for a person to decide."""

    idempotency_key: str
    body: str = field(repr=False)
    reason: str = ""


class BillingError(Exception):
    """Base of the exceptions of this package."""


class Unreachable(BillingError):
    """The service did not answer, and no lease answers either. Conclude nothing about the license."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Refused(BillingError):
    """The service refuses this call: the key, its rights or the request are wrong. Do not repeat it unchanged."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code


class Declined(BillingError):
    """A reservation that is not granted."""

    def __init__(self, code: str, remaining_quota: int | None) -> None:
        super().__init__(code)
        self.code = code
        self.remaining_quota = remaining_quota


class NotActivated(BillingError):
    """The client has no API key: none was given, and none is in its store."""


class StoreUnusable(BillingError):
    """The store's file or folder cannot be made, read or written. The text says why and what to do."""
