"""Jobs are data: small tagged structs that carry ids, written to the outbox in the transaction that causes them.

A job says what to look at, never what was true when it was written; whoever performs it reads the present state. So a
job may be lost as a hint, doubled or late without harm, and a sweeper may perform it again.
"""

from typing import Any, Final, Literal
from uuid import UUID

import msgspec

Lane = Literal["projection", "partner"]
"""projection: keep Redis in step, within milliseconds. partner: anything that leaves the house, with retries."""


class ProjectLicense(msgspec.Struct, frozen=True, tag="project_license"):
    """Written by a trigger on `licenses`; `retired_hash` (hex) where the key was rotated and its old hash must die."""

    license_id: UUID
    retired_hash: str | None = None


class ProjectUsage(msgspec.Struct, frozen=True, tag="project_usage"):
    """Written by a trigger on `license_usage`: totals that changed in one statement, by licence and resource."""

    totals: tuple[tuple[UUID, str], ...]


class ProjectApiKey(msgspec.Struct, frozen=True, tag="project_api_key"):
    """Written by a trigger on `api_keys`."""

    api_key_id: UUID


class ProcessWebhook(msgspec.Struct, frozen=True, tag="process_webhook"):
    webhook_event_id: UUID


class Provision(msgspec.Struct, frozen=True, tag="provision"):
    """Give the licence an account on NextPanel."""

    license_id: UUID


class AlignAccount(msgspec.Struct, frozen=True, tag="align_account"):
    """Make the NextPanel account's state follow its licence's: suspended, resumed, terminated or another plan."""

    license_id: UUID


class DeliverMail(msgspec.Struct, frozen=True, tag="deliver_mail"):
    mail_id: UUID


class MailResetLink(msgspec.Struct, frozen=True, tag="mail_reset_link"):
    """Somebody typed this address and wants to set a new password; whether it has an account is found out here.

    `occasion` names the mail, `email_sealed` (base64) is the address.
    """

    occasion: UUID
    email_sealed: str


class ForgetCustomer(msgspec.Struct, frozen=True, tag="forget_customer"):
    """The user has deleted his account: Stripe is to forget its customer."""

    user_id: UUID


ProjectionJob = ProjectLicense | ProjectUsage | ProjectApiKey
PartnerJob = ProcessWebhook | Provision | AlignAccount | DeliverMail | MailResetLink | ForgetCustomer
Job = ProjectionJob | PartnerJob


class _Row(msgspec.Struct):
    """What msgspec knows of a struct it keeps; of a bare union it would have to find it out for every row, in 20 µs."""

    job: Job


_LANES: Final[dict[type, Lane]] = {
    ProjectLicense: "projection",
    ProjectUsage: "projection",
    ProjectApiKey: "projection",
}


def lane(job: Job) -> Lane:
    return _LANES.get(type(job), "partner")


def to_row(job: Job) -> dict[str, Any]:
    """The job as a JSON object, its kind under `type`."""
    row: dict[str, Any] = msgspec.to_builtins(job)
    return row


def from_row(row: dict[str, Any]) -> Job:
    """The job again; msgspec.ValidationError where a newer version wrote a kind that this one does not know."""
    return msgspec.convert({"job": row}, _Row).job
